"""Recompute the metrics of results from their sample rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlbench.errors import VlbenchError
from vlbench.leaderboard.samples import read_rows
from vlbench.leaderboard.site_truth import SCENES
from vlbench.leaderboard.store import find_results, samples_path
from vlbench.stats.estimators import Samples, estimators

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from vlbench.plugins import Plugins
    from vlbench.result import Result
    from vlbench.types import SampleRow

_SAME = 1e-9


@dataclass(frozen=True)
class Verified:
    """What became of one result: metrics that the rows give, those nobody can tell, and what is wrong."""

    path: Path
    result: Result
    recomputed: tuple[str, ...]
    unknown: tuple[str, ...]
    wrong: tuple[str, ...]


def verify(paths: Sequence[Path], plugins: Plugins, data: str | None = None) -> list[Verified]:
    """Check every result of ``paths`` against its rows.

    Where the dataset is at hand (the bundled scenes, or what ``data`` names) the task itself computes all its metrics
    again. Otherwise means and corpus metrics are computed from the rows, and the rest is unknown.
    """
    return [_verify(path, result, plugins, data) for path, result in find_results(list(paths))]


def _verify(path: Path, result: Result, plugins: Plugins, data: str | None) -> Verified:
    table = samples_path(path)
    if not table.is_file():
        return Verified(path, result, (), (), (f"{table.name} is missing",))
    try:
        rows = read_rows(table)
    except VlbenchError as error:
        return Verified(path, result, (), (), (str(error),))
    return verify_rows(path, result, rows, _aggregated(result, rows, plugins, data))


def verify_rows(
    path: Path, result: Result, rows: Sequence[SampleRow], again: Mapping[str, float] | None = None
) -> Verified:
    """Check ``result`` of the file ``path`` against ``rows``.

    ``again`` are all its metrics as computed anew; where there are none, means and corpus metrics come from the rows.
    """
    wrong = _counts(result, rows)
    values = {name: metric.value for name, metric in result.metrics.items() if metric.value is not None}
    if again is None:
        again = {
            estimator.names[i]: values[estimator.names[i]]
            for estimator, columns in (estimators(Samples(rows), values) if rows else [])
            for i in columns.tolist()
        }
        scores = {name for row in rows for name in row.scores}
        # The primary metric is a mean of the scores of its name in every task that keeps such scores.
        if result.primary_metric in scores and result.primary_metric in values.keys() - again.keys():
            wrong.append(f"{result.primary_metric} is {values[result.primary_metric]:.6g}, which the rows do not give")
    for name, value in values.items():
        if name in again and not math.isclose(again[name], value, rel_tol=_SAME, abs_tol=_SAME):
            wrong.append(f"{name} is {value:.6g}, the rows give {again[name]:.6g}")
    unknown = tuple(name for name in values if name not in again)
    return Verified(path, result, tuple(name for name in values if name in again), unknown, tuple(wrong))


def _counts(result: Result, rows: Sequence[SampleRow]) -> list[str]:
    failed = sum(row.status != "ok" for row in rows)
    told = (result.samples.attempted, result.samples.failed)
    if told == (len(rows), failed):
        return []
    return [f"{told[0]} samples with {told[1]} failed, the rows are {len(rows)} with {failed} failed"]


def _aggregated(
    result: Result, rows: Sequence[SampleRow], plugins: Plugins, data: str | None
) -> Mapping[str, float] | None:
    """Return what the task itself makes of the rows; None where its data is not at hand."""
    scenes = result.task.dataset.startswith(SCENES)
    if result.task.name not in plugins.tasks or (data is None and not scenes):
        return None
    from vlbench.runner.driver import load_dataset

    try:
        task = plugins.task(result.task.name).load()(result.settings.get("task_arguments", {}))
        dataset = load_dataset(task, None if scenes else data, result.task.split, result.task.limit)
        if dataset.fingerprint != result.task.fingerprint:
            return None
        found = task.aggregate(rows, dataset)
    except VlbenchError:
        return None
    return {name: metric.value for name, metric in found.items() if metric.value is not None}
