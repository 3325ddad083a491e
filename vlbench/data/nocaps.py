"""NoCaps: Open Images photographs with ten captions each, in three domains.

Layout: ``nocaps_val_4500_captions.json`` in the layout of COCO's annotations, where each image also has a ``domain``:
``in-domain`` (only objects that COCO's captions name), ``near-domain`` (also others) or ``out-domain`` (only others).
The images lie in ``val/``, ``validation/`` or ``images/``, or beside the file. The captions of the test split are not
published: of it there is ``nocaps_test_image_info.json``, with the images alone and without domains; they lie in
``test/``, ``images/`` or beside the file.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vlbench.data.checks import Table, limited, pick_split, refuse_duplicates
from vlbench.data.coco import captions_dataset, find_image, official_samples
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError, UsageError
from vlbench.types import CaptionedImage, ImageRef

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vlbench.types import Dataset

NAME = "nocaps"
OFFICIAL_COUNTS: Mapping[str, Mapping[str, int]] = {
    "val": {"images": 4_500, "captions": 45_000},
    "test": {"images": 10_600},
}
FILES = {
    "val": ("nocaps_val_4500_captions.json", "annotations/nocaps_val_4500_captions.json"),
    "test": ("nocaps_test_image_info.json", "annotations/nocaps_test_image_info.json"),
}
DOMAINS = ("in-domain", "near-domain", "out-domain")


def load_nocaps(folder: LocalFolder, split: str | None = None, limit: int | None = None) -> Dataset[CaptionedImage]:
    """Read the captions of the val split, or the images of the test split; no image is opened.

    Raises ``DataError`` naming file and ids where something is malformed or inconsistent, ``UsageError`` for an
    unknown split or a limit below 1.
    """
    split, name = pick_split(split, FILES, ("val",), folder, NAME)
    read = _samples if split == "val" else _bare_samples
    return captions_dataset(NAME, split, limited(read(folder, name), limit), OFFICIAL_COUNTS[split])


def load_references(path: Path, split: str | None = None) -> Dataset[CaptionedImage]:
    """Read reference captions from one file; raises as ``load_nocaps``."""
    if split not in (None, "val"):
        raise UsageError(f"there are no references of split {split!r} of {NAME}; there are of: val")
    samples = _samples(LocalFolder(path.parent), path.name)
    return captions_dataset(NAME, "val", tuple(samples), OFFICIAL_COUNTS["val"])


def _samples(folder: LocalFolder, name: str) -> list[CaptionedImage]:
    document = folder.read_json(name)
    where = folder.describe(name)
    samples = official_samples(document, "val", folder, where)
    images = Table.read(document, "images", where)
    placed = []
    for i, sample in enumerate(samples):
        domain = images.get(i, "domain", str)
        if domain not in DOMAINS:
            raise DataError(f"{images.place(i, 'domain')} is {domain!r}, none of: {', '.join(DOMAINS)}")
        image = sample.image
        if not folder.exists(image.name):
            image = ImageRef(folder, find_image(folder, f"validation/{images.get(i, 'file_name', str)}"))
        placed.append(dataclasses.replace(sample, domain=domain, image=image))
    return placed


def _bare_samples(folder: LocalFolder, name: str) -> list[CaptionedImage]:
    """Return images without captions."""
    where = folder.describe(name)
    images = Table.read(folder.read_json(name), "images", where)
    ids = [images.identifier(i, "id") for i in range(len(images))]
    refuse_duplicates(ids, "image ids", where)
    names = [find_image(folder, f"test/{images.get(i, 'file_name', str)}") for i in range(len(images))]
    return [CaptionedImage(key, ImageRef(folder, file), ()) for key, file in zip(ids, names, strict=True)]
