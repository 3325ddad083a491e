"""Ranks of both directions of retrieval from one product of the vectors, exact, in bounded memory.

A strip of scores holds whole rows, so that image queries are ranked at once (``vlbench.metrics.retrieval``). A text
query is a column, of which each strip shows a part, and the score to compare with, that of its right image, may come
in a later one. So it is computed beforehand, to within ``MARGIN``: scores above that are counted, the few within it
are kept, and decided at the end by the score that the product itself gave. Where that lies outside of the margin, or
too many lie within it (a collapsed embedding), texts are ranked by a product of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vlbench.metrics.retrieval import NORMALISED_AT_ONCE, Found, Search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.metrics.retrieval import Flags, Floats, Ints

MARGIN = 4e-6
"""Above the error of a product of unit vectors in float32, some 1e-7."""
MOST_NEAR = 1 << 24
"""Scores within the margin that are kept, of all queries together: 192 MiB."""
ROWS, COLUMNS = 128, 1 << 14
"""A block of a strip that stays in the processor's cache; so many flags add up in uint8."""


def search_both(
    images: Floats,
    texts: Floats,
    captions_of: Sequence[Sequence[int]],
    images_of: Sequence[Sequence[int]],
    image_valid: Flags | None = None,
    text_valid: Flags | None = None,
    *,
    top: int = 0,
    elements: int | None = None,
) -> tuple[Found, Found]:
    """Return what ``Search`` finds for image queries and for text queries; arguments as there.

    One product serves both where no candidates are asked for (``top``), each text has one right image, and each image
    that is valid has a text that is.
    """
    forward = Search(images, texts, captions_of, image_valid, text_valid, elements)
    back = Search(texts, images, images_of, text_valid, image_valid, elements)
    single = all(len(right) == 1 for right in images_of)
    if top or not single or not np.array_equal(forward.asked, back.items):
        return forward.run(top), back.run(top)
    columns = _Columns(images, texts, forward, back)
    found = forward.run(0, columns.see)
    return found, columns.found() or back.run(0)


class _Columns:
    """The text queries, while strips of all images by all texts go by."""

    def __init__(self, images: Floats, texts: Floats, forward: Search, back: Search) -> None:
        self._back = back
        self._images, self._texts = forward.asked, forward.items
        place = {text: column for column, text in enumerate(self._texts.tolist())}
        self._columns = np.array([place[text] for text in back.asked.tolist()], dtype=np.int64)
        """Of each query its column."""
        self._right = np.array([back.positives[text][0] for text in back.asked.tolist()], dtype=np.int64)
        """Of each query the row of its image."""
        self._by_right = np.argsort(self._right, kind="stable")
        self._starts = np.searchsorted(self._right[self._by_right], np.arange(len(self._images) + 1))
        count = len(self._texts)
        expected = np.full(count, np.inf)
        for start in range(0, len(back.asked), NORMALISED_AT_ONCE):
            some = slice(start, start + NORMALISED_AT_ONCE)
            left, right = texts[back.asked[some]], images[self._images[self._right[some]]]
            expected[self._columns[some]] = np.einsum("nd,nd->n", left, right, dtype=np.float64)
        self._low, self._high = (expected - MARGIN).astype(np.float32), (expected + MARGIN).astype(np.float32)
        self._scores = np.full(count, np.nan, dtype=np.float32)
        self._above = np.zeros(count, dtype=np.int64)
        self._best, self._first = np.full(count, -np.inf, dtype=np.float32), np.full(count, -1, dtype=np.int64)
        self._near: list[tuple[Ints, Floats]] = []
        self._kept = 0

    def see(self, rows: Ints, scores: Floats) -> None:
        """Count in a strip: the numbers of its rows (b,), and their scores of all texts (b, m)."""
        if self._kept > MOST_NEAR:
            return
        for row, values in zip(rows.tolist(), scores, strict=True):
            own = self._columns[self._by_right[self._starts[row] : self._starts[row + 1]]]
            self._scores[own] = values[own]
        for start in range(0, scores.shape[1], COLUMNS):
            for top in range(0, len(rows), ROWS):
                self._block(rows[top : top + ROWS], scores[top : top + ROWS, start : start + COLUMNS], start)
                if self._kept > MOST_NEAR:
                    self._near.clear()
                    return

    def _block(self, rows: Ints, block: Floats, start: int) -> None:
        stop = start + block.shape[1]
        low, high = self._low[start:stop], self._high[start:stop]
        above, reached = _count(block > high), _count(block >= low)
        self._above[start:stop] += above
        near = np.flatnonzero(reached != above)
        some = block[:, near]
        inside = (some >= low[near]) & (some <= high[near])
        self._near.append((start + near[inside.nonzero()[1]], some[inside]))
        self._kept += len(self._near[-1][0])
        highest = block.max(axis=0)
        better = np.flatnonzero(highest > self._best[start:stop])
        self._best[start + better] = highest[better]
        self._first[start + better] = self._images[rows[block[:, better].argmax(axis=0)]]

    def found(self) -> Found | None:
        """Return what was found for all texts; None where the margin did not do."""
        right = self._scores[self._columns]
        inside = (self._low[self._columns] <= right) & (right <= self._high[self._columns])
        if self._kept > MOST_NEAR or not inside.all():
            return None
        columns = np.concatenate([columns for columns, _ in self._near] or [np.empty(0, dtype=np.int64)])
        values = np.concatenate([values for _, values in self._near] or [np.empty(0, dtype=np.float32)])
        count = len(self._texts)
        above = self._above + np.bincount(columns[values > self._scores[columns]], minlength=count)
        tied = np.bincount(columns[values == self._scores[columns]], minlength=count) - 1
        found = self._back.nothing(0)
        found.ranks.above[self._back.asked] = above[self._columns]
        found.ranks.tied_negatives[self._back.asked] = tied[self._columns]
        found.ranks.tied_positives[self._back.asked] = 1
        found.best[self._back.asked] = self._first[self._columns]
        return found


def _count(flags: Flags) -> Ints:
    """Return how many of at most 255 rows have the flag, by column."""
    counts: Ints = np.add.reduce(flags.view(np.uint8), axis=0, dtype=np.uint8).astype(np.int64)
    return counts
