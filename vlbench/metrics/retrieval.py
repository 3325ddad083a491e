"""Ranks of the right answers in retrieval, exact, with ties resolved in expectation, in bounded memory.

Queries are scored against the gallery strip by strip, and of each three numbers are kept: how many wrong items score
strictly above the best right one (``above``), how many wrong ones tie with it (``tied_negatives``), and how many right
ones do (``tied_positives``). Recall and rank follow in closed form as expectations over random orders of the tied
items, so that a collapsed embedding scores chance. No matrix of all queries by the whole gallery is ever held.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlbench.spill import scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

STRIP_ELEMENTS = 1 << 24
"""Scores held at once: 64 MiB of float32, or more where that would be less than ``STRIP_QUERIES`` queries."""
STRIP_QUERIES = 128
"""A product of fewer queries reads the gallery from memory more often than it computes."""
NORMALISED_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Ranks:
    """Where the best right item of n queries stands; int64 arrays of shape (n,).

    ``tied_positives`` is 0 where no right item can be retrieved: the query failed, or all of its right items did.
    """

    above: Ints
    tied_negatives: Ints
    tied_positives: Ints

    def hits(self, k: int) -> Doubles:
        """Return the expected hit at ``k`` of each query: float64 of shape (n,), in [0, 1]."""
        triples = zip(self.above.tolist(), self.tied_negatives.tolist(), self.tied_positives.tolist(), strict=True)
        return np.array([expected_hit(k, g, e, p) for g, e, p in triples], dtype=np.float64)

    def expected_rank(self) -> Doubles:
        """Return the expected rank of the best right item, from 1; infinite where none can be retrieved."""
        with np.errstate(divide="ignore"):
            ranks = self.above + self.tied_negatives / (self.tied_positives + 1) + 1
        return np.where(self.tied_positives > 0, ranks, np.inf)


def expected_hit(k: int, above: int, tied_negatives: int, tied_positives: int) -> float:
    """Return the probability that a right item is among the first ``k`` in a random order of the tied ones.

    0 if ``above`` >= k, 1 if more places are left than tied wrong items, else 1 - C(e, k-g) / C(e+p, k-g).

    >>> expected_hit(1, 0, 1, 1), expected_hit(5, 5, 0, 1), expected_hit(2, 0, 1, 1)
    (0.5, 0.0, 1.0)
    """
    places = k - above
    if tied_positives == 0 or places <= 0:
        return 0.0
    if places > tied_negatives:
        return 1.0
    return 1.0 - math.comb(tied_negatives, places) / math.comb(tied_negatives + tied_positives, places)


def median_rank(ranks: Doubles) -> float | None:
    """Return the median rank as VSE++ (Faghri et al. 2018) does: floor(median of ranks from 0) + 1.

    None where it is infinite, because half of the queries or more failed.
    """
    middle = float(np.median(ranks - 1.0))
    return None if math.isinf(middle) or math.isnan(middle) else float(math.floor(middle) + 1)


def mean_rank(ranks: Doubles) -> float | None:
    """Return the mean rank, from 1; None where a query has no rank, since infinity would be its mean.

    >>> mean_rank(np.array([1.0, 1.5, 5.0])), mean_rank(np.array([1.0, np.inf]))
    (2.5, None)
    """
    mean = float(np.mean(ranks))
    return None if math.isinf(mean) else mean


def normalise(vectors: npt.ArrayLike) -> Floats:
    """Return unit vectors: float32 of shape (n, d); equal rows stay equal to the bit, zero rows stay zero."""
    given = np.asarray(vectors)
    units = np.empty(given.shape, dtype=np.float32)
    for start in range(0, len(given), NORMALISED_AT_ONCE):
        rows = given[start : start + NORMALISED_AT_ONCE].astype(np.float64)
        norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        # The sum with 0.0 turns -0.0 into 0.0, so that equal vectors have equal bytes.
        units[start : start + len(rows)] = rows / np.maximum(norms, 1e-12)[:, None] + 0.0
    return units


def taken(vectors: Floats, rows: Ints) -> Floats:
    """Return the ``rows`` of ``vectors``, outside of memory if they are many."""
    # "clip" takes without a buffer as large as the outcome.
    return np.take(vectors, rows, axis=0, out=scratch((len(rows), vectors.shape[1])), mode="clip")


@dataclass(frozen=True)
class Distinct:
    """Vectors without repetition: ``rows[index]`` are the original ones."""

    rows: Floats
    index: Ints

    @classmethod
    def of(cls, vectors: Floats) -> Distinct:
        """Find equal rows by their bytes.

        A matrix product may give two equal rows scores that differ in the last bit, depending on where in the block
        they stand; scored once, they tie.
        """
        first: dict[bytes, int] = {}
        keep: list[int] = []
        index = np.empty(len(vectors), dtype=np.int64)
        for i, row in enumerate(np.ascontiguousarray(vectors)):
            key = hashlib.blake2b(row.tobytes(), digest_size=16).digest()
            index[i] = first.setdefault(key, len(first))
            if index[i] == len(keep):
                keep.append(i)
        if len(keep) == len(vectors):
            return cls(vectors, index)
        return cls(taken(vectors, np.array(keep, dtype=np.int64)), index)


def strip_queries(items: int) -> int:
    """Return how many queries are scored at once against a gallery of ``items``."""
    return max(STRIP_QUERIES, STRIP_ELEMENTS // max(1, items))


def strips(queries: Floats, gallery: Floats, elements: int | None = None) -> Iterator[tuple[Ints, Floats]]:
    """Yield all scores in strips: the numbers of the queries (b,) and their scores (b, m), equal rows tying exactly.

    ``queries`` (n, d) and ``gallery`` (m, d) are unit vectors; strips do not come in the order of the queries. A strip
    is overwritten by the next one.
    """
    left, right = Distinct.of(queries), Distinct.of(gallery)
    order = np.argsort(left.index, kind="stable")
    bounds = np.searchsorted(left.index[order], np.arange(len(left.rows) + 1))
    block = max(1, elements // max(1, len(gallery))) if elements else strip_queries(len(gallery))
    products = np.empty((min(block, len(left.rows)), len(right.rows)), dtype=np.float32)
    for start in range(0, len(left.rows), block):
        stop = min(start + block, len(left.rows))
        scores: Floats = np.matmul(left.rows[start:stop], right.rows.T, out=products[: stop - start])
        if len(right.rows) < len(gallery):
            # Indexing would lay the columns out as rows, and rows are what is read.
            scores = np.take(scores, right.index, axis=1, mode="clip")
        members = order[bounds[start] : bounds[stop]]
        if len(members) == stop - start:
            yield members, scores
            continue
        for part in range(0, len(members), block):
            chosen = members[part : part + block]
            yield chosen, scores[left.index[chosen] - start]


def scored_rows(
    queries: Floats, gallery: Floats, asked: Ints, items: Ints, elements: int | None = None
) -> Iterator[tuple[int, Floats]]:
    """Yield the number of each query ``asked``, in no order, with its scores of the gallery ``items``.

    A row is overwritten by a later one.
    """
    for part, scores in strips(queries[asked], gallery[items], elements):
        yield from zip(asked[part].tolist(), scores, strict=True)


def retrieval_ranks(
    queries: Floats,
    gallery: Floats,
    positives: Sequence[Sequence[int]],
    *,
    query_valid: Flags | None = None,
    gallery_valid: Flags | None = None,
    elements: int | None = None,
) -> Ranks:
    """Rank the gallery for every query by the product of the vectors.

    ``queries`` (n, d) and ``gallery`` (m, d): float32, unit vectors for cosine similarity. ``positives``: the right
    gallery items of each query. Items and queries that are not valid (their embedding failed) take no part: such an
    item is never retrieved, such a query finds nothing.
    """
    search = Search(queries, gallery, positives, query_valid, gallery_valid, elements)
    return search.run(top=0).ranks


@dataclass(frozen=True)
class Found:
    """Outcome of a search of n queries.

    ``candidates`` (n, top) are the numbers of the best gallery items of each query, best first, and ``best`` (n,) is
    one of those that score highest; -1 where there are fewer items or the query finds nothing. ``candidate_ties`` (n,)
    is how many candidates score as high as the best right item.
    """

    ranks: Ranks
    candidates: Ints
    candidate_ties: Ints
    best: Ints


class Search:
    """One direction of retrieval over embeddings; arguments as for ``retrieval_ranks``.

    ``asked`` are the numbers of the queries that are valid and have something to find, ``items`` those of the valid
    gallery items, and ``positives`` of each query the places among ``items`` of what it seeks.
    """

    def __init__(
        self,
        queries: Floats,
        gallery: Floats,
        positives: Sequence[Sequence[int]],
        query_valid: Flags | None = None,
        gallery_valid: Flags | None = None,
        elements: int | None = None,
    ) -> None:
        """Leave out what is not valid."""
        n, m = len(queries), len(gallery)
        if len(positives) != n:
            raise ValueError(f"{len(positives)} lists of positives for {n} queries")
        asked = np.flatnonzero(query_valid) if query_valid is not None else np.arange(n)
        self.items = np.flatnonzero(gallery_valid) if gallery_valid is not None else np.arange(m)
        place = np.full(m, -1, dtype=np.int64)
        place[self.items] = np.arange(len(self.items))
        self.positives = [place[np.asarray(right, dtype=np.int64)] for right in positives]
        self.positives = [right[right >= 0] for right in self.positives]
        self.asked = np.array([i for i in asked if len(self.positives[i])], dtype=np.int64)
        self._n, self._m = n, m
        self._queries, self._gallery = queries, gallery
        self._elements = elements

    def nothing(self, top: int) -> Found:
        """Return what is found before anything is asked."""
        zeros = [np.zeros(self._n, dtype=np.int64) for _ in range(3)]
        above, first = np.full(self._n, self._m, dtype=np.int64), np.full(self._n, -1, dtype=np.int64)
        return Found(Ranks(above, *zeros[:2]), np.full((self._n, top), -1, dtype=np.int64), zeros[2], first)

    def run(self, top: int, see: Callable[[Ints, Floats], None] | None = None) -> Found:
        """Rank all queries and keep the ``top`` best items of each; ``see`` is shown each strip before.

        It takes places among ``asked`` (b,) and their scores of all ``items`` (b, m).
        """
        found = self.nothing(top)
        above, negatives, right = found.ranks.above, found.ranks.tied_negatives, found.ranks.tied_positives
        gallery = self._gallery if len(self.items) == self._m else taken(self._gallery, self.items)
        queries = self._queries if len(self.asked) == self._n else taken(self._queries, self.asked)
        for part, scores in strips(queries, gallery, self._elements):
            if see is not None:
                see(part, scores)
            for i, row in zip(self.asked[part].tolist(), scores, strict=True):
                positive_scores = row[self.positives[i]]
                best = positive_scores.max()
                if np.isnan(best):
                    continue
                # One look at the whole row; all else is about the few items that are left.
                leading = np.flatnonzero(row >= best)
                above[i] = np.count_nonzero(row[leading] > best)
                right[i] = np.count_nonzero(positive_scores == best)
                negatives[i] = len(leading) - above[i] - right[i]
                found.best[i] = self.items[leading[row[leading].argmax()]]
                if top:
                    chosen = top_items(row, top, i)
                    found.candidates[i, : len(chosen)] = self.items[chosen]
                    found.candidate_ties[i] = np.count_nonzero(row[chosen] == best)
        return found


def top_items(scores: npt.NDArray[np.floating], top: int, seed: int) -> Ints:
    """Return the ``top`` best of ``scores`` (m,), best first.

    Where a tie straddles the last place, the tied items that get in are drawn by a generator seeded with ``seed``:
    neither the order of the gallery nor being right decides.
    """
    if top < len(scores):
        edge = np.partition(scores, len(scores) - top)[len(scores) - top]
        inside = np.flatnonzero(scores > edge)
        tied = np.flatnonzero(scores == edge)
        room = top - len(inside)
        if room < len(tied):
            tied = np.sort(np.random.default_rng(seed).choice(tied, room, replace=False))
        chosen = np.concatenate((inside, tied))
    else:
        chosen = np.arange(len(scores))
    ordered: Ints = chosen[np.argsort(-scores[chosen], kind="stable")]
    return ordered


def rerank(found: Found, matches: Sequence[Sequence[float] | None], positives: Sequence[Sequence[int]]) -> Ranks:
    """Return the ranks after the candidates of each query were put in the order of their match scores.

    ``matches``: one score for each candidate of a query that is not -1, in order; None where scoring failed, and then
    the query finds nothing. Candidates come before all other items; those keep the order of the first stage. Ties of
    match scores, and ties of the first stage behind the candidates, count in expectation.
    """
    above, negatives, right = (
        values.copy() for values in (found.ranks.above, found.ranks.tied_negatives, found.ranks.tied_positives)
    )
    for i, scores in enumerate(matches):
        if scores is None:
            right[i] = 0
            continue
        candidates = found.candidates[i]
        candidates = candidates[candidates >= 0]
        values = np.asarray(scores, dtype=np.float64)
        is_right = np.isin(candidates, np.asarray(positives[i], dtype=np.int64))
        if not is_right.any():
            # Wrong candidates that tied with the best right item now stand before it.
            above[i] += found.candidate_ties[i]
            negatives[i] -= found.candidate_ties[i]
            continue
        best = values[is_right].max()
        above[i] = np.count_nonzero(values > best)
        right[i] = np.count_nonzero(is_right & (values == best))
        negatives[i] = np.count_nonzero(values == best) - right[i]
    return Ranks(above, negatives, right)


def ranks_from_scores(scores: npt.NDArray[np.floating], positives: Sequence[Sequence[int]]) -> Ranks:
    """Return ranks from given scores (n, m), for galleries small enough to score every pair; NaN: not retrievable.

    A query whose right items are all NaN finds nothing.
    """
    return ranks_from_rows(enumerate(scores), positives, scores.shape[1])


def ranks_from_rows(
    rows: Iterable[tuple[int, npt.NDArray[np.floating]]], positives: Sequence[Sequence[int]], items: int
) -> Ranks:
    """Return ranks from rows that come one by one, each with the number of its query and scores of all ``items``.

    NaN: not retrievable. A query that has no row, or whose right items are all NaN, finds nothing.
    """
    n = len(positives)
    above = np.full(n, items, dtype=np.int64)
    negatives, right = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    for i, row in rows:
        good = row[np.asarray(positives[i], dtype=np.int64)]
        good = good[~np.isnan(good)]
        if len(good):
            best = good.max()
            above[i] = np.count_nonzero(row > best)
            right[i] = np.count_nonzero(good == best)
            negatives[i] = np.count_nonzero(row == best) - right[i]
    return Ranks(above, negatives, right)
