"""95 % confidence intervals by bootstrap over images.

Images are drawn with replacement, and all rows of an image are taken together: questions about one image, or its
captions as queries, are not independent. Ranks in the full gallery and the document frequencies of the full split stay
as they are: the interval tells how far the images are to blame, given the gallery. The ends are percentiles (Efron
1979; Cameron, Gelbach and Miller 2008 for clusters).

Where all draws agree, as at 0 and at 1, the bootstrap has no width. There the interval is Wilson's (1927), with images
in place of samples: n is Kish's (sum w)^2 / sum w^2 over the weights of the images, as if the samples of an image were
all the same, which is the worst case.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from vlbench.stats import DRAWS
from vlbench.stats.estimators import Samples, estimators
from vlbench.types import content_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vlbench.stats.estimators import Doubles, Estimator
    from vlbench.types import Metric, SampleRow

ENDS = (2.5, 97.5)
Z95 = 1.959963984540054
_ELEMENTS = 1 << 22
_NO_WIDTH = 1e-12


def intervals(
    rows: Sequence[SampleRow], values: Mapping[str, float], draws: int = DRAWS, key: str = ""
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each metric of ``values`` that the rows reproduce.

    ``key`` seeds the draws; equal keys give equal draws over equal image ids. A metric that is unbounded and has no
    spread, and one that the rows do not reproduce, has no interval.
    """
    if not rows or not draws:
        return {}
    samples = Samples(rows)
    chosen = estimators(samples, values)
    found: dict[str, list[Doubles]] = {}
    for weights in resampled(samples.count, draws, key):
        for estimator, columns in chosen:
            computed = estimator.compute(weights)
            for i in columns.tolist():
                found.setdefault(estimator.names[i], []).append(computed[:, i])
    result = {}
    for estimator, columns in chosen:
        for i in columns.tolist():
            name = estimator.names[i]
            interval = _interval(np.concatenate(found[name]), values[name], estimator, i)
            if interval is not None:
                result[name] = interval
    return result


def with_intervals(
    rows: Sequence[SampleRow], metrics: Mapping[str, Metric], draws: int = DRAWS, key: str = ""
) -> dict[str, Metric]:
    """Return ``metrics`` with their intervals, as ``intervals`` has them; one that has an interval keeps it."""
    values = {name: metric.value for name, metric in metrics.items() if metric.value is not None and not metric.ci95}
    found = intervals(rows, values, draws, key)
    return {
        name: dataclasses.replace(metric, ci95=found[name]) if name in found else metric
        for name, metric in metrics.items()
    }


def resampled(images: int, draws: int, key: str) -> Iterator[Doubles]:
    """Yield how often each image is drawn: float64 of shape (b, images), ``draws`` rows in all."""
    random = np.random.default_rng(int(content_key("bootstrap", key), 16))
    block = max(1, _ELEMENTS // images)
    for start in range(0, draws, block):
        yield np.stack(
            [
                np.bincount(random.integers(0, images, images), minlength=images).astype(np.float64)
                for _ in range(min(block, draws - start))
            ]
        )


def percentiles(draws: Doubles) -> tuple[float, float] | None:
    """Return the ends of the 95 % interval of ``draws`` (b,); None where none of them is a number."""
    there = draws[np.isfinite(draws)]
    if not len(there):
        return None
    low, high = np.percentile(there, ENDS)
    return float(low), float(high)


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of ``n`` independent samples.

    >>> [round(end, 4) for end in wilson(1.0, 10)], [round(end, 4) for end in wilson(0.5, 100)]
    ([0.7225, 1.0], [0.4038, 0.5962])
    """
    square = Z95 * Z95
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = Z95 / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    low = 0.0 if share <= 0.0 else max(0.0, centre - half)
    return low, 1.0 if share >= 1.0 else min(1.0, centre + half)


def effective_images(sizes: Doubles) -> float:
    """Return Kish's number of equally weighted images that ``sizes`` (c,) are worth.

    >>> effective_images(np.array([2.0, 2.0, 0.0])), effective_images(np.array([3.0, 1.0]))
    (2.0, 1.6)
    """
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def _interval(draws: Doubles, value: float, estimator: Estimator, column: int) -> tuple[float, float] | None:
    ends = percentiles(draws)
    if ends is not None and ends[1] - ends[0] > _NO_WIDTH:
        return ends
    top = float(estimator.top[column])
    if math.isnan(top):
        return None
    low, high = wilson(min(max(value / top, 0.0), 1.0), effective_images(estimator.sizes[:, column]))
    return low * top, high * top
