"""Two results on the same samples: paired by sample, clustered by image."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlbench.errors import NotComparable
from vlbench.stats import DRAWS
from vlbench.stats.bootstrap import percentiles, resampled
from vlbench.stats.estimators import Samples, check_column, estimators, slice_means
from vlbench.stats.permutation import (
    EXACT_IMAGES,
    benjamini_hochberg,
    choices,
    holm,
    p_value,
    sign_flip,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.result import Result
    from vlbench.stats.estimators import Doubles, Estimator
    from vlbench.types import SampleRow

POWER_SPAN = 1.959964 + 0.841621
"""Standard errors that a true difference must measure to be found four times in five at 5 % (Bloom 1995)."""
_SWAPS = 1000
_MOST_PARTS = 100


@dataclass(frozen=True)
class Difference:
    """A metric of two results; ``difference`` is second less first, ``adjusted`` the corrected p-value.

    ``detectable`` is the smallest true difference that a test at 5 % without correction finds with a chance of 80 % on
    these samples; None where no draw tells how far the difference varies.
    """

    metric: str
    first: float
    second: float
    difference: float
    ci95: tuple[float, float] | None
    p: float
    adjusted: float
    detectable: float | None = None


@dataclass(frozen=True)
class Flip:
    """A sample on which the two models differ in the primary metric."""

    sample_id: str
    image_id: str
    first: float
    second: float
    responses: tuple[str, str]


@dataclass(frozen=True)
class Comparison:
    """Two results of one task. ``primary`` is None where the rows do not give the primary metric.

    ``exploratory`` are the other metrics and slices, ``flips`` the samples that differ, most changed first.
    """

    first: Result
    second: Result
    primary: Difference | None
    exploratory: tuple[Difference, ...]
    flips: tuple[Flip, ...]


def refuse_other_signature(first: Result, second: Result) -> None:
    """Raise ``NotComparable`` naming the fields in which the signatures differ."""
    one, two = _fields(first.signature), _fields(second.signature)
    differ = [
        f"{name} ({one.get(name, 'none')} against {two.get(name, 'none')})"
        for name in dict.fromkeys((*one, *two))
        if one.get(name) != two.get(name)
    ]
    if differ:
        models = f"{first.model.name} and {second.model.name}"
        raise NotComparable(f"{first.task.name}: {models} differ in {', '.join(differ)}")


def _fields(signature: str) -> dict[str, str]:
    parts = signature.split("|")
    named = (part.partition(":") for part in parts[2:])
    return {"task": parts[0], "dataset": "".join(parts[1:2])} | {name: value for name, _, value in named}


def compare(
    first: tuple[Result, Sequence[SampleRow]],
    second: tuple[Result, Sequence[SampleRow]],
    draws: int = DRAWS,
    seed: int = 0,
    slices: Sequence[str] = (),
) -> Comparison:
    """Compare two results with their rows; raises ``NotComparable`` where they are not of the same samples.

    ``slices`` are the only columns to explore, however many values they have, and nothing else is then explored:
    fewer tests find more. Raises ``UsageError`` for a column that the samples lack.
    """
    rows = paired_rows(first, second)
    samples = Samples.paired(first[1], rows)
    values = _compared(samples, first[0], slices)
    differences = _differences(samples, values, draws, f"{seed}|{first[0].signature}")
    primary = differences.pop(first[0].primary_metric, None)
    explored = list(differences.values())
    adjusted = benjamini_hochberg([found.p for found in explored])
    return Comparison(
        first[0],
        second[0],
        primary,
        tuple(dataclasses.replace(found, adjusted=p) for found, p in zip(explored, adjusted, strict=True)),
        _flips(first[0].primary_metric, first[1], rows),
    )


def paired_rows(
    first: tuple[Result, Sequence[SampleRow]], second: tuple[Result, Sequence[SampleRow]]
) -> list[SampleRow]:
    """Return the rows of ``second`` in the order of those of ``first``.

    Raises ``NotComparable`` where signatures or samples are not the same.
    """
    refuse_other_signature(first[0], second[0])
    others = {row.sample_id: row for row in second[1]}
    if others.keys() != {row.sample_id for row in first[1]} or len(others) != len(first[1]):
        raise NotComparable(f"the samples of {first[0].model.name} and {second[0].model.name} are not the same ones")
    return [others[row.sample_id] for row in first[1]]


def correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons, of several tasks or pairs of models, with Holm's correction over their primary metrics."""
    tested = [i for i, one in enumerate(comparisons) if one.primary is not None]
    corrected = list(comparisons)
    for i, p in zip(tested, holm([c.primary.p for c in comparisons if c.primary is not None]), strict=True):
        primary = corrected[i].primary
        if primary is not None:
            corrected[i] = dataclasses.replace(corrected[i], primary=dataclasses.replace(primary, adjusted=p))
    return corrected


def _compared(samples: Samples, first: Result, slices: Sequence[str]) -> dict[str, float]:
    """Return what is compared, with the first model's values: all metrics and slices, or the primary by ``slices``."""
    primary, mine = first.primary_metric, samples.images < samples.count // 2
    known = {name: metric.value for name, metric in first.metrics.items() if metric.value is not None}
    if not slices:
        every = slice_means(samples, primary, list(samples.groupings), mine, _MOST_PARTS)
        return known | {name: value for name, value in every.items() if name not in known}
    for kind in slices:
        check_column(samples, kind, first.task.name)
    whole = {primary: known[primary]} if primary in known else {}
    return whole | slice_means(samples, primary, slices, mine, len(samples.rows))


def _differences(samples: Samples, values: Mapping[str, float], draws: int, key: str) -> dict[str, Difference]:
    half = samples.count // 2
    chosen = np.concatenate((np.ones(half), np.zeros(half)))
    found: dict[str, Difference] = {}
    for estimator, columns in estimators(samples, values, chosen):
        points = estimator.compute(np.stack((chosen, 1.0 - chosen)))
        ends = bootstrapped(estimator, half, draws, key) if draws else np.empty((0, len(estimator.names)))
        p_values = _p_values(estimator, columns.tolist(), half, key)
        for i, p in p_values.items():
            one, two = points[:, i].tolist()
            if math.isfinite(one) and math.isfinite(two):
                ci, least = percentiles(ends[:, i]), _detectable(ends[:, i])
                found[estimator.names[i]] = Difference(estimator.names[i], one, two, two - one, ci, p, p, least)
    return {name: found[name] for name in values if name in found}


def _detectable(draws: Doubles) -> float | None:
    there = draws[np.isfinite(draws)]
    error = float(there.std()) if len(there) else 0.0
    return POWER_SPAN * error if error > 0.0 else None


def bootstrapped(estimator: Estimator, half: int, draws: int, key: str) -> Doubles:
    """Return second less first under the same draws of ``half`` images, of shape (draws, m)."""
    none = np.zeros
    return np.concatenate(
        [
            estimator.compute(np.hstack((none(weights.shape), weights)))
            - estimator.compute(np.hstack((weights, none(weights.shape))))
            for weights in resampled(half, draws, key)
        ]
    )


def _p_values(estimator: Estimator, columns: Sequence[int], half: int, key: str) -> dict[int, float]:
    """Return p-values by column: of plain means from sums of each image, of any other by exchanging whole images."""
    if estimator.sums is not None:
        sums = estimator.sums[half:] - estimator.sums[:half]
        return {i: sign_flip(sums[:, i], key) for i in columns}
    totals = []
    for flipped in choices(half, key, _SWAPS):
        taken = flipped.astype(np.float64)
        swapped, kept = np.hstack((1.0 - taken, taken)), np.hstack((taken, 1.0 - taken))
        totals.append(estimator.compute(kept) - estimator.compute(swapped))
    all_totals = np.concatenate(totals)
    whole = np.concatenate((np.ones(half), np.zeros(half)))
    observed = np.diff(estimator.compute(np.stack((whole, 1.0 - whole))), axis=0)[0]
    return {i: p_value(all_totals[:, i], float(observed[i]), half <= EXACT_IMAGES) for i in columns}


def _flips(primary: str, first: Sequence[SampleRow], second: Sequence[SampleRow]) -> tuple[Flip, ...]:
    pairs = [
        (one, two) for one, two in zip(first, second, strict=True) if primary in one.scores and primary in two.scores
    ]
    flips = [
        Flip(one.sample_id, one.image_id, one.scores[primary], two.scores[primary], (one.response, two.response))
        for one, two in pairs
        if one.scores[primary] != two.scores[primary]
    ]
    return tuple(sorted(flips, key=lambda flip: (-abs(flip.second - flip.first), flip.sample_id)))
