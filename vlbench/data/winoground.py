"""Winoground (Thrush et al. 2022): two images, and two captions of the same words in another order.

Layout: ``examples.jsonl`` with images in ``images/`` (both also in ``data/``). The annotations name an image without
its suffix: ``ex_7_img_0`` lies in ``images/ex_7_img_0.png``. Caption 0 belongs to image 0, caption 1 to image 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlbench.data.checks import Table, limited, pick_split, refuse_duplicates
from vlbench.errors import DataError
from vlbench.fingerprints import dataset_fingerprint
from vlbench.types import Dataset, ImageRef

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlbench.data.source import LocalFolder

NAME = "winoground"
OFFICIAL_COUNTS: Mapping[str, Mapping[str, int]] = {"test": {"examples": 400}}
FILES = {"test": ("examples.jsonl", "data/examples.jsonl")}

_SUFFIXES = ("", ".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class WinogroundExample:
    """Two captions and their images, each in the order 0, 1; the tags are the file's own.

    ``collapsed_tag`` is what was swapped: Object, Relation or Both. ``secondary_tag`` is empty for most examples.
    """

    example_id: str
    images: tuple[ImageRef, ImageRef]
    captions: tuple[str, str]
    tag: str
    secondary_tag: str
    num_main_preds: int
    collapsed_tag: str


def load_winoground(
    folder: LocalFolder, split: str | None = None, limit: int | None = None
) -> Dataset[WinogroundExample]:
    """Read the examples of the only split, ``test``; no image is opened.

    Raises ``DataError`` naming file and record where something is malformed, ``UsageError`` for an unknown split or a
    limit below 1.
    """
    split, name = pick_split(split, FILES, ("test",), folder, NAME)
    where = folder.describe(name)
    table = Table.read_lines(folder, name)
    ids = [table.identifier(i, "id") for i in range(len(table))]
    refuse_duplicates(ids, "example ids", where)
    samples = limited([_example(table, i, folder, name.removesuffix("examples.jsonl")) for i in range(len(ids))], limit)
    rows = [[s.example_id, s.captions, s.tag, s.secondary_tag, s.num_main_preds, s.collapsed_tag] for s in samples]
    counts = {"examples": len(samples)}
    return Dataset(NAME, split, samples, counts, OFFICIAL_COUNTS[split], "sha256:" + dataset_fingerprint(rows))


def _example(table: Table, index: int, folder: LocalFolder, prefix: str) -> WinogroundExample:
    captions = table.get(index, "caption_0", str), table.get(index, "caption_1", str)
    if captions[0] == captions[1]:
        raise DataError(f"{table.place(index, 'caption_1')} equals caption_0: there is nothing to tell apart")
    images = table.get(index, "image_0", str), table.get(index, "image_1", str)
    if images[0] == images[1]:
        raise DataError(f"{table.place(index, 'image_1')} equals image_0: there is nothing to tell apart")
    first, second = (ImageRef(folder, _find_image(folder, prefix, image)) for image in images)
    return WinogroundExample(
        example_id=table.identifier(index, "id"),
        images=(first, second),
        captions=captions,
        tag=table.get(index, "tag", str),
        secondary_tag=table.get(index, "secondary_tag", str),
        num_main_preds=table.get(index, "num_main_preds", int),
        collapsed_tag=table.get(index, "collapsed_tag", str),
    )


def _find_image(folder: LocalFolder, prefix: str, image: str) -> str:
    names = [f"{place}images/{image}{suffix}" for place in dict.fromkeys((prefix, "")) for suffix in _SUFFIXES]
    return folder.first(*names) or f"images/{image}.png"
