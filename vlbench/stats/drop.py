"""How far a metric dropped from a baseline, with one-sided bounds.

The drop is baseline less current, so that more is worse; for metrics of which less is better it is the other way round.
Each bound is missed with a chance of about ``alpha``: a true drop is either above what is tolerated or not, so that a
verdict by one bound is wrong with that chance. Where few images differ the bootstrap has too little spread and the
chance is greater (docs/ci.md has figures).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlbench.errors import UsageError
from vlbench.plugins import nearest
from vlbench.stats import DRAWS
from vlbench.stats.compare import bootstrapped
from vlbench.stats.estimators import Samples, estimators

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.result import Result
    from vlbench.types import SampleRow


@dataclass(frozen=True)
class Drop:
    """``value`` with its one-sided bounds ``low`` and ``high``, in the metric's own unit."""

    baseline: float
    current: float
    value: float
    low: float
    high: float


def metric_value(result: Result, metric: str) -> float:
    """Return a metric of a result; raises ``UsageError`` where it has none of that name or no value."""
    found = result.metrics.get(metric)
    if found is None:
        raise UsageError(f"{result.task.name} has no metric {metric!r}{nearest(metric, result.metrics)}")
    if found.value is None:
        raise UsageError(f"{metric} of {result.task.name} has no value: {found.reason}")
    return found.value


def population_drop(
    results: tuple[Result, Result],
    rows: tuple[Sequence[SampleRow], Sequence[SampleRow]],
    metric: str,
    alpha: float,
    draws: int = DRAWS,
) -> Drop:
    """Return the drop for the population behind the images, with bounds by paired bootstrap over images.

    ``results`` are the baseline and the current one, ``rows`` theirs in one order. Raises ``UsageError`` where the
    rows do not give the values of both: at 1 every kind of mean agrees, and one alone tells little.
    """
    baseline = results[0]
    samples = Samples.paired(*rows)
    half = samples.count // 2
    first = np.concatenate((np.ones(half), np.zeros(half)))
    values = np.array([metric_value(result, metric) for result in results])
    for estimator, columns in estimators(samples, {metric: values}, np.stack((first, 1.0 - first))):
        column = int(columns[0])
        one, two = values.tolist()
        sign = drop_sign(baseline, metric)
        drops = sign * bootstrapped(estimator, half, draws, baseline.signature)[:, column]
        low, high = np.nanquantile(drops, [alpha, 1.0 - alpha]).tolist()
        return Drop(one, two, sign * (two - one) + 0.0, low + 0.0, high + 0.0)  # no drop is 0, never -0
    raise UsageError(f"{metric} of {baseline.task.name} cannot be computed from its samples; check another metric")


def drop_sign(result: Result, metric: str) -> float:
    """Return -1 where more is better: the drop is then first less second."""
    return -1.0 if result.metrics[metric].higher_is_better else 1.0


def benchmark_drop(baseline: Result, current: Result, metric: str) -> Drop:
    """Return the drop on this very benchmark: all of it was seen, so that nothing is uncertain."""
    one, two = metric_value(baseline, metric), metric_value(current, metric)
    value = drop_sign(baseline, metric) * (two - one) + 0.0
    return Drop(one, two, value, value, value)
