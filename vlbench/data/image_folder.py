"""Labelled images in one folder a class, as ImageNet (Deng et al. 2009) and torchvision's ``ImageFolder`` have them.

Layout: ``<split>/<class>/*.JPEG``, or ``<class>/*.jpg`` in the folder itself. Names of classes come from
``classnames.txt`` (lines ``<folder> <name>``, or one name a line in the sorted order of the folders) or
``classnames.json`` (``{folder: name}``, or a list in that order); without one, the 1,000 folders of ImageNet have the
names that open_clip ships, and other folders are named after themselves, with blanks for underscores.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from vlbench.data.checks import expect, limited, refuse
from vlbench.errors import DataError, UsageError
from vlbench.fingerprints import dataset_fingerprint
from vlbench.types import Dataset, ImageRef

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.data.source import LocalFolder

NAME = "imagenet"
OFFICIAL_COUNTS: Mapping[str, Mapping[str, int]] = {
    "val": {"images": 50_000, "classes": 1_000},
    "train": {"images": 1_281_167, "classes": 1_000},
    "test": {},
}
WHOLE = "all"
"""Split of a folder that has none: the class folders lie in it directly."""

SPLITS = (*OFFICIAL_COUNTS, WHOLE)

IMAGENET_CLASSES = 1_000
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass(frozen=True)
class LabelledImage:
    """An image of one class; ``image_id`` is ``<class folder>/<file>``, ``label`` an index into the classes."""

    image_id: str
    image: ImageRef
    label: int


@dataclass(frozen=True)
class LabelledImages(Dataset[LabelledImage]):
    """A dataset with its classes: ``classes`` are the folders, sorted, ``class_names`` what models are told."""

    classes: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()


def load_image_folder(folder: LocalFolder, split: str | None = None, limit: int | None = None) -> LabelledImages:
    """Read names of images and classes; no image is opened.

    The first image of each class comes first, then the second of each, so that a limit takes from many classes.
    Folders named as ImageNet's (``n01440764``) are ``imagenet``, any other dataset is called after its folder. Raises
    ``DataError`` naming the folder or file where something is wrong, ``UsageError`` for an unknown split or a limit
    below 1.
    """
    split, place = _split_folder(folder, split)
    where = folder.describe(place)
    classes = [entry.removesuffix("/") for entry in folder.listing(place) if entry.endswith("/")]
    if len(classes) < 2:
        raise DataError(f"{where} has {len(classes)} class folders; it needs 2 or more, with the images in them")
    images = {name: _images(folder, f"{place}{name}/") for name in classes}
    refuse([name for name in classes if not images[name]], "class folders without images", where)
    names = _class_names(folder, classes)
    every = [
        (
            position,
            LabelledImage(f"{classes[label]}/{file}", ImageRef(folder, f"{place}{classes[label]}/{file}"), label),
        )
        for label, name in enumerate(classes)
        for position, file in enumerate(images[name])
    ]
    samples = limited([image for _, image in sorted(every, key=lambda item: item[0])], limit)
    own_name = re.sub(r"[^\w.-]+", "-", folder.path.resolve().name)
    # A folder that only calls itself imagenet is held to ImageNet's counts, so that it never looks like the whole.
    is_imagenet = own_name == NAME or all(re.fullmatch(r"n\d{8}", name) for name in classes)
    return LabelledImages(
        name=NAME if is_imagenet else own_name,
        split=split,
        samples=samples,
        counts={"images": len(samples), "classes": len(classes)},
        official_counts=OFFICIAL_COUNTS.get(split, {}) if is_imagenet else {},
        fingerprint="sha256:" + dataset_fingerprint([names, *([s.image_id, s.label] for s in samples)]),
        classes=tuple(classes),
        class_names=names,
    )


def splits_here(folder: LocalFolder) -> tuple[str, ...]:
    """Return the splits that are in a folder: those with class folders that begin with one that holds an image.

    Class folders that lie in it directly could belong to any dataset: they count only in a folder that is called
    ``imagenet`` or has a file of class names.
    """
    there = tuple(split for split in OFFICIAL_COUNTS if _has_classes(folder, f"{split}/"))
    named = folder.path.name == NAME or folder.first("classnames.txt", "classnames.json") is not None
    return there or ((WHOLE,) if named and _has_classes(folder, "") else ())


def _has_classes(folder: LocalFolder, place: str) -> bool:
    if place and place not in folder.listing():
        return False
    first = next((entry for entry in folder.listing(place) if entry.endswith("/")), None)
    return first is not None and bool(_images(folder, place + first))


def read_lines(folder: LocalFolder, name: str) -> list[str]:
    """Return the stripped lines of a text file that are not empty; raises ``DataError`` where it has none."""
    where = folder.describe(name)
    try:
        text = folder.read(name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text (byte {error.start})") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{where} is empty")
    return lines


def _split_folder(folder: LocalFolder, split: str | None) -> tuple[str, str]:
    """Return the split and the folder of its classes, which is empty where they lie in the root."""
    if split is not None and split not in SPLITS:
        raise UsageError(f"unknown split {split!r} of an image folder; it has: {', '.join(SPLITS)}")
    there = [name for name in OFFICIAL_COUNTS if f"{name}/" in folder.listing()]
    if split == WHOLE or (split is None and not there):
        return WHOLE, ""
    if split is not None and split not in there:
        raise DataError(f"no folder {split} in {folder.path}; check --data and --split")
    chosen = split or there[0]
    return chosen, f"{chosen}/"


def _images(folder: LocalFolder, place: str) -> list[str]:
    return [name for name in folder.listing(place) if PurePosixPath(name).suffix.lower() in SUFFIXES]


def _class_names(folder: LocalFolder, classes: Sequence[str]) -> tuple[str, ...]:
    """Return one name a class, from the folder's own file or by the defaults."""
    file = folder.first("classnames.txt", "classnames.json")
    if file is not None:
        given = _given_json(folder, file) if file.endswith(".json") else _given_lines(folder, file, classes)
        return _named(given, classes, folder.describe(file))
    if not all(re.fullmatch(r"n\d{8}", name) for name in classes):
        return tuple(name.replace("_", " ") for name in classes)
    if len(classes) != IMAGENET_CLASSES:
        raise DataError(
            f"{folder.path} has {len(classes)} of the {IMAGENET_CLASSES} classes of ImageNet, and their names are only "
            "known for all together; add classnames.txt with lines '<folder> <name>'"
        )
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    return tuple(IMAGENET_CLASSNAMES)


def _given_lines(folder: LocalFolder, file: str, classes: Sequence[str]) -> dict[str, str] | list[str]:
    lines = read_lines(folder, file)
    pairs = [line.split(None, 1) for line in lines]
    if set(classes) <= {pair[0] for pair in pairs} and all(len(pair) == 2 for pair in pairs):
        return {pair[0]: pair[1] for pair in pairs}
    return lines


def _given_json(folder: LocalFolder, file: str) -> dict[str, str] | list[str]:
    document = folder.read_json(file)
    where = folder.describe(file)
    values = list(document.values()) if isinstance(document, dict) else expect(document, list, f"{where}: the document")
    for value in values:
        expect(value, str, f"{where}: the name of a class")
    return document  # type: ignore[no-any-return]


def _named(given: dict[str, str] | list[str], classes: Sequence[str], where: str) -> tuple[str, ...]:
    if isinstance(given, dict):
        refuse([name for name in classes if name not in given], "classes without a name", where)
        names = [given[name] for name in classes]
    else:
        names = given
    if len(names) != len(classes):
        raise DataError(f"{where} has {len(names)} names for {len(classes)} class folders")
    refuse([c for c, name in zip(classes, names, strict=True) if not name.strip()], "classes with an empty name", where)
    return tuple(name.strip() for name in names)
