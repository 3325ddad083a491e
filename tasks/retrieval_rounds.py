"""How retrieval is put to a model: what is embedded, re-ranked or matched, and what ranks come of it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from vlbench.metrics.both_ways import search_both
from vlbench.metrics.retrieval import (
    NORMALISED_AT_ONCE,
    Found,
    Ranks,
    Search,
    normalise,
    ranks_from_scores,
    rerank,
    scored_rows,
)
from vlbench.spill import scratch
from vlbench.types import (
    CaptionedImage,
    Embedding,
    EmbedImage,
    EmbedText,
    Failure,
    Match,
    MatchScore,
    Request,
    Response,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.floating]
    Ints = npt.NDArray[np.int64]

DIRECTIONS = ("image_to_text", "text_to_image")

Outcomes = tuple["Outcome", "Outcome"]
OutcomeT = TypeVar("OutcomeT")
Exchange = Generator[Sequence[Request], Mapping[str, Response], OutcomeT]
Scorer = Callable[["Ints", "Ints"], Iterator[tuple[int, "Floats"]]]
"""Takes numbers of queries and of items, yields the number of each query with its final scores of those items, by which
they rank; NaN: not retrievable."""


@dataclass(frozen=True)
class Queries:
    """Images and captions of one gallery by number, and which belong together.

    ``start`` are the numbers in the dataset of the first image and the first caption.
    """

    start: tuple[int, int]
    samples: Sequence[CaptionedImage]
    owner: Sequence[int]
    captions_of: Sequence[Sequence[int]]
    image_requests: Sequence[EmbedImage]
    text_requests: Sequence[EmbedText]

    @classmethod
    def of(cls, samples: Sequence[CaptionedImage], start: tuple[int, int] = (0, 0)) -> Queries:
        """Return the queries of ``samples``, their captions numbered in order."""
        owner = [i for i, sample in enumerate(samples) for _ in sample.captions]
        captions_of: list[list[int]] = [[] for _ in samples]
        for number, image in enumerate(owner):
            captions_of[image].append(number)
        texts = [EmbedText(caption.text.strip()) for sample in samples for caption in sample.captions]
        return cls(start, samples, owner, captions_of, [EmbedImage(sample.image) for sample in samples], texts)

    @classmethod
    def folds(cls, samples: Sequence[CaptionedImage], size: int) -> list[Queries]:
        """Return galleries of ``size`` consecutive images each; the last one may be smaller."""
        folds: list[Queries] = []
        texts = 0
        for first in range(0, len(samples), size):
            folds.append(cls.of(samples[first : first + size], (first, texts)))
            texts += len(folds[-1].owner)
        return folds

    def positives(self) -> tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]]:
        """Return the right captions of each image, and the right image of each caption."""
        return self.captions_of, [[image] for image in self.owner]

    def match(self, image: int, text: int) -> Match:
        """Return the request that matches an image and a caption by their numbers."""
        return Match(self.image_requests[image].image, self.text_requests[text].text)

    def pair(self, way: int, query: int, item: int) -> Match:
        """Return the request that matches a query of a direction with an item of its gallery."""
        return self.match(query, item) if way == 0 else self.match(item, query)

    def ids(self) -> tuple[list[str], list[str]]:
        """Return the sample ids of image queries and of text queries."""
        texts = [f"t:{caption.caption_id}" for sample in self.samples for caption in sample.captions]
        return [f"i:{sample.image_id}" for sample in self.samples], texts


@dataclass(frozen=True)
class Outcome:
    """One direction: ranks, the number of the item that came first (-1: none), and why queries failed (or "").

    ``scorer`` gives the scores again, for what is to be ranked by another ground truth.
    """

    ranks: Ranks
    first: Sequence[int]
    reasons: Sequence[str]
    scorer: Scorer


def together(exchanges: Sequence[Exchange[OutcomeT]]) -> Exchange[list[OutcomeT]]:
    """Drive exchanges of equal length in step, so that equal requests of theirs are made once."""
    asked = [next(exchange) for exchange in exchanges]
    outcomes: list[OutcomeT] = []
    while asked:
        responses = yield list(itertools.chain.from_iterable(asked))
        asked = []
        for exchange in exchanges:
            try:
                asked.append(exchange.send(responses))
            except StopIteration as stop:
                outcomes.append(stop.value)
    return outcomes


def embed(queries: Queries, top: int) -> Exchange[Outcomes]:
    """Rank by cosine, both ways; with ``top``, ask for matches of that many candidates a query."""
    responses = yield [*queries.image_requests, *queries.text_requests]
    images, image_reasons = _vectors([responses[request.key] for request in queries.image_requests])
    texts, text_reasons = _vectors([responses[request.key] for request in queries.text_requests])
    image_valid, text_valid = (np.array([not r for r in reasons]) for reasons in (image_reasons, text_reasons))
    captions_of, owners = queries.positives()
    found = search_both(images, texts, captions_of, owners, image_valid, text_valid, top=top)
    reasons = (
        _reasons(found[0].ranks, image_reasons, captions_of, text_reasons, "captions"),
        _reasons(found[1].ranks, text_reasons, owners, image_reasons, "image"),
    )
    scored = (_Cosines(images, texts, text_valid), _Cosines(texts, images, image_valid))
    if not top:
        first = [item.best.tolist() for item in found]
        return (
            Outcome(found[0].ranks, first[0], reasons[0], scored[0]),
            Outcome(found[1].ranks, first[1], reasons[1], scored[1]),
        )
    asked = (
        [[queries.match(i, t) for t in _listed(found[0], i)] for i in range(len(queries.samples))],
        [[queries.match(i, t) for i in _listed(found[1], t)] for t in range(len(queries.owner))],
    )
    matched = yield [request for side in asked for requests in side for request in requests]
    return (
        _reranked(found[0], asked[0], matched, captions_of, reasons[0], scored[0]),
        _reranked(found[1], asked[1], matched, owners, reasons[1], scored[1]),
    )


def embed_some(queries: Queries, way: int, own: Sequence[int], top: int) -> Exchange[Outcome]:
    """Rank the queries numbered ``own`` of one direction as ``embed`` does, in the whole gallery."""
    sides = (queries.image_requests, queries.text_requests)
    responses = yield [*(sides[way][i] for i in own), *sides[1 - way]]
    vectors, reasons = _vectors([responses[sides[way][i].key] for i in own])
    gallery, lost = _vectors([responses[request.key] for request in sides[1 - way]])
    valid, kept = (np.array([not reason for reason in each]) for each in (reasons, lost))
    positives = _sought(queries, way, own)
    found = Search(vectors, gallery, positives, valid, kept).run(top)
    why = _reasons(found.ranks, reasons, positives, lost, ("captions", "image")[way])
    cosines = _Cosines(vectors, gallery, kept)
    if not top:
        return Outcome(found.ranks, found.best.tolist(), why, cosines)
    asked = [[queries.pair(way, query, item) for item in _listed(found, i)] for i, query in enumerate(own)]
    matched = yield [request for requests in asked for request in requests]
    return _reranked(found, asked, matched, positives, why, cosines)


def _sought(queries: Queries, way: int, own: Sequence[int]) -> list[Sequence[int]]:
    positives = queries.positives()[way]
    return [positives[i] for i in own]


@dataclass(frozen=True)
class _Cosines:
    """A ``Scorer`` over unit vectors; ``matches`` of a query's candidates put those before all other items."""

    queries: npt.NDArray[np.float32]
    gallery: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    candidates: Ints | None = None
    matches: Sequence[Sequence[float] | None] = ()

    def __call__(self, asked: Ints, items: Ints) -> Iterator[tuple[int, Floats]]:
        lost = np.flatnonzero(~self.valid[items])
        for i, row in scored_rows(self.queries, self.gallery, asked, items):
            row[lost] = np.nan
            values = self.matches[i] if self.candidates is not None else None
            if self.candidates is None or values is None:
                yield i, row
            else:
                yield i, lift(row, items, self.candidates[i][: len(values)], values)


def lift(row: Floats, items: Ints, candidates: Ints, values: Sequence[float]) -> Floats:
    """Return the scores ``row`` of ``items`` (in rising order) with ``candidates`` above, in the order of ``values``.

    Candidates that are none of the items are left out.
    """
    lifted = row.astype(np.float64)
    order = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True)[1].ravel()
    inside = np.isin(candidates, items)
    lifted[np.searchsorted(items, candidates[inside])] = np.nanmax(row) + 1.0 + order[inside]
    return lifted


def _listed(found: Found, query: int) -> list[int]:
    return [number for number in found.candidates[query].tolist() if number >= 0]


def _vectors(responses: Sequence[Response]) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Return unit vectors (n, d), zero where embedding failed, and the reasons of failures ("" elsewhere)."""
    reasons = [response.reason if isinstance(response, Failure) else "" for response in responses]
    vectors = [response.vector if isinstance(response, Embedding) else None for response in responses]
    width = next((len(vector) for vector in vectors if vector is not None), 1)
    empty = np.zeros(width, dtype=np.float32)
    units = scratch((len(vectors), width))
    for start in range(0, len(vectors), NORMALISED_AT_ONCE):
        part = vectors[start : start + NORMALISED_AT_ONCE]
        units[start : start + len(part)] = normalise([empty if vector is None else vector for vector in part])
    return units, reasons


def _reasons(
    ranks: Ranks, own: Sequence[str], positives: Sequence[Sequence[int]], other: Sequence[str], what: str
) -> list[str]:
    """Return why each query failed: for its own sake, or because nothing that it seeks is left."""
    reasons = list(own)
    for i in np.flatnonzero(ranks.tied_positives == 0).tolist():
        if not reasons[i]:
            reasons[i] = f"its {what} failed: {other[positives[i][0]]}"
    return reasons


def _reranked(
    found: Found,
    asked: Sequence[Sequence[Match]],
    scored: Mapping[str, Response],
    positives: Sequence[Sequence[int]],
    reasons: Sequence[str],
    cosines: _Cosines,
) -> Outcome:
    """Apply match scores; a query with a pair that failed finds nothing."""
    matches: list[list[float] | None] = []
    after = list(reasons)
    first = found.best.tolist()
    for i, requests in enumerate(asked):
        responses = [scored[request.key] for request in requests]
        values = [response.value for response in responses if isinstance(response, MatchScore)]
        failed = next((response.reason for response in responses if isinstance(response, Failure)), None)
        matches.append(values if failed is None and not reasons[i] else None)
        if failed is not None:
            after[i] = reasons[i] or f"matching a candidate failed: {failed}"
        elif values:
            first[i] = int(found.candidates[i][int(np.argmax(values))])
    scorer = dataclasses.replace(cosines, candidates=found.candidates, matches=matches)
    return Outcome(rerank(found, matches, positives), first, after, scorer)


def match_all(queries: Queries) -> Exchange[Outcomes]:
    """Score all pairs.

    An item all of whose pairs failed is out; another pair that failed fails both of its queries, since nobody knows
    how it would have ranked.
    """
    images, texts = range(len(queries.samples)), range(len(queries.owner))
    requests = [[queries.match(i, t) for t in texts] for i in images]
    responses = yield [request for row in requests for request in row]
    scores = np.full((len(images), len(texts)), np.nan)
    reasons: dict[tuple[int, int], str] = {}
    for i in images:
        for t in texts:
            response = responses[requests[i][t].key]
            if isinstance(response, MatchScore):
                scores[i, t] = response.value
            elif isinstance(response, Failure):
                reasons[i, t] = response.reason
    missing = np.isnan(scores)
    odd = missing & ~missing.all(axis=1)[:, None] & ~missing.all(axis=0)[None, :]
    captions_of, owners = queries.positives()
    turned = {(t, i): reason for (i, t), reason in reasons.items()}
    return (
        _matched(scores, captions_of, odd.any(axis=1), reasons),
        _matched(scores.T, owners, odd.any(axis=0), turned),
    )


def match_some(queries: Queries, way: int, own: Sequence[int]) -> Exchange[Outcome]:
    """Score the queries numbered ``own`` of one direction with the whole gallery, as ``match_all`` does.

    A query with a pair that failed fails: whether its item is out for all, the others would tell.
    """
    count = (len(queries.owner), len(queries.samples))[way]
    requests = [[queries.pair(way, query, item) for item in range(count)] for query in own]
    responses = yield [request for row in requests for request in row]
    scores = np.full((len(own), count), np.nan)
    reasons: dict[tuple[int, int], str] = {}
    for i, row in enumerate(requests):
        for item, request in enumerate(row):
            response = responses[request.key]
            if isinstance(response, MatchScore):
                scores[i, item] = response.value
            elif isinstance(response, Failure):
                reasons[i, item] = response.reason
    positives = _sought(queries, way, own)
    return _matched(scores, positives, np.isnan(scores).any(axis=1), reasons)


def _matched(
    scores: npt.NDArray[np.float64],
    positives: Sequence[Sequence[int]],
    failed: npt.NDArray[np.bool_],
    reasons: Mapping[tuple[int, int], str],
) -> Outcome:
    """Rank one direction from all scores (n, m), NaN where matching failed."""
    ranks = ranks_from_scores(scores, positives)
    ranks.tied_positives[failed] = 0
    why = [""] * len(scores)
    for i in np.flatnonzero(ranks.tied_positives == 0).tolist():
        lost = np.flatnonzero(np.isnan(scores[i])).tolist()
        pair = next((item for item in positives[i] if item in lost), lost[0])
        why[i] = f"matching failed: {reasons[i, pair]}"
    first = [-1 if np.isnan(row).all() else int(np.nanargmax(row)) for row in scores]
    return Outcome(ranks, first, why, lambda asked, items: ((i, scores[i, items]) for i in asked.tolist()))
