"""Published scores, and which of them may stand beside a result.

``reference_scores.csv`` has one row a published number, on vlbench's own scale (recalls and accuracies as fractions,
CIDEr 1.335). Only rows whose source was read are in it, and ``counts`` has only what the source states.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from vlbench.result import Result

ANY_PROTOCOL = "any"
"""Protocol of floors and ceilings, which no protocol makes: people, and chance."""
BOUNDS = ("human", "chance")
NEAREST = 2
"""Published scores of other models that ``vlbench run`` shows."""


@dataclass(frozen=True)
class Reference:
    """One published number. ``training`` is ``zero-shot``, ``fine-tuned`` or empty where the source does not tell."""

    model: str
    checkpoint: str
    task: str
    dataset: str
    split: str
    protocol: str
    counts: Mapping[str, int] = field(hash=False)
    training: str
    metric: str
    value: float
    source: str

    def agrees(self, result: Result) -> bool:
        """Tell whether task, split, protocol and counts are those of ``result``, which is neither partial nor cut."""
        task = result.task
        return (
            (self.task, self.dataset, self.split) == (task.name, task.dataset, task.split)
            and self.protocol in (task.protocol, ANY_PROTOCOL)
            and not task.partial
            and task.limit is None
            and all(task.counts.get(name) == count for name, count in self.counts.items())
        )

    def is_silent(self, result: Result) -> bool:
        """Tell whether the source states no number of captions, in which copies of one split differ."""
        return "captions" in result.task.counts and "captions" not in self.counts


@dataclass(frozen=True)
class Beside:
    """A published number beside a run's own; ``covered``: whether the run's interval holds it, None without one."""

    reference: Reference
    value: float
    covered: bool | None

    @property
    def difference(self) -> float:
        """The run's value less the published one."""
        return self.value - self.reference.value

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as the JSON table has it."""
        reference = self.reference
        return {
            "model": reference.model,
            "training": reference.training or None,
            "metric": reference.metric,
            "value": reference.value,
            "difference": self.difference,
            "inside_ci95": self.covered,
            "source": reference.source,
        }


@cache
def load_references() -> tuple[Reference, ...]:
    """Read the table that ships with the package."""
    path = Path(__file__).with_name("reference_scores.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_reference(row) for row in csv.DictReader(file))


def _reference(row: Mapping[str, str]) -> Reference:
    pairs = (part.split(":") for part in row["counts"].split(";") if part)
    counts = {name: int(count) for name, count in pairs}
    texts = {key: text for key, text in row.items() if key not in ("counts", "value")}
    return Reference(**texts, counts=counts, value=float(row["value"]))


def beside(result: Result, references: Iterable[Reference], nearest: int | None = None) -> list[Beside]:
    """Return the published numbers that agree with ``result``: the same model's, floors and ceilings, other models'.

    Of other models only the primary metric is taken, in the order of how near they are, at most ``nearest`` of them.
    """
    own: list[Beside] = []
    bounds: list[Beside] = []
    others: list[Beside] = []
    for reference in references:
        metric = result.metrics.get(reference.metric)
        if metric is None or metric.value is None or not reference.agrees(result):
            continue
        low, high = metric.ci95 or (None, None)
        covered = None if low is None or high is None else low <= reference.value <= high
        found = Beside(reference, metric.value, covered)
        if is_same_model(reference, result):
            own.append(found)
        elif reference.model in BOUNDS:
            bounds.append(found)
        elif reference.metric == result.primary_metric:
            others.append(found)
    others.sort(key=lambda found: (abs(found.difference), found.reference.model))
    return [*_in_order_of(result, own), *_in_order_of(result, bounds), *others[:nearest]]


def _in_order_of(result: Result, found: Sequence[Beside]) -> list[Beside]:
    """Return what was found source by source, metrics in the order of the result."""
    metrics = list(result.metrics)
    return sorted(found, key=lambda f: (f.reference.model, f.reference.source, metrics.index(f.reference.metric)))


def is_same_model(reference: Reference, result: Result) -> bool:
    """Tell whether the published number is of the checkpoint that ``result`` evaluated.

    open_clip's table calls OpenAI's weights ``ViT-B-32/openai`` though they need the QuickGELU architecture.
    """
    ours = result.model.checkpoint.replace("-quickgelu", "")
    return bool(reference.checkpoint) and reference.checkpoint.replace("-quickgelu", "") == ours
