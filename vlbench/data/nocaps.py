"""NoCaps: Open Images photographs with ten captions each, in three domains.

Layout: ``nocaps_val_4500_captions.json`` in the layout of COCO's annotations, where each image also has a ``domain``:
``in-domain`` (only objects that COCO's captions name), ``near-domain`` (also others) or ``out-domain`` (only others).
The images lie in ``val/``, ``validation/`` or ``images/``, or beside the file. The captions of the test split are not
published.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vlbench.data.checks import Table, limited, pick_split
from vlbench.data.coco import captions_dataset, find_image, official_samples
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError, UsageError
from vlbench.types import ImageRef

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vlbench.types import CaptionedImage, Dataset

NAME = "nocaps"
OFFICIAL_COUNTS: Mapping[str, Mapping[str, int]] = {"val": {"images": 4_500, "captions": 45_000}}
FILES = {"val": ("nocaps_val_4500_captions.json", "annotations/nocaps_val_4500_captions.json")}
DOMAINS = ("in-domain", "near-domain", "out-domain")


def load_nocaps(folder: LocalFolder, split: str | None = None, limit: int | None = None) -> Dataset[CaptionedImage]:
    """Read the captions of the val split; no image is opened.

    Raises ``DataError`` naming file and ids where something is malformed or inconsistent, ``UsageError`` for an
    unknown split or a limit below 1.
    """
    split, name = pick_split(split, FILES, ("val",), folder, NAME)
    return captions_dataset(NAME, split, limited(_samples(folder, name), limit), OFFICIAL_COUNTS[split])


def load_references(path: Path, split: str | None = None) -> Dataset[CaptionedImage]:
    """Read reference captions from one file; raises as ``load_nocaps``."""
    if split not in (None, "val"):
        raise UsageError(f"unknown split {split!r} of {NAME}; it has: val")
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
