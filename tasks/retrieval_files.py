"""Retrieval scores from files: a matrix of similarities, or ranked lists.

A matrix (``.npy``, or ``.npz`` with one array) holds floats, higher is better: one row an image and one column a
caption, both in the order of the split as vlbench reads it: images as in the annotation file, captions image by image.
A ``.npy`` file is mapped into memory, never read whole; ties count in expectation.

Ranked lists are JSON, best first: ``{"image_to_text": {image id: [caption ids]}, "text_to_image": {caption id: [image
ids]}}``. Lists may end early, but not before the tenth item; what a list does not name has no rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vlbench.data.checks import expect, first_few, refuse_duplicates
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError
from vlbench.metrics.retrieval import ranks_from_rows, strip_queries
from vlbench.tasks.arguments import refuse_other_ids
from vlbench.tasks.retrieval_rounds import DIRECTIONS, Outcome, Outcomes, Queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from vlbench.types import CaptionedImage, Dataset

    Floats = npt.NDArray[np.floating]
    Ints = npt.NDArray[np.int64]

SHORTEST_LIST = 10
"""Recall is reported up to this K, and a shorter list does not tell it."""


@dataclass(frozen=True)
class Similarity:
    """A matrix of scores: ``scores`` (images, captions), mapped or in memory."""

    path: Path
    scores: Floats

    def rows(self, side: int, asked: Ints, items: Ints) -> Iterator[tuple[int, Floats]]:
        """Yield each query with its scores of the ``items``; raises ``DataError`` for a score that is not a number."""
        others = self.scores.shape[1 - side]
        block = strip_queries(others)
        for start in range(0, len(asked), block):
            part = asked[start : start + block]
            # Columns are copied a block at a time: one by one, each would touch every page of the file.
            rows = self.scores[part] if side == 0 else self.scores[:, part].T
            # float16 is exact in float32, where comparing and sorting are many times faster.
            kind = np.result_type(rows, np.float32)
            rows = np.ascontiguousarray(rows if len(items) == others else rows[:, items], dtype=kind)
            odd = np.argwhere(np.isnan(rows))
            if len(odd):
                place = (int(part[odd[0, 0]]), int(items[odd[0, 1]]))
                image, caption = place if side == 0 else place[::-1]
                raise DataError(f"{self.path}: the score of image {image} and caption {caption} is not a number")
            yield from zip(part.tolist(), rows, strict=True)


@dataclass(frozen=True)
class RankedLists:
    """Ranked lists by numbers: for each direction one array a query, best first."""

    path: Path
    lists: tuple[Sequence[Ints], Sequence[Ints]]

    def rows(self, side: int, asked: Ints, items: Ints) -> Iterator[tuple[int, Floats]]:
        """Yield each query with scores that fall by one a place; NaN for what its list does not name."""
        for query in asked.tolist():
            listed = self.lists[side][query]
            row = np.full(len(self.lists[1 - side]), np.nan)
            row[listed] = -np.arange(len(listed), dtype=np.float64)
            yield query, row[items]


def outcomes(given: Similarity | RankedLists, queries: Queries) -> Outcomes:
    """Rank both directions of one gallery by the scores given."""
    images, texts = (start + np.arange(n) for start, n in zip(queries.start, _sizes(queries), strict=True))
    positives = queries.positives()
    return (
        _outcome(given, 0, images, texts, positives[0]),
        _outcome(given, 1, texts, images, positives[1]),
    )


def _sizes(queries: Queries) -> tuple[int, int]:
    return len(queries.samples), len(queries.owner)


def _outcome(
    given: Similarity | RankedLists, side: int, own: Ints, other: Ints, positives: Sequence[Sequence[int]]
) -> Outcome:
    first = [-1] * len(own)

    def seen(rows: Iterable[tuple[int, Floats]]) -> Iterator[tuple[int, Floats]]:
        for query, row in rows:
            number = query - int(own[0])
            if not np.isnan(row).all():
                first[number] = int(np.nanargmax(row))
            yield number, row

    ranks = ranks_from_rows(seen(given.rows(side, own, other)), positives, len(other))
    return Outcome(ranks, first, [""] * len(own), lambda asked, items: given.rows(side, asked, items))


def read_scores(path: Path, dataset: Dataset[CaptionedImage]) -> Similarity | RankedLists:
    """Read a matrix or ranked lists for all images and captions of ``dataset``.

    Raises ``DataError`` where the file is neither, has another shape, or names other ids than the split has.
    """
    if path.suffix in (".npy", ".npz"):
        scores = _array(path)
        shape = dataset.counts["images"], dataset.counts["captions"]
        if scores.shape != shape:
            found = " x ".join(str(n) for n in scores.shape)
            raise DataError(
                f"{path} is {found}; the split has {shape[0]} images (rows) x {shape[1]} captions (columns)"
            )
        if not np.issubdtype(scores.dtype, np.floating):
            raise DataError(f"{path} holds {scores.dtype}, not floating-point scores")
        return Similarity(path, scores)
    document = expect(LocalFolder(path.parent).read_json(path.name), dict, f"{path}: the document")
    ids = (
        [sample.image_id for sample in dataset.samples],
        [caption.caption_id for sample in dataset.samples for caption in sample.captions],
    )
    return RankedLists(path, (_lists(document, 0, ids, path), _lists(document, 1, ids, path)))


def _array(path: Path) -> Any:
    """Open an array without reading it (``.npy``) or read the only one of an archive; pickles are refused."""
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return loaded
        with loaded:
            if len(loaded.files) != 1:
                raise DataError(
                    f"{path} holds {len(loaded.files)} arrays ({first_few(loaded.files)}); it must hold one"
                )
            return loaded[loaded.files[0]]
    except FileNotFoundError as error:
        raise DataError(f"file {path} is missing") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as an array of numbers ({error})") from error


def _lists(document: Mapping[str, Any], side: int, ids: tuple[Sequence[str], Sequence[str]], path: Path) -> list[Ints]:
    direction = DIRECTIONS[side]
    if direction not in document:
        raise DataError(f"{path} has no {direction!r}; it must hold {' and '.join(DIRECTIONS)}")
    lists = expect(document[direction], dict, f"{path}: {direction}")
    refuse_other_ids(list(lists), ids[side], "image ids" if side == 0 else "caption ids", f"{path}: {direction}")
    numbers = {name: number for number, name in enumerate(ids[1 - side])}
    shortest = min(SHORTEST_LIST, len(numbers))
    return [_list(lists[query], numbers, shortest, f"{path}: {direction}[{query}]") for query in ids[side]]


def _list(value: object, numbers: Mapping[str, int], shortest: int, where: str) -> Ints:
    names = [str(name) for name in expect(value, list, where)]
    unknown = [name for name in names if name not in numbers]
    if unknown:
        raise DataError(f"{where} names ids that are not in the split: {first_few(unknown)}")
    refuse_duplicates(names, "ids", where)
    if len(names) < shortest:
        raise DataError(f"{where} has {len(names)} ids; recall@{SHORTEST_LIST} needs the best {shortest} or more")
    return np.array([numbers[name] for name in names], dtype=np.int64)
