"""From results to groups whose numbers may stand in one column, with marks for what a reader must not overlook."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlbench.data.overlaps import DATASET, exposure
from vlbench.leaderboard.columns import MISSING, is_main, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.result import Result
    from vlbench.types import Metric

MARKS = {
    "P": "partial data: the counts are not those of the official split",
    "L": "limited to the first samples of the split",
    "R": "random weights: says nothing about a trained model",
    "F": "samples failed and count as wrong",
    "T": "the model did not see the whole text of some requests",
    "U": "unverified: nobody can tell which weights answered",
}
_TRUSTED = ("verified", "predictions")
_SAME = 1e-12


@dataclass(frozen=True)
class Entry:
    """One result in a group: how it is called there, its marks, and the metrics in which none is better."""

    result: Result
    label: str
    marks: str
    best: frozenset[str]


@dataclass(frozen=True)
class Group:
    """Results with one signature, of models that have all seen the same of the dataset.

    ``exposure`` is ``dataset`` (trained on it), ``images`` (trained on a dataset that shares its images) or empty.
    """

    signature: str
    exposure: str
    entries: tuple[Entry, ...]
    metrics: tuple[str, ...]

    @property
    def seen(self) -> bool:
        """Whether the models were trained on the dataset itself."""
        return self.exposure == DATASET

    @property
    def first(self) -> Result:
        """A result that stands for what all of them share."""
        return self.entries[0].result

    @property
    def title(self) -> str:
        """What was measured, in a few words; the whole of it is the signature."""
        task = self.first.task
        counts = ", ".join(f"{count} {name}" for name, count in task.counts.items())
        title = f"{task.name} on {task.dataset} {task.split} ({counts}), protocol {task.protocol}"
        if self.seen:
            return f"{title}, trained on {task.dataset.partition('/')[0]}"
        return f"{title}, trained on images of {task.dataset}" if self.exposure else title

    def chosen(self, all_metrics: bool) -> list[str]:
        """Return the metrics to show."""
        return [name for name in self.metrics if all_metrics or is_main(name)]

    def legend(self, names: Sequence[str]) -> list[str]:
        """Return what marks, missing values of ``names`` and notes of the results mean, a line each."""
        lines = [self._explain(mark) for mark in MARKS if any(mark in entry.marks for entry in self.entries)]
        lines += self._missing(names)
        lines += self._trained()
        lines += dict.fromkeys(note for entry in self.entries for note in entry.result.notes)
        return lines

    def _explain(self, mark: str) -> str:
        details = [
            f"{entry.label} {detail}"
            for entry in self.entries
            if mark in entry.marks and (detail := _detail(mark, entry.result))
        ]
        return f"{mark}: {MARKS[mark]}" + (f" ({', '.join(details)})" if details else "")

    def _trained(self) -> list[str]:
        """Return which training datasets of each model put it into this group."""
        if not self.exposure:
            return []
        how = "trained on" if self.seen else "its images were seen in training on"
        through = {
            entry.label: ", ".join(exposure(entry.result.model.trained_on, self.first.task.dataset).through)
            for entry in self.entries
        }
        return [f"{label}: {how} {printable(names)}" for label, names in through.items()]

    def _missing(self, names: Sequence[str]) -> list[str]:
        """Return the reasons of missing values; metrics that are missing for one reason share a line."""
        lacking: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for name in names:
            by_reason: dict[str, list[str]] = {}
            for entry in self.entries:
                metric = entry.result.metrics.get(name)
                if metric is None or metric.value is None:
                    by_reason.setdefault((metric and metric.reason) or "is not in the result", []).append(entry.label)
            for reason, labels in by_reason.items():
                lacking.setdefault((reason, tuple(labels)), []).append(name)
        lines = []
        for (reason, whose), metrics in lacking.items():
            models = "" if len(whose) == len(self.entries) else f" of {', '.join(whose)}"
            lines.append(f"{MISSING} {', '.join(metrics)}{models}: {reason}")
        return lines


def group_results(results: Sequence[Result]) -> list[Group]:
    """Group results so that no two of one group differ in their signature, in the order of first appearance.

    Within a group the best primary metric comes first.
    """
    members: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        members.setdefault((result.signature, _exposure(result)), []).append(result)
    return [_group(signature, level, found) for (signature, level), found in members.items()]


def in_order(results: Sequence[Result]) -> list[Result]:
    """Return results in the order of task, dataset, split, protocol and signature, as ``leaderboard show`` has it."""

    def place(result: Result) -> tuple[object, ...]:
        task = result.task
        return task.name, task.dataset, task.split, task.protocol, result.signature, _exposure(result)

    return sorted(results, key=place)


def _group(signature: str, level: str, results: Sequence[Result]) -> Group:
    ordered = sorted(results, key=_rank)
    metrics = tuple(dict.fromkeys(name for result in ordered for name in result.metrics))
    best: list[set[str]] = [set() for _ in ordered]
    for name in metrics:
        for index in _best([result.metrics.get(name) for result in ordered]):
            best[index].add(name)
    named = labels(ordered)
    entries = [
        Entry(result, label, _marks(result), frozenset(won))
        for result, label, won in zip(ordered, named, best, strict=True)
    ]
    return Group(signature, level, tuple(entries), metrics)


def _rank(result: Result) -> tuple[bool, float, str, str]:
    metric = result.metrics[result.primary_metric]
    if metric.value is None:
        return True, 0.0, result.model.name, result.created
    return False, -metric.value if metric.higher_is_better else metric.value, result.model.name, result.created


def _best(metrics: Sequence[Metric | None]) -> list[int]:
    """Return the places of the best value and of those tied with it; of a single value there is no best."""
    values = {i: metric.value for i, metric in enumerate(metrics) if metric is not None and metric.value is not None}
    if len(values) < 2:
        return []
    higher = all(metric.higher_is_better for metric in metrics if metric is not None)
    top = max(values.values()) if higher else min(values.values())
    return [i for i, value in values.items() if math.isclose(value, top, rel_tol=_SAME, abs_tol=_SAME)]


def _marks(result: Result) -> str:
    marks = {
        "P": result.task.partial and result.task.limit is None,
        "L": result.task.limit is not None,
        "R": result.model.random_weights,
        "F": result.samples.failed > 0,
        "T": result.truncated_fraction > 0,
        "U": result.model.provenance not in _TRUSTED,
    }
    return "".join(mark for mark, holds in marks.items() if holds)


def _detail(mark: str, result: Result) -> str:
    """Return the number behind a mark, where results of one group may differ in it."""
    if mark == "F":
        return f"{result.samples.failed} of {result.samples.attempted}"
    return f"{shown('accuracy', result.truncated_fraction)} %" if mark == "T" else ""


def _exposure(result: Result) -> str:
    return exposure(result.model.trained_on, result.task.dataset).level


def labels(results: Sequence[Result]) -> list[str]:
    """Return the models' names; where several have one name, with what tells them apart."""
    parts = [_parts(result) for result in results]
    told: dict[str, dict[str, set[str | None]]] = {}
    for result, own in zip(results, parts, strict=True):
        # Every key of any namesake, so that one which lacks a setting differs from one which has it.
        for key in own:
            told.setdefault(result.model.name, {}).setdefault(key, set())
    for result, own in zip(results, parts, strict=True):
        for key, texts in told[result.model.name].items():
            texts.add(own.get(key))
    names = []
    for result, own in zip(results, parts, strict=True):
        telling = [text for key, text in own.items() if len(told[result.model.name][key]) > 1]
        names.append(printable(" ".join([result.model.name, *telling])))
    counts = Counter(names)
    # Equal in all of that: made by other versions of something, so its time tells it apart.
    return [
        f"{name} {result.created}" if counts[name] > 1 else name for name, result in zip(names, results, strict=True)
    ]


def _parts(result: Result) -> dict[str, str]:
    model = result.model
    parts = {"adapter": model.adapter, "dtype": model.dtype, "fingerprint": model.fingerprint.split(":")[-1][:8]}
    for key, value in result.settings.items():
        inner = value if isinstance(value, dict) else {key: value}
        parts |= {f"{key}.{name}": f"{name}={item}" for name, item in inner.items()}
    return parts


def printable(text: str) -> str:
    """Return ``text`` on one line and without control characters, which a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
