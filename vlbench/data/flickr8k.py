"""Flickr8K, in the Karpathy split file or in the original files; both hold the same split.

Layout: ``dataset_flickr8k.json``, or ``Flickr8k.token.txt`` with ``Flickr_8k.{train,dev,test}Images.txt``; images in
``Flicker8k_Dataset/`` (so spelled in the official archive), ``Flickr8k_Dataset/`` or ``images/``.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from vlbench.data.checks import limited, pick_split, refuse, refuse_duplicates
from vlbench.data.coco import captions_dataset
from vlbench.data.karpathy import find_bare_image, karpathy_samples
from vlbench.errors import DataError
from vlbench.types import Caption, CaptionedImage, ImageRef

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlbench.data.source import LocalFolder
    from vlbench.types import Dataset

NAME = "flickr8k"
OFFICIAL_COUNTS: Mapping[str, Mapping[str, int]] = {
    "train": {"images": 6_000, "captions": 30_000},
    "val": {"images": 1_000, "captions": 5_000},
    "test": {"images": 1_000, "captions": 5_000},
}
IMAGE_FOLDERS = ("Flicker8k_Dataset", "Flickr8k_Dataset", "images", "")
TOKENS = "Flickr8k.token.txt"


def _files(split: str) -> tuple[str, ...]:
    own = f"Flickr_8k.{'dev' if split == 'val' else split}Images.txt"
    return "dataset_flickr8k.json", "annotations/dataset_flickr8k.json", own, f"Flickr8k_text/{own}"


FILES = {split: _files(split) for split in OFFICIAL_COUNTS}

_LINE = re.compile(r"([^\t#]+)#(\d+)\t(.*)")


def load_flickr8k(folder: LocalFolder, split: str | None = None, limit: int | None = None) -> Dataset[CaptionedImage]:
    """Read the captions of a split (default ``test``); no image is opened. Image ids are the stems of file names.

    Raises ``DataError`` naming file and ids or line where something is malformed or inconsistent, ``UsageError`` for an
    unknown split or a limit below 1.
    """
    split, name = pick_split(split, FILES, ("test",), folder, NAME)
    if name.endswith(".json"):
        document, where = folder.read_json(name), folder.describe(name)
        samples = karpathy_samples(document, (split,), folder, where, "", IMAGE_FOLDERS)
    else:
        samples = _original_samples(folder, name)
    return captions_dataset(NAME, split, limited(samples, limit), OFFICIAL_COUNTS[split])


def _original_samples(folder: LocalFolder, name: str) -> list[CaptionedImage]:
    """Read the images that the list ``name`` names, in its order, with captions from the token file beside it."""
    tokens = str(PurePosixPath(name).with_name(TOKENS))
    captions = _captions(folder, tokens)
    names = [line.strip() for line in _text(folder, name).splitlines() if line.strip()]
    where = folder.describe(name)
    if not names:
        raise DataError(f"{where} names no images")
    refuse_duplicates(names, "images", where)
    refuse([image for image in names if image not in captions], f"images without captions in {TOKENS}", where)
    return [
        CaptionedImage(
            PurePosixPath(image).stem,
            ImageRef(folder, find_bare_image(folder, image, IMAGE_FOLDERS)),
            tuple(captions[image]),
        )
        for image in names
    ]


def _captions(folder: LocalFolder, name: str) -> dict[str, list[Caption]]:
    """Read ``image.jpg#k<TAB>caption`` lines; a caption's id is ``<image id>#<k>``."""
    where = folder.describe(name)
    captions: dict[str, list[Caption]] = {}
    ids: list[str] = []
    for number, line in enumerate(_text(folder, name).split("\n"), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.rstrip("\r"))
        if match is None:
            raise DataError(f"{where} line {number} is not image.jpg#k<TAB>caption")
        image, k, text = match.groups()
        ids.append(f"{PurePosixPath(image).stem}#{k}")
        captions.setdefault(image, []).append(Caption(ids[-1], text))
    if not captions:
        raise DataError(f"{where} has no captions")
    refuse_duplicates(ids, "caption ids", where)
    return captions


def _text(folder: LocalFolder, name: str) -> str:
    try:
        return folder.read(name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{folder.describe(name)} is not UTF-8 text (byte {error.start})") from error
