"""SugarCrepe (Hsieh et al. 2023): COCO val2017 images, each with a right caption and one that is wrong in one respect.

Layout: seven files ``<category>.json``, in the folder or in ``data/``, of the form
``{"0": {"filename", "caption", "negative_caption"}}``; ids are not contiguous. Images are those of COCO, in
``val2017/`` of the folder, of its ``images/`` or of the ``coco`` folder beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from vlbench.data.checks import expect, limited, pick_split
from vlbench.data.coco import find_image
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError, UsageError
from vlbench.fingerprints import dataset_fingerprint
from vlbench.types import Dataset, ImageRef

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NAME = "sugarcrepe"
OFFICIAL_SIZES: Mapping[str, int] = {
    "replace_obj": 1652,
    "replace_att": 788,
    "replace_rel": 1406,
    "swap_obj": 245,
    "swap_att": 666,
    "add_obj": 2062,
    "add_att": 692,
}
"""Items of each category."""

CATEGORIES = tuple(OFFICIAL_SIZES)
TYPES = ("replace", "swap", "add")
WITHDRAWN = frozenset({"swap_obj/108"})
"""Items that the authors took out of their files later; answers recorded before still have them."""

OFFICIAL_COUNTS: Mapping[str, Mapping[str, int]] = {"test": {"items": sum(OFFICIAL_SIZES.values())}}
FILES = {"test": tuple(f"{place}{CATEGORIES[0]}.json" for place in ("", "data/"))}


@dataclass(frozen=True)
class CaptionPair:
    """An image with its caption and a wrong one; ``item_id`` is ``<category>/<id>``, ``image_id`` COCO's."""

    item_id: str
    category: str
    image_id: str
    image: ImageRef
    caption: str
    negative_caption: str


def load_sugarcrepe(
    folder: LocalFolder, split: str | None = None, limit: int | None = None, coco: LocalFolder | None = None
) -> Dataset[CaptionPair]:
    """Read the items of all seven categories as the only split, ``test``; images may lie in the folder ``coco``.

    The first item of each category comes first, then the second of each, so that a limit leaves none out. Raises
    ``DataError`` naming file and item where something is malformed or a category is missing, ``UsageError`` for an
    unknown split or a limit below 1. No image is opened.
    """
    _, name = pick_split(split, FILES, ("test",), folder, NAME)
    place = name.removesuffix(f"{CATEGORIES[0]}.json")
    return _dataset({c: f"{place}{c}.json" for c in CATEGORIES}, folder, coco or folder, limit)


def load_references(path: Path, split: str | None = None) -> Dataset[CaptionPair]:
    """Read the items of a folder whose files end in ``<category>.json``; recorded answers hold them as well.

    Raises as ``load_sugarcrepe`` does.
    """
    if split not in (None, "test"):
        raise UsageError(f"unknown split {split!r} of {NAME}; it has: test")
    folder = LocalFolder(path)
    return _dataset(category_files(folder), folder, folder, None)


def category_files(folder: LocalFolder) -> dict[str, str]:
    """Return the one file of each category: ``<category>.json``, or ``<anything>-<category>.json``.

    Raises ``DataError`` where a category has no file or more than one.
    """
    names = folder.listing()
    files = {}
    for category in CATEGORIES:
        found = [name for name in names if re.fullmatch(rf"(.*-)?{category}\.json", name)]
        if len(found) != 1:
            what = f"several files ({', '.join(found)})" if found else "no file"
            raise DataError(f"{folder.path} has {what} for category {category}: [<name>-]{category}.json is looked for")
        files[category] = found[0]
    return files


def read_items(document: object, where: str) -> dict[str, Any]:
    """Return the items of a parsed file by id; recorded answers also hold their ``accuracy``, which is no item."""
    items = {key: value for key, value in expect(document, dict, f"{where}: the document").items() if key != "accuracy"}
    if not items:
        raise DataError(f"{where} has no items")
    for key in items:
        if not re.fullmatch(r"\d+", key):
            raise DataError(f"{where}: {key!r} is not the number of an item")
    return items


def _dataset(
    files: Mapping[str, str], folder: LocalFolder, coco: LocalFolder, limit: int | None
) -> Dataset[CaptionPair]:
    ordered: list[tuple[int, CaptionPair]] = []
    for category, name in files.items():
        pairs = _category(category, name, folder, coco)
        ordered += enumerate(pairs)
    ordered.sort(key=lambda item: item[0])  # stable: categories keep their order
    samples = limited([pair for _, pair in ordered], limit)
    counts = {"items": len(samples), "images": len({s.image_id for s in samples})}
    rows = [[s.item_id, s.image_id, s.caption, s.negative_caption] for s in samples]
    return Dataset(NAME, "test", samples, counts, OFFICIAL_COUNTS["test"], "sha256:" + dataset_fingerprint(rows))


def _category(category: str, name: str, folder: LocalFolder, coco: LocalFolder) -> Sequence[CaptionPair]:
    where = folder.describe(name)
    pairs = []
    for key, record in read_items(folder.read_json(name), where).items():
        place = f"{where}: item {key}"
        expect(record, dict, place)
        texts = [_text(record, field, place) for field in ("filename", "caption", "negative_caption")]
        if texts[1] == texts[2]:
            raise DataError(f"{place}.negative_caption equals the caption: there is nothing to tell apart")
        image_id = PurePosixPath(texts[0]).stem.lstrip("0")
        pairs.append(CaptionPair(f"{category}/{key}", category, image_id, _image(texts[0], folder, coco), *texts[1:]))
    return pairs


def _text(record: Mapping[str, Any], field: str, place: str) -> str:
    if field not in record:
        raise DataError(f"{place} has no {field!r}")
    text = expect(record[field], str, f"{place}.{field}")
    if not text:
        raise DataError(f"{place}.{field} is empty")
    return text


def _image(filename: str, folder: LocalFolder, coco: LocalFolder) -> ImageRef:
    name = f"val2017/{filename}"
    own = find_image(folder, name)
    return ImageRef(folder, own) if folder.exists(own) else ImageRef(coco, find_image(coco, name))
