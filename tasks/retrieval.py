"""Image-text retrieval on COCO, Flickr30K and Flickr8K: recall@K both ways, median and mean rank, rsum.

A query is an image that seeks any of its captions, or a caption that seeks its image. Models that embed are ranked by
cosine; where they also match natively, the best candidates of each query are re-ranked; models that only match score
every pair, on small sets. Scores may also come from a file.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vlbench.data.coco import load_coco
from vlbench.data.coco import load_references as load_coco_references
from vlbench.data.eccv import load_truths
from vlbench.data.flickr8k import load_flickr8k
from vlbench.data.flickr30k import load_flickr30k
from vlbench.errors import UsageError
from vlbench.metrics.retrieval import mean_rank, median_rank
from vlbench.task import Protocol, Rounds, Task
from vlbench.tasks.arguments import choice, integer
from vlbench.tasks.retrieval_files import outcomes as outcomes_of_file
from vlbench.tasks.retrieval_files import read_scores
from vlbench.tasks.retrieval_rounds import (
    DIRECTIONS,
    Outcome,
    Outcomes,
    Queries,
    embed,
    embed_some,
    match_all,
    match_some,
    together,
)
from vlbench.tasks.retrieval_truths import extended_scores
from vlbench.types import CaptionedImage, Dataset, Metric, SampleRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from vlbench.data.eccv import Truth
    from vlbench.data.source import DataRoot
    from vlbench.tasks.retrieval_files import RankedLists, Similarity

KS = (1, 5, 10)
DEFAULT_RERANK = 16
MAX_PAIRS = 250_000
FOLD = 1_000
FOLDED = "-1k"
"""Ending of the name of a split that is ranked in consecutive folds of 1,000 images, whose metrics are averaged."""


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
        self._following: tuple[Dataset[CaptionedImage], list[Queries]] | None = None

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

    def _truths(self, dataset: Dataset[CaptionedImage]) -> Sequence[Truth]:
        """Return further ground truths to rank by."""
        return ()

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[CaptionedImage]:
        """Read captions; raises ``UsageError`` where a model that only matches would have to score too many pairs."""
        dataset = self._load(root, split, limit)
        self._truths(dataset)  # what is wrong with them is said before anything runs
        pairs = sum(len(fold.samples) * len(fold.owner) for fold in self._folds(dataset))
        if self._all_pairs and pairs > self._max_pairs:
            raise UsageError(
                f"{self.name}: a model that only matches has to score {pairs} pairs, above the limit of "
                f"{self._max_pairs}; use --limit, or raise it with --task-arg {self.name}:max_pairs={pairs}"
            )
        return dataset

    def scored_together(self) -> str:
        """Return nothing: queries can be ranked a few at a time, each in the whole gallery."""
        return ""

    def followed(self, rows: Sequence[SampleRow], metric: str) -> Sequence[SampleRow]:
        """Return the queries of one direction; raises ``UsageError`` for anything but recall@K."""
        direction = metric.partition("_recall@")[0]
        if direction not in DIRECTIONS:
            raise UsageError(f"--early-stop follows the recall@K of one direction of {self.name}, not {metric}")
        return [row for row in rows if row.slices["direction"] == direction]

    def rounds_of(
        self, dataset: Dataset[CaptionedImage], protocol: Protocol, metric: str, places: Sequence[int]
    ) -> Rounds:
        """Rank some queries of the direction of ``metric``, each in the whole gallery of its fold."""
        way = DIRECTIONS.index(metric.partition("_recall@")[0])
        top = _top(protocol)
        chosen = []
        if self._following is None or self._following[0] is not dataset:
            self._following = dataset, self._folds(dataset)  # asked for again and again, with other places
        for number, fold in enumerate(self._following[1]):
            inside = range(fold.start[way], fold.start[way] + len((fold.samples, fold.owner)[way]))
            own = [place for place in places if place in inside]
            if own:
                chosen.append((number, fold, own))
        asked = [[place - fold.start[way] for place in own] for _, fold, own in chosen]
        if protocol.name == "match":
            exchanges = [match_some(fold, way, own) for (_, fold, _), own in zip(chosen, asked, strict=True)]
        else:
            exchanges = [embed_some(fold, way, own, top) for (_, fold, _), own in zip(chosen, asked, strict=True)]
        outcomes = yield from together(exchanges)
        found: dict[int, SampleRow] = {}
        for (number, fold, own), numbers, outcome in zip(chosen, asked, outcomes, strict=True):
            ids, images = fold.ids(), [sample.image_id for sample in fold.samples]
            slices: dict[str, str | int] = {
                "direction": DIRECTIONS[way],
                **({"fold": number} if _folded(dataset) else {}),
            }
            owners = images if way == 0 else [images[image] for image in fold.owner]
            names = [ids[way][i] for i in numbers], ids[1 - way], [owners[i] for i in numbers]
            found |= zip(own, _direction_rows(slices, *names, outcome, [{}] * len(own)), strict=True)
        return [found[place] for place in places]

    def rounds(self, dataset: Dataset[CaptionedImage], protocol: Protocol) -> Rounds:
        """Embed everything, then re-rank where the protocol says so; or match all pairs."""
        folds = self._folds(dataset)
        top = _top(protocol)
        every = protocol.name == "match"
        outcomes = yield from together([match_all(fold) if every else embed(fold, top) for fold in folds])
        return self._rows(dataset, folds, outcomes)

    def _rows(
        self, dataset: Dataset[CaptionedImage], folds: Sequence[Queries], outcomes: Sequence[Outcomes]
    ) -> list[SampleRow]:
        """Return one row a query: of each fold images first, then captions."""
        truths = self._truths(dataset)
        rows: list[SampleRow] = []
        for number, (queries, both) in enumerate(zip(folds, outcomes, strict=True)):
            slices = {"fold": number} if _folded(dataset) else {}
            rows += _fold_rows(queries, both, extended_scores(both, truths), slices)
        return rows

    def _folds(self, dataset: Dataset[CaptionedImage]) -> list[Queries]:
        return self.queries.folds(dataset.samples, FOLD if _folded(dataset) else len(dataset.samples))

    def predictions(self, path: Path, dataset: Dataset[CaptionedImage]) -> Similarity | RankedLists:
        """Read a matrix of similarities (``.npy``, ``.npz``) or ranked lists (JSON); see ``retrieval_files``."""
        return read_scores(path, dataset)

    def score_predictions(
        self, predictions: Similarity | RankedLists, dataset: Dataset[CaptionedImage]
    ) -> list[SampleRow]:
        """Rank by the scores of a file, fold by fold where the split is folded."""
        folds = self._folds(dataset)
        return self._rows(dataset, folds, [outcomes_of_file(predictions, fold) for fold in folds])

    def aggregate(self, rows: Sequence[SampleRow], dataset: Dataset[CaptionedImage]) -> Mapping[str, Metric]:
        """Average expected hits; recalls are fractions, ``rsum`` is the sum of the six (0 to 6).

        Of a folded split each metric is the mean over the folds.
        """
        folds = dict.fromkeys(row.slices.get("fold", 0) for row in rows)
        each = [_measure([row for row in rows if row.slices.get("fold", 0) == fold]) for fold in folds]
        return {name: _mean([metrics[name] for metrics in each]) for name in each[0]}

    def notes(self, dataset: Dataset[CaptionedImage], limit: int | None) -> Sequence[str]:
        """Say so where the gallery is not the whole split."""
        if limit is None and not dataset.partial:
            return ()
        return (
            f"the gallery has only {dataset.counts['images']} images and {dataset.counts['captions']} captions; recall "
            "over a smaller gallery is easier, so these numbers are not those of the full split",
        )


class CocoRetrieval(Retrieval):
    """Retrieval on COCO Captions, by default over the Karpathy test split.

    The split ``karpathy-test-1k`` is the same in five folds of 1,000 images.
    """

    name = "coco_retrieval"
    dataset = "coco"
    argument_help: ClassVar[Mapping[str, str]] = {
        **Retrieval.argument_help,
        "eccv": "on: also score by the ECCV Caption and CxC ground truths (needs vlbench[eccv]; default off)",
    }

    def __init__(self, arguments: Mapping[str, str] | None = None) -> None:
        """Read the arguments; raises ``UsageError`` for one that is unknown or out of range."""
        super().__init__(arguments)
        self._eccv = choice(self.name, self.arguments, "eccv", ("off", "on")) == "on"

    def _load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[CaptionedImage]:
        whole = _whole(split)
        return _renamed(load_coco(root.folder(self.dataset), whole, limit), whole, split)

    def load_references(self, path: Path, split: str | None = None) -> Dataset[CaptionedImage]:
        """Read reference captions in any of the three forms."""
        whole = _whole(split)
        return _renamed(load_coco_references(path, whole), whole, split)

    def _truths(self, dataset: Dataset[CaptionedImage]) -> Sequence[Truth]:
        if not self._eccv:
            return ()
        if _folded(dataset):
            raise UsageError(f"{self.name}: eccv=on ranks the whole split; choose --split karpathy-test")
        return load_truths(dataset)


class Flickr30kRetrieval(Retrieval):
    """Retrieval on Flickr30K, by default over the test split."""

    name = "flickr30k_retrieval"
    dataset = "flickr30k"

    def _load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[CaptionedImage]:
        return load_flickr30k(root.folder(self.dataset), split, limit)


class Flickr8kRetrieval(Retrieval):
    """Retrieval on Flickr8K, by default over the test split."""

    name = "flickr8k_retrieval"
    dataset = "flickr8k"

    def _load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[CaptionedImage]:
        return load_flickr8k(root.folder(self.dataset), split, limit)


def _whole(split: str | None) -> str | None:
    """Return the split whose folds are asked for; any other as it is."""
    return split.removesuffix(FOLDED) if split == f"karpathy-test{FOLDED}" else split


def _renamed(dataset: Dataset[CaptionedImage], whole: str | None, split: str | None) -> Dataset[CaptionedImage]:
    return dataset if split is None or whole == split else dataclasses.replace(dataset, split=split)


def _top(protocol: Protocol) -> int:
    """Return how many candidates of a query are re-ranked."""
    return int(protocol.name.partition("-top")[2] or 0)


def _folded(dataset: Dataset[CaptionedImage]) -> bool:
    return dataset.split.endswith(FOLDED)


def _measure(rows: Sequence[SampleRow]) -> dict[str, Metric]:
    """Return the metrics of one gallery."""
    metrics: dict[str, Metric] = {}
    for direction in DIRECTIONS:
        own = [row for row in rows if row.slices["direction"] == direction]
        for k in KS:
            name = f"{direction}_recall@{k}"
            metrics[name] = Metric(float(np.mean([row.scores[name] for row in own])))
        ranks = np.array([row.statistics["rank"] for row in own], dtype=np.float64)
        median, mean = median_rank(ranks), mean_rank(ranks)
        reason = "half of the queries or more have no rank: they failed, or their list ends before it"
        metrics[f"{direction}_median_rank"] = Metric(median, False, reason=reason if median is None else None)
        reason = "a query has no rank: it failed, or its list ends before it"
        metrics[f"{direction}_mean_rank"] = Metric(mean, False, reason=reason if mean is None else None)
    metrics["rsum"] = Metric(float(sum(metrics[f"{d}_recall@{k}"].value or 0.0 for d in DIRECTIONS for k in KS)))
    further = dict.fromkeys(name for row in rows for name in row.scores if name not in metrics)
    for name in further:
        metrics[name] = Metric(float(np.mean([row.scores[name] for row in rows if name in row.scores])))
    return metrics


def _mean(metrics: Sequence[Metric]) -> Metric:
    """Return the mean of a metric over folds; without a value where one fold has none."""
    values = [metric.value for metric in metrics if metric.value is not None]
    if len(metrics) == 1 or len(values) < len(metrics):
        return next((metric for metric in metrics if metric.value is None), metrics[0])
    return dataclasses.replace(metrics[0], value=float(np.mean(values)))


def _fold_rows(
    queries: Queries,
    outcomes: Outcomes,
    further: tuple[Sequence[Mapping[str, float]], Sequence[Mapping[str, float]]],
    slices: Mapping[str, int],
) -> list[SampleRow]:
    image_ids, text_ids = queries.ids()
    images = [sample.image_id for sample in queries.samples]
    owners = [images[number] for number in queries.owner]
    return [
        *_direction_rows({"direction": DIRECTIONS[0], **slices}, image_ids, text_ids, images, outcomes[0], further[0]),
        *_direction_rows({"direction": DIRECTIONS[1], **slices}, text_ids, image_ids, owners, outcomes[1], further[1]),
    ]


def _direction_rows(
    slices: Mapping[str, str | int],
    own: Sequence[str],
    other: Sequence[str],
    images: Sequence[str],
    outcome: Outcome,
    further: Sequence[Mapping[str, float]],
) -> list[SampleRow]:
    ranks = outcome.ranks
    hits = {f"{slices['direction']}_recall@{k}": ranks.hits(k).tolist() for k in KS}
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
            scores={name: values[i] for name, values in hits.items()} | dict(further[i]),
            slices=slices,
            statistics=dict(zip(("rank", "g", "e", "p"), row, strict=True)),
            reason=outcome.reasons[i],
        )
        for i, row in enumerate(statistics)
    ]
