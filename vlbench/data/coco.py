"""COCO Captions: the 2014 and 2017 annotation files and the Karpathy split in both of its forms.

Layout: ``annotations/captions_{train,val}{2014,2017}.json`` with images in ``{train,val}{2014,2017}/``;
``dataset_coco.json`` (Karpathy & Fei-Fei 2015); ``coco_karpathy_{val,test}.json``. Image folders may also lie
in ``images/``.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from vlbench.data.checks import Table, limited, pick_split, refuse, refuse_duplicates
from vlbench.data.karpathy import karpathy_samples
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError, UsageError
from vlbench.fingerprints import dataset_fingerprint
from vlbench.types import Caption, CaptionedImage, Dataset, ImageRef

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NAME = "coco"
DEFAULT_SPLITS = ("karpathy-test", "val2014", "val2017")
OFFICIAL_COUNTS: Mapping[str, Mapping[str, int]] = {
    "karpathy-train": {"images": 113_287, "captions": 566_747},
    "karpathy-val": {"images": 5_000, "captions": 25_010},
    "karpathy-test": {"images": 5_000, "captions": 25_010},
    "train2014": {"images": 82_783, "captions": 414_113},
    "val2014": {"images": 40_504, "captions": 202_654},
    "train2017": {"images": 118_287, "captions": 591_753},
    "val2017": {"images": 5_000, "captions": 25_014},
}
"""Images and captions of each split; ``karpathy-train`` is train and restval together, as is customary."""

_KARPATHY_PARTS = {"karpathy-train": ("train", "restval"), "karpathy-val": ("val",), "karpathy-test": ("test",)}


def _files(split: str) -> tuple[str, ...]:
    if not split.startswith("karpathy-"):
        return f"annotations/captions_{split}.json", f"captions_{split}.json"
    short = f"coco_{split.replace('-', '_')}.json"
    names = ("dataset_coco.json",) if split == "karpathy-train" else ("dataset_coco.json", short)
    return tuple(f"{folder}{name}" for name in names for folder in ("", "annotations/"))


FILES = {split: _files(split) for split in OFFICIAL_COUNTS}


TRAIN_SPLITS = ("karpathy-train", "train2014", "train2017")


def train_split(folder: LocalFolder) -> str | None:
    """Return the first train split that the folder has, or None."""
    return next((split for split in TRAIN_SPLITS if folder.first(*FILES[split]) is not None), None)


def load_coco(folder: LocalFolder, split: str | None = None, limit: int | None = None) -> Dataset[CaptionedImage]:
    """Read the captions of a split; no image is opened.

    Raises ``DataError`` naming file and ids where something is malformed or inconsistent, ``UsageError`` for an
    unknown split or a limit below 1.
    """
    split, name = pick_split(split, FILES, DEFAULT_SPLITS, folder, NAME)
    document = folder.read_json(name)
    where = folder.describe(name)
    if name.endswith("dataset_coco.json"):
        samples = karpathy_samples(document, _KARPATHY_PARTS[split], folder, where, "cocoid")
    elif split.startswith("karpathy-"):
        samples = _short_samples(document, folder, where)
    else:
        samples = official_samples(document, split, folder, where)
    return captions_dataset(NAME, split, limited(samples, limit), OFFICIAL_COUNTS[split])


def load_references(path: Path, split: str | None = None) -> Dataset[CaptionedImage]:
    """Read reference captions from one file in any of the three forms.

    Of ``dataset_coco.json`` the named split is read (default ``karpathy-test``). The other forms hold one split, called
    after the file unless it is named. Raises ``DataError`` where the file is in none of the forms or is known to hold
    another split, ``UsageError`` for an unknown split.
    """
    if split is not None and split not in FILES:
        raise UsageError(f"unknown split {split!r} of {NAME}; it has: {', '.join(FILES)}")
    folder = LocalFolder(path.parent)
    document = folder.read_json(path.name)
    where = folder.describe(path.name)
    if isinstance(document, dict) and "annotations" not in document and "dataset" in document:
        split = split or DEFAULT_SPLITS[0]
        if split not in _KARPATHY_PARTS:
            raise DataError(f"{where} holds {', '.join(_KARPATHY_PARTS)}, not {split}; choose another --split")
        samples = karpathy_samples(document, _KARPATHY_PARTS[split], folder, where, "cocoid")
        return captions_dataset(NAME, split, tuple(samples), OFFICIAL_COUNTS[split])
    own = path.stem.removeprefix("captions_").removeprefix("coco_").replace("karpathy_", "karpathy-")
    if split is not None and own in FILES and own != split:
        raise DataError(f"{where} holds {own}, not {split}; choose another --split")
    short = isinstance(document, list)
    samples = _short_samples(document, folder, where) if short else official_samples(document, "", folder, where)
    split = split or (own if own in FILES else path.stem)
    return captions_dataset(NAME, split, tuple(samples), OFFICIAL_COUNTS.get(split, {}))


def captions_dataset(
    name: str, split: str, samples: tuple[CaptionedImage, ...], official: Mapping[str, int]
) -> Dataset[CaptionedImage]:
    """Count and fingerprint captioned images."""
    rows = [
        [s.image_id, [[c.caption_id, c.text] for c in s.captions], *([s.domain] if s.domain else [])] for s in samples
    ]
    counts = {"images": len(samples), "captions": sum(len(s.captions) for s in samples)}
    return Dataset(name, split, samples, counts, official, "sha256:" + dataset_fingerprint(rows))


def find_image(folder: LocalFolder, name: str) -> str:
    """Return the name under which the image lies: as given, under ``images/``, or there without its folder."""
    base = PurePosixPath(name).name
    return folder.first(name, f"images/{name}", f"images/{base}", base) or name


def official_samples(document: Any, split: str, folder: LocalFolder, where: str) -> list[CaptionedImage]:
    """Read a document of ``images`` and ``annotations``, in the order of the images, which lie in folder ``split``.

    Raises ``DataError`` for ids that occur twice, captions of no image and images without captions.
    """
    images = Table.read(document, "images", where)
    image_ids = [images.identifier(i, "id") for i in range(len(images))]
    refuse_duplicates(image_ids, "image ids", where)
    captions: dict[str, list[Caption]] = {image_id: [] for image_id in image_ids}
    annotations = Table.read(document, "annotations", where)
    caption_ids: list[str] = []
    orphans: list[str] = []
    for i in range(len(annotations)):
        caption = Caption(annotations.identifier(i, "id"), annotations.get(i, "caption", str))
        caption_ids.append(caption.caption_id)
        image_id = annotations.identifier(i, "image_id")
        if image_id in captions:
            captions[image_id].append(caption)
        else:
            orphans.append(f"{caption.caption_id} (image {image_id})")
    refuse_duplicates(caption_ids, "caption ids", where)
    refuse(orphans, "captions of images that the file does not list", where)
    refuse([image_id for image_id in image_ids if not captions[image_id]], "images without captions", where)
    samples = []
    for i, image_id in enumerate(image_ids):
        name = images.get(i, "file_name", str)
        path = find_image(folder, f"{split}/{name}" if split else name)
        samples.append(CaptionedImage(image_id, ImageRef(folder, path), tuple(captions[image_id])))
    return samples


def _short_samples(document: Any, folder: LocalFolder, where: str) -> list[CaptionedImage]:
    """Read ``[{"image", "caption": [...]}]``, whose image id is the number at the end of the file name."""
    table = Table.read(document, "", where)
    samples = []
    for i in range(len(table)):
        name = table.get(i, "image", str)
        number = re.search(r"(\d+)$", PurePosixPath(name).stem)
        if number is None:
            raise DataError(f"{table.place(i, 'image')} {name!r} does not end in a number, which is the image id")
        image_id = str(int(number.group()))
        texts = _strings(table.get(i, "caption", list), table.place(i, "caption"))
        captions = tuple(Caption(f"{image_id}-{k}", text) for k, text in enumerate(texts))
        samples.append(CaptionedImage(image_id, ImageRef(folder, find_image(folder, name)), captions))
    refuse_duplicates([sample.image_id for sample in samples], "image ids", where)
    return samples


def _strings(values: Sequence[Any], place: str) -> Sequence[str]:
    if not values or not all(isinstance(value, str) for value in values):
        raise DataError(f"{place} is not a list of one or more strings")
    return values
