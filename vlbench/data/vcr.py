"""VCR (Zellers et al. 2019): questions, answers and rationales that point to objects of a film still.

Layout: ``{train,val,test}.jsonl`` with images and metadata in ``vcr1images/``. Token lists become text: an object is
written as ``[<class><k>]``, where k counts the objects of its class from 1 in the order of ``objects``, and the region
of that label is the object's box and outlines. Several objects are joined by "and", and the blank before a mark or a
clitic is dropped: ``["Are", [0, 2], "sad", "?"]`` is ``Are [person1] and [dog1] sad?``.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from vlbench.data.checks import Table, expect, limited, pick_split, refuse_duplicates
from vlbench.errors import DataError
from vlbench.fingerprints import dataset_fingerprint
from vlbench.types import Dataset, ImageRef, Region, VCRItem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.data.source import LocalFolder

NAME = "vcr"
DEFAULT_SPLITS = ("val",)
OFFICIAL_COUNTS: Mapping[str, Mapping[str, int]] = {
    "train": {"questions": 212_923},
    "val": {"questions": 26_534},
    "test": {"questions": 25_263},
}
UNLABELLED = ("test",)
NO_LABEL = -1
FILES = {split: (f"{split}.jsonl", f"vcr1annots/{split}.jsonl") for split in OFFICIAL_COUNTS}
IMAGE_FOLDER = "vcr1images"

_GLUED = re.compile(r" (?=[.,?!;:](?: |$)|n't\b|'(?:s|re|ve|ll|d|m)\b)")


def load_vcr(folder: LocalFolder, split: str | None = None, limit: int | None = None) -> Dataset[VCRItem]:
    """Read the items of a split (default ``val``); the test split has labels of -1.

    Raises ``DataError`` naming file and line or id where something is malformed, ``UsageError`` for an unknown split
    or a limit below 1. No image is opened; the metadata of each image is read.
    """
    split, name = pick_split(split, FILES, DEFAULT_SPLITS, folder, NAME)
    where = folder.describe(name)
    table = Table.read_lines(folder, name)
    ids = [table.identifier(i, "annot_id") for i in range(len(table))]
    refuse_duplicates(ids, "annotation ids", where)
    images: dict[tuple[str, str], ImageRef] = {}
    samples = tuple(_sample(table, i, folder, split, images) for i in limited(range(len(ids)), limit))
    rows = [
        [s.annot_id, s.image_id, s.question, s.answers, s.answer_label, s.rationales, s.rationale_label]
        for s in samples
    ]
    counts = {"questions": len(samples), "images": len({s.image_id for s in samples})}
    return Dataset(NAME, split, samples, counts, OFFICIAL_COUNTS[split], "sha256:" + dataset_fingerprint(rows))


def object_labels(classes: Sequence[str]) -> tuple[str, ...]:
    """Return one label an object: its class and its number among the objects of that class.

    >>> object_labels(["person", "person", "dining table"])
    ('person1', 'person2', 'diningtable1')
    """
    seen: Counter[str] = Counter()
    labels = []
    for name in classes:
        word = re.sub(r"\W+", "", name)
        seen[word] += 1
        labels.append(f"{word}{seen[word]}")
    return tuple(labels)


def render(tokens: Sequence[Any], labels: Sequence[str], what: str) -> str:
    """Turn a token list into text; raises ``DataError`` where a token is no string and points to no object.

    >>> render(["Why", "does", "n't", [0, 1], "sit", "?"], ["person1", "dog1"], "question")
    "Why doesn't [person1] and [dog1] sit?"
    """
    words = []
    for token in tokens:
        if isinstance(token, str):
            words.append(token)
        elif isinstance(token, list) and token and all(_points(index, len(labels)) for index in token):
            words.append(" and ".join(f"[{labels[index]}]" for index in token))
        else:
            raise DataError(f"{what}: {token!r} points to no object; there are {len(labels)}, counted from 0")
    return _GLUED.sub("", " ".join(words))


def _points(index: object, objects: int) -> bool:
    return isinstance(index, int) and not isinstance(index, bool) and 0 <= index < objects


def _sample(
    table: Table, index: int, folder: LocalFolder, split: str, images: dict[tuple[str, str], ImageRef]
) -> VCRItem:
    classes = table.get(index, "objects", list)
    if not all(isinstance(name, str) for name in classes):
        raise DataError(f"{table.place(index, 'objects')} is not a list of strings")
    labels = object_labels(classes)
    files = (table.get(index, "img_fn", str), table.get(index, "metadata_fn", str))
    if files not in images:
        images[files] = ImageRef(folder, f"{IMAGE_FOLDER}/{files[0]}", _regions(folder, files[1], labels))
    elif [region.label for region in images[files].regions] != list(labels):
        raise DataError(f"{table.place(index, 'objects')} differs from that of another item of {files[0]}")
    answers, rationales = (read_choices(table, index, f"{kind}_choices", labels) for kind in ("answer", "rationale"))
    return VCRItem(
        annot_id=table.identifier(index, "annot_id"),
        image_id=table.identifier(index, "img_id") if "img_id" in table.rows[index] else files[0],
        image=images[files],
        question=render(table.get(index, "question", list), labels, table.place(index, "question")),
        answers=answers,
        answer_label=NO_LABEL if split in UNLABELLED else read_label(table, index, "answer_label", answers),
        rationales=rationales,
        rationale_label=NO_LABEL if split in UNLABELLED else read_label(table, index, "rationale_label", rationales),
    )


def read_choices(table: Table, index: int, key: str, labels: Sequence[str]) -> tuple[str, ...]:
    """Return the choices of a record as text; raises ``DataError`` where there are fewer than two."""
    place = table.place(index, key)
    lists = table.get(index, key, list)
    if len(lists) < 2:
        raise DataError(f"{place} has {len(lists)} choices; it needs 2 or more")
    return tuple(
        render(expect(tokens, list, f"{place}[{k}]"), labels, f"{place}[{k}]") for k, tokens in enumerate(lists)
    )


def read_label(table: Table, index: int, key: str, choices: Sequence[str]) -> int:
    """Return the position of the right choice; raises ``DataError`` where there is no such choice."""
    label = table.get(index, key, int)
    if not 0 <= label < len(choices):
        raise DataError(f"{table.place(index, key)} is {label}; there are {len(choices)} choices, counted from 0")
    return label


def _regions(folder: LocalFolder, metadata: str, labels: Sequence[str]) -> tuple[Region, ...]:
    """Return one region an object, in order; outlines may be absent."""
    name = f"{IMAGE_FOLDER}/{metadata}"
    where = folder.describe(name)
    document = expect(folder.read_json(name), dict, f"{where}: the document")
    if "boxes" not in document:
        raise DataError(f"{where} has no 'boxes'")
    boxes = expect(document["boxes"], list, f"{where}: boxes")
    outlines = expect(document.get("segms", [[] for _ in boxes]), list, f"{where}: segms")
    if not len(labels) == len(boxes) == len(outlines):
        raise DataError(
            f"{where} has {len(boxes)} boxes and {len(outlines)} segms for {len(labels)} objects of the annotations"
        )
    try:
        return tuple(
            Region(label, _box(box), tuple(tuple((float(x), float(y)) for x, y in polygon) for polygon in outline))
            for label, box, outline in zip(labels, boxes, outlines, strict=True)
        )
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: a box is not [x1, y1, x2, y2, score] or an outline not [[x, y], …] ({error})"
        ) from error


def _box(box: Sequence[float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(value) for value in box[:4])
    return x1, y1, x2, y2
