"""How far a metric dropped from a baseline, with one-sided bounds.

The drop is baseline less current, so that more is worse; for metrics of which less is better it is the other way round.
Each bound is missed with a chance of about ``alpha``: a true drop is either above what is tolerated or not, so that a
verdict by one bound is wrong with that chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlbench.errors import UsageError
from vlbench.plugins import nearest
from vlbench.stats import DRAWS
from vlbench.stats.compare import bootstrapped
from vlbench.stats.estimators import Samples, estimators, score_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.result import Result
    from vlbench.stats.estimators import Doubles
    from vlbench.types import SampleRow

REACHES = {"CIDEr": 10.0, "CLIPScore": 2.5, "RefCLIPScore": 10 / 7}
"""The highest score of a sample, by the first letters of the metric's name; 1 for any other."""


def reach(metric: str) -> float:
    """Return the highest score that a sample can have in a metric whose samples are scored one by one, from 0."""
    return next((most for start, most in REACHES.items() if metric.startswith(start)), 1.0)


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
        value = sign * (two - one) + 0.0  # no drop is 0, never -0
        unseen = _range(samples, metric, float(estimator.top[column])) * unseen_share(
            estimator.sizes[:half, column], alpha
        )
        return Drop(one, two, value, min(low, value - unseen) + 0.0, max(high, value + unseen) + 0.0)
    raise UsageError(f"{metric} of {baseline.task.name} cannot be computed from its samples; check another metric")


def unseen_share(sizes: Doubles, alpha: float) -> float:
    """Return what share of a metric's range may hide in images of a kind that was not drawn; ``sizes`` (n,) weigh them.

    Were a share p of all images of that kind, n images without one had a chance of (1 - p)^n, which is ``alpha`` at
    about p = -ln(alpha) / n ("rule of three", Hanley and Lippman-Hand 1983), and each of them can cost as much as a
    sample can score. The bootstrap cannot know: what no image shows has no spread. An image of many samples costs as
    many, so that it counts as the heaviest that was drawn.
    """
    return min(1.0, -math.log(alpha) * float(sizes.max() / sizes.sum()))


def _range(samples: Samples, metric: str, top: float) -> float:
    """Return the highest value of a metric, ``top`` where it is no mean of its own scores; 0 for ranks: none bounds."""
    if score_column(samples, metric) is not None:
        return reach(metric)
    return 0.0 if math.isnan(top) else top


def drop_sign(result: Result, metric: str) -> float:
    """Return -1 where more is better: the drop is then first less second."""
    return -1.0 if result.metrics[metric].higher_is_better else 1.0


def benchmark_drop(baseline: Result, current: Result, metric: str) -> Drop:
    """Return the drop on this very benchmark: all of it was seen, so that nothing is uncertain."""
    one, two = metric_value(baseline, metric), metric_value(current, metric)
    value = drop_sign(baseline, metric) * (two - one) + 0.0
    return Drop(one, two, value, value, value)
