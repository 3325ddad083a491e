"""Image-text retrieval on COCO and Flickr30K: recall@K both ways, median rank, rsum.

A query is an image that seeks any of its captions, or a caption that seeks its image. Models that embed are ranked by
cosine; where they also match natively, the best candidates of each query are re-ranked; models that only match score
every pair, on small sets.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vlbench.data.coco import load_coco
from vlbench.data.flickr30k import load_flickr30k
from vlbench.errors import UsageError
from vlbench.metrics.retrieval import Found, Ranks, Search, median_rank, normalise, ranks_from_scores, rerank
from vlbench.task import Protocol, Rounds, Task
from vlbench.tasks.arguments import integer
from vlbench.types import (
    CaptionedImage,
    Dataset,
    Embedding,
    EmbedImage,
    EmbedText,
    Failure,
    Match,
    MatchScore,
    Metric,
    Request,
    Response,
    SampleRow,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from vlbench.data.source import DataRoot

KS = (1, 5, 10)
DIRECTIONS = ("image_to_text", "text_to_image")
DEFAULT_RERANK = 16
MAX_PAIRS = 250_000

Exchange = Generator[Sequence[Request], Mapping[str, Response], "tuple[Outcome, Outcome]"]


@dataclass(frozen=True)
class Queries:
    """Images and captions by number, and which belong together."""

    samples: Sequence[CaptionedImage]
    owner: Sequence[int]
    captions_of: Sequence[Sequence[int]]
    image_requests: Sequence[EmbedImage]
    text_requests: Sequence[EmbedText]

    @classmethod
    def of(cls, samples: Sequence[CaptionedImage]) -> Queries:
        """Return the queries of ``samples``, their captions numbered in order."""
        owner = [i for i, sample in enumerate(samples) for _ in sample.captions]
        captions_of: list[list[int]] = [[] for _ in samples]
        for number, image in enumerate(owner):
            captions_of[image].append(number)
        texts = [EmbedText(caption.text.strip()) for sample in samples for caption in sample.captions]
        return cls(samples, owner, captions_of, [EmbedImage(sample.image) for sample in samples], texts)

    def positives(self) -> tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]]:
        """Return the right captions of each image, and the right images of each caption."""
        return self.captions_of, [[image] for image in self.owner]

    def match(self, image: int, text: int) -> Match:
        """Return the request that matches an image and a caption by their numbers."""
        return Match(self.image_requests[image].image, self.text_requests[text].text)

    def ids(self) -> tuple[list[str], list[str]]:
        """Return the sample ids of image queries and of text queries."""
        texts = [f"t:{caption.caption_id}" for sample in self.samples for caption in sample.captions]
        return [f"i:{sample.image_id}" for sample in self.samples], texts


@dataclass(frozen=True)
class Outcome:
    """One direction: ranks, the number of the item that came first (-1: none), and why queries failed (or "")."""

    ranks: Ranks
    first: Sequence[int]
    reasons: Sequence[str]


class Retrieval(Task[CaptionedImage]):
    """Base of the retrieval tasks."""

    primary_metric = "text_to_image_recall@1"
    queries: ClassVar[type[Queries]] = Queries
    argument_help: ClassVar[Mapping[str, str]] = {
        "rerank": f"re-rank the K best of each query by a model's own match (default {DEFAULT_RERANK}; 0: never)",
        "max_pairs": f"most pairs that a model that only matches may score (default {MAX_PAIRS})",
    }

    def __init__(self, arguments: Mapping[str, str] | None = None) -> None:
        """Read the arguments; raises ``UsageError`` for one that is unknown or no number."""
        super().__init__(arguments)
        self._rerank = integer(self.name, self.arguments, "rerank", DEFAULT_RERANK, 0)
        self._max_pairs = integer(self.name, self.arguments, "max_pairs", MAX_PAIRS, 1)
        self._all_pairs = False

    def protocol(self, capabilities: frozenset[str]) -> Protocol:
        """Choose ``embed+match-topK``, ``embed`` or ``match``."""
        embeds = {"embed_images", "embed_texts"} <= capabilities
        matches = "match" in capabilities
        if not embeds and not matches:
            raise self.unsupported(capabilities, "embed_images and embed_texts, or match")
        self._all_pairs = not embeds
        if embeds and matches and self._rerank:
            return Protocol(f"embed+match-top{self._rerank}")
        return Protocol("embed" if embeds else "match")

    def _load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[CaptionedImage]:
        raise NotImplementedError

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[CaptionedImage]:
        """Read captions; raises ``UsageError`` where a model that only matches would have to score too many pairs."""
        dataset = self._load(root, split, limit)
        pairs = len(dataset.samples) * sum(len(sample.captions) for sample in dataset.samples)
        if self._all_pairs and pairs > self._max_pairs:
            raise UsageError(
                f"{self.name}: a model that only matches has to score {pairs} pairs, above the limit of "
                f"{self._max_pairs}; use --limit, or raise it with --task-arg {self.name}:max_pairs={pairs}"
            )
        return dataset

    def rounds(self, dataset: Dataset[CaptionedImage], protocol: Protocol) -> Rounds:
        """Embed everything, then re-rank where the protocol says so; or match all pairs."""
        queries = self.queries.of(dataset.samples)
        if protocol.name == "match":
            outcomes = yield from _match_all(queries)
        else:
            top = int(protocol.name.partition("-top")[2] or 0)
            outcomes = yield from _embed(queries, top)
        return _rows(queries, outcomes)

    def aggregate(self, rows: Sequence[SampleRow], dataset: Dataset[CaptionedImage]) -> Mapping[str, Metric]:
        """Average expected hits; recalls are fractions, ``rsum`` is the sum of the six (0 to 6)."""
        metrics: dict[str, Metric] = {}
        recalls: list[float] = []
        for direction in DIRECTIONS:
            own = [row for row in rows if row.slices["direction"] == direction]
            for k in KS:
                name = f"{direction}_recall@{k}"
                recalls.append(float(np.mean([row.scores[name] for row in own])))
                metrics[name] = Metric(recalls[-1])
            median = median_rank(np.array([row.statistics["rank"] for row in own], dtype=np.float64))
            reason = "half of the queries or more failed, and so have no rank" if median is None else None
            metrics[f"{direction}_median_rank"] = Metric(median, higher_is_better=False, reason=reason)
        metrics["rsum"] = Metric(float(sum(recalls)))
        return metrics

    def notes(self, dataset: Dataset[CaptionedImage], limit: int | None) -> Sequence[str]:
        """Say so where the gallery is not the whole split."""
        if limit is None and not dataset.partial:
            return ()
        return (
            f"the gallery has only {dataset.counts['images']} images and {dataset.counts['captions']} captions; recall "
            "over a smaller gallery is easier, so these numbers are not those of the full split",
        )


class CocoRetrieval(Retrieval):
    """Retrieval on COCO Captions, by default over the Karpathy test split."""

    name = "coco_retrieval"
    dataset = "coco"

    def _load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[CaptionedImage]:
        return load_coco(root.folder(self.dataset), split, limit)


class Flickr30kRetrieval(Retrieval):
    """Retrieval on Flickr30K, by default over the test split."""

    name = "flickr30k_retrieval"
    dataset = "flickr30k"

    def _load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[CaptionedImage]:
        return load_flickr30k(root.folder(self.dataset), split, limit)


def _embed(queries: Queries, top: int) -> Exchange:
    """Rank by cosine, both ways; with ``top``, ask for matches of that many candidates a query."""
    responses = yield [*queries.image_requests, *queries.text_requests]
    images, image_reasons = _vectors([responses[request.key] for request in queries.image_requests])
    texts, text_reasons = _vectors([responses[request.key] for request in queries.text_requests])
    image_valid, text_valid = (np.array([not r for r in reasons]) for reasons in (image_reasons, text_reasons))
    captions_of, owners = queries.positives()
    found = (
        Search(images, texts, captions_of, image_valid, text_valid).run(top),
        Search(texts, images, owners, text_valid, image_valid).run(top),
    )
    reasons = (
        _reasons(found[0].ranks, image_reasons, captions_of, text_reasons, "captions"),
        _reasons(found[1].ranks, text_reasons, owners, image_reasons, "image"),
    )
    if not top:
        first = [item.best.tolist() for item in found]
        return Outcome(found[0].ranks, first[0], reasons[0]), Outcome(found[1].ranks, first[1], reasons[1])
    asked = (
        [[queries.match(i, t) for t in _listed(found[0], i)] for i in range(len(queries.samples))],
        [[queries.match(i, t) for i in _listed(found[1], t)] for t in range(len(queries.owner))],
    )
    scored = yield [request for side in asked for requests in side for request in requests]
    return (
        _reranked(found[0], asked[0], scored, captions_of, reasons[0]),
        _reranked(found[1], asked[1], scored, owners, reasons[1]),
    )


def _listed(found: Found, query: int) -> list[int]:
    return [number for number in found.candidates[query].tolist() if number >= 0]


def _vectors(responses: Sequence[Response]) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Return unit vectors (n, d), zero where embedding failed, and the reasons of failures ("" elsewhere)."""
    reasons = [response.reason if isinstance(response, Failure) else "" for response in responses]
    vectors = [response.vector if isinstance(response, Embedding) else None for response in responses]
    width = next((len(vector) for vector in vectors if vector is not None), 1)
    empty = np.zeros(width, dtype=np.float32)
    return normalise(np.stack([empty if vector is None else vector for vector in vectors])), reasons


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
    return Outcome(rerank(found, matches, positives), first, after)


def _match_all(queries: Queries) -> Exchange:
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
    return Outcome(ranks, first, why)


def _rows(queries: Queries, outcomes: tuple[Outcome, Outcome]) -> list[SampleRow]:
    """Return one row a query: images first, then captions."""
    image_ids, text_ids = queries.ids()
    images = [sample.image_id for sample in queries.samples]
    owners = [images[number] for number in queries.owner]
    return [
        *_direction_rows(DIRECTIONS[0], image_ids, text_ids, images, outcomes[0]),
        *_direction_rows(DIRECTIONS[1], text_ids, image_ids, owners, outcomes[1]),
    ]


def _direction_rows(
    direction: str, own: Sequence[str], other: Sequence[str], images: Sequence[str], outcome: Outcome
) -> list[SampleRow]:
    ranks = outcome.ranks
    hits = {f"{direction}_recall@{k}": ranks.hits(k).tolist() for k in KS}
    statistics = zip(
        ranks.expected_rank().tolist(),
        ranks.above.tolist(),
        ranks.tied_negatives.tolist(),
        ranks.tied_positives.tolist(),
        strict=True,
    )
    return [
        SampleRow(
            sample_id=own[i],
            image_id=images[i],
            response=other[outcome.first[i]] if outcome.first[i] >= 0 else "",
            status="failed" if outcome.reasons[i] else "ok",
            scores={name: values[i] for name, values in hits.items()},
            slices={"direction": direction},
            statistics=dict(zip(("rank", "g", "e", "p"), row, strict=True)),
            reason=outcome.reasons[i],
        )
        for i, row in enumerate(statistics)
    ]
