"""Winoground: which of two captions belongs to which of two images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vlbench.capabilities import route
from vlbench.data.winoground import WinogroundExample, load_winoground
from vlbench.metrics.compositional import winoground_scores
from vlbench.task import Protocol, Task
from vlbench.types import Dataset, Failure, ImageRef, Match, MatchScore, Metric, Response, SampleRow
from vlbench.views import SampleView

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from vlbench.data.source import DataRoot

METRICS = ("text_score", "image_score", "group_score")
SLICES = ("collapsed_tag", "num_main_preds", "secondary_tag", "tag")


class Winoground(Task[WinogroundExample]):
    """Match both captions with both images; text, image and group score, overall and by tag."""

    name = "winoground"
    dataset = "winoground"
    primary_metric = "group_score"

    def protocol(self, capabilities: frozenset[str]) -> Protocol:
        """Return ``match``, or ``match/embed`` where matching is derived."""
        way = route("match", capabilities)
        if way is None:
            raise self.unsupported(capabilities, "match, or embed_images and embed_texts")
        return Protocol("match" if way == "match" else f"match/{way}", routes={"match": way})

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[WinogroundExample]:
        """Read the examples; no image is opened."""
        return load_winoground(root.folder(self.dataset), split, limit)

    def images(self, dataset: Dataset[WinogroundExample]) -> Iterable[ImageRef]:
        """Return both images of each example."""
        return (image for sample in dataset.samples for image in sample.images)

    def views(self, dataset: Dataset[WinogroundExample]) -> Iterable[tuple[str, SampleView]]:
        """Return the examples: both pictures, and their captions in the same order."""
        return (
            (sample.example_id, SampleView("", sample.captions, sample.images, (sample.captions, sample.captions)))
            for sample in dataset.samples
        )

    def requests(self, sample: WinogroundExample, protocol: Protocol) -> Sequence[Match]:
        """Match caption 0 with both images, then caption 1."""
        return [Match(image, caption) for caption in sample.captions for image in sample.images]

    def score(self, sample: WinogroundExample, responses: Sequence[Response], protocol: Protocol) -> SampleRow:
        """Compare the four scores; ``response`` is the caption taken for each image."""
        reason = next((response.reason for response in responses if isinstance(response, Failure)), "")
        values = [response.value for response in responses if isinstance(response, MatchScore)]
        scores = (values[:2], values[2:])
        return SampleRow(
            sample_id=sample.example_id,
            image_id=sample.example_id,
            response="" if reason else " ".join(str(int(scores[1][i] > scores[0][i])) for i in (0, 1)),
            status="failed" if reason else "ok",
            scores=dict.fromkeys(METRICS, 0.0) if reason else winoground_scores(scores)._asdict(),
            slices={name: getattr(sample, name) for name in SLICES},
            statistics={} if reason else dict(zip(("c0_i0", "c0_i1", "c1_i0", "c1_i1"), values, strict=True)),
            reason=reason,
        )

    def aggregate(self, rows: Sequence[SampleRow], dataset: Dataset[WinogroundExample]) -> Mapping[str, Metric]:
        """Average (fractions), overall and for each value of each tag that is not empty."""
        metrics = {name: _mean(rows, name) for name in METRICS}
        for kind in SLICES:
            for value in sorted({str(row.slices[kind]) for row in rows} - {""}):
                own = [row for row in rows if str(row.slices[kind]) == value]
                metrics |= {f"{name}/{kind}/{value}": _mean(own, name) for name in METRICS}
        return metrics

    def notes(self, dataset: Dataset[WinogroundExample], limit: int | None) -> Sequence[str]:
        """Say so where only some examples were asked."""
        if limit is None and not dataset.partial:
            return ()
        return (f"only {dataset.counts['examples']} examples were asked: these are not the numbers of the full split",)


def _mean(rows: Sequence[SampleRow], name: str) -> Metric:
    return Metric(float(np.mean([row.scores[name] for row in rows])))
