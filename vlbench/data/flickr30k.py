"""Flickr30K in the Karpathy split.

Layout: ``dataset_flickr30k.json`` with images in ``flickr30k-images/`` (or ``flickr30k_images/``, ``images/``). The
split of Flickr30K Entities differs and is another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlbench.data.checks import limited, pick_split
from vlbench.data.coco import captions_dataset
from vlbench.data.karpathy import karpathy_samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlbench.data.source import LocalFolder
    from vlbench.types import CaptionedImage, Dataset

NAME = "flickr30k"
OFFICIAL_COUNTS: Mapping[str, Mapping[str, int]] = {
    "train": {"images": 29_000, "captions": 145_000},
    "val": {"images": 1_014, "captions": 5_070},
    "test": {"images": 1_000, "captions": 5_000},
}
IMAGE_FOLDERS = ("flickr30k-images", "flickr30k_images", "images", "")
FILES = dict.fromkeys(OFFICIAL_COUNTS, ("dataset_flickr30k.json", "annotations/dataset_flickr30k.json"))


def load_flickr30k(folder: LocalFolder, split: str | None = None, limit: int | None = None) -> Dataset[CaptionedImage]:
    """Read the captions of a split (default ``test``); no image is opened. Image ids are the stems of file names.

    Raises ``DataError`` naming file and ids where something is malformed or inconsistent, ``UsageError`` for an
    unknown split or a limit below 1.
    """
    split, name = pick_split(split, FILES, ("test",), folder, NAME)
    document, where = folder.read_json(name), folder.describe(name)
    samples = karpathy_samples(document, (split,), folder, where, "", IMAGE_FOLDERS)
    return captions_dataset(NAME, split, limited(samples, limit), OFFICIAL_COUNTS[split])
