"""Metrics as functions of how often each image is taken.

A bootstrap takes some images several times and some not at all; a permutation takes each from one of two models. Both
need a metric at many such choices. An estimator computes metrics from rows that were kept, under weights of the images,
and is used for a metric only where it gives the reported value when every image is taken once: a metric that is
aggregated in a way that is not known here has no interval, never a wrong one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from vlbench.errors import UsageError
from vlbench.metrics.caption_statistics import corpus_from_statistics, stack_statistics
from vlbench.plugins import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from vlbench.types import SampleRow

    Doubles = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

_SAME = 1e-9
_RECALLS = tuple(f"{way}_recall@{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10))
_MACRO_SCORES = {"mean_per_class_recall": "accuracy@1"}
"""Means over classes that have another name than the score that they average."""
_SUMMED = ("Bleu_", "METEOR")
"""Metrics of a corpus that are no means of what its images score."""
MOST_NUMBERS = 8
"""A column of more different whole numbers is grouped by ranges."""
RANGES = " (range)"


class Samples:
    """Rows with the number of the image that each belongs to.

    ``images`` (n,) counts from 0 in the order of the sorted ids, so that the order of the rows decides nothing.
    """

    def __init__(self, rows: Sequence[SampleRow]) -> None:
        """Give each image of ``rows`` its number."""
        self.rows = rows
        ids, images = np.unique(np.array([row.image_id for row in rows], dtype=object), return_inverse=True)
        self.images: Ints = images.astype(np.int64).ravel()
        self.count = len(ids)

    @classmethod
    def paired(cls, first: Sequence[SampleRow], second: Sequence[SampleRow]) -> Samples:
        """Return the rows of two models on the same samples; image i of the second is number i + n of 2n."""
        both = cls(first)
        both.rows = [*first, *second]
        both.images = np.concatenate((both.images, both.images + both.count))
        both.count *= 2
        return both

    @cached_property
    def slices(self) -> dict[str, npt.NDArray[np.object_]]:
        """Columns of the rows, and those of ``groupings``, as texts; None where a row has no such column."""
        kinds = dict.fromkeys(kind for row in self.rows for kind in row.slices)
        raw = {kind: np.array([_text(row.slices.get(kind)) for row in self.rows], dtype=object) for kind in kinds}
        return raw | self.groupings

    @cached_property
    def groupings(self) -> dict[str, npt.NDArray[np.object_]]:
        """Columns to group by, as texts: each column of the rows, but one of many whole numbers in four ranges."""
        kinds = dict.fromkeys(kind for row in self.rows for kind in row.slices)
        return dict(_grouping(kind, [row.slices.get(kind) for row in self.rows]) for kind in kinds)

    def scores(self, name: str) -> Doubles:
        """Return a score of each row, NaN where it has none."""
        return np.array([row.scores.get(name, math.nan) for row in self.rows], dtype=np.float64)

    @cached_property
    def score_names(self) -> tuple[str, ...]:
        """Names of all scores."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.scores))

    def where(self, kind: str, part: str) -> npt.NDArray[np.bool_]:
        """Tell of which rows column ``kind`` is ``part``."""
        return np.asarray(self.slices[kind] == part, dtype=np.bool_)


def check_column(samples: Samples, kind: str, task: str) -> None:
    """Raise ``UsageError`` where the samples of ``task`` have no column ``kind`` to group by."""
    if kind not in samples.groupings:
        there = ", ".join(samples.groupings) or "none"
        close = nearest(kind, samples.groupings)
        raise UsageError(f"the samples of {task} have no column {kind!r}{close} (there are: {there})")


def slice_means(
    samples: Samples, metric: str, kinds: Sequence[str], mine: npt.NDArray[np.bool_], most: int
) -> dict[str, float]:
    """Return the mean score of rows ``mine`` (n,) in each part of the columns ``kinds`` that have 2 to ``most``.

    The names are ``metric/kind/part``, parts in natural order. A metric that is no score of single rows has none.
    """
    if metric not in samples.score_names:
        return {}
    scores = samples.scores(metric)
    scored = mine & ~np.isnan(scores)
    values = {}
    for kind in kinds:
        column = samples.groupings[kind]
        parts = sorted({part for part in column[scored] if part is not None}, key=_natural)
        for part in parts if 2 <= len(parts) <= most else ():
            values[f"{metric}/{kind}/{part}"] = float(scores[scored & (column == part)].mean())
    return values


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a key that puts 4-6 before 10-12."""
    return [(int(run), "") if run.isdecimal() else (0, run) for run in re.split(r"(\d+)", text)]


@dataclass(frozen=True)
class Estimator:
    """Metrics ``names`` (m of them) under weights of c images.

    ``compute`` takes weights (b, c) and returns values (b, m), NaN where no image of a metric is taken. ``sizes``
    (c, m) is the weight that an image has in a metric, ``top`` (m,) the highest value of a metric whose scores lie
    between 0 and that; NaN for any other. ``sums`` (c, m) are sums of scores for plain means, otherwise None.
    """

    names: tuple[str, ...]
    compute: Callable[[Doubles], Doubles]
    sizes: Doubles
    top: Doubles
    sums: Doubles | None = None


def estimators(
    samples: Samples, values: Mapping[str, float | Doubles], at: Doubles | None = None
) -> list[tuple[Estimator, Ints]]:
    """Return estimators with the columns that reproduce ``values``, each metric once at most.

    ``at`` (c,) are the weights under which they must do so, by default 1 for every image; of several (b, c) the values
    are (b,).
    """
    left = dict(values)
    chosen = []
    for estimator in _offers(samples, left):
        found = estimator.compute(np.atleast_2d(np.ones(samples.count) if at is None else at))
        keep = [i for i, name in enumerate(estimator.names) if name in left and _same(found[:, i], left[name])]
        if keep:
            chosen.append((estimator, np.array(keep, dtype=np.int64)))
            for i in keep:
                del left[estimator.names[i]]
    return chosen


def _same(found: Doubles, known: float | Doubles) -> bool:
    pairs = zip(found.tolist(), np.broadcast_to(known, found.shape).tolist(), strict=True)
    return all(math.isclose(one, other, rel_tol=_SAME, abs_tol=_SAME) for one, other in pairs)


def _offers(samples: Samples, left: Mapping[str, float | Doubles]) -> Iterator[Estimator]:
    """Yield what may estimate the metrics that are ``left``, in the order of preference."""
    yield from _corpora(samples, list(left))
    columns = {name: column for name in left if (column := _column(samples, name)) is not None}
    if columns:
        yield means(samples, columns)
    if "rsum" in left and set(_RECALLS) <= set(samples.score_names):
        yield _total(means(samples, {name: samples.scores(name) for name in _RECALLS}), "rsum")
    yield from _ranks(samples, list(left))
    for kind in samples.slices:
        for name in list(left):
            score = _MACRO_SCORES.get(name, name)
            if score in samples.score_names:
                yield _macro(samples, name, score, kind)
        if "rsum" in left and set(_RECALLS) <= set(samples.score_names):
            yield _total(_joined([_macro(samples, name, name, kind) for name in _RECALLS]), "rsum")


def _parts(name: str) -> tuple[str, str, str]:
    """Return the metric, the kind of its slice and the slice; a scoring model in brackets may hold slashes itself.

    >>> _parts("CLIPScore[org/name]/domain/in-domain"), _parts("CIDEr")
    (('CLIPScore[org/name]', 'domain', 'in-domain'), ('CIDEr', '', ''))
    """
    head, bracket, tail = name.partition("]")
    metric, _, rest = (tail if bracket else head).partition("/")
    kind, _, part = rest.partition("/")
    return f"{head}]{metric}" if bracket else metric, kind, part


def _column(samples: Samples, name: str) -> Doubles | None:
    """Return the scores whose mean a metric may be: its own, or of ``accuracy/answer_type/number`` those of a slice."""
    if name in samples.score_names:
        return samples.scores(name)
    metric, kind, part = _parts(name)
    if metric not in samples.score_names or kind not in samples.slices:
        return None
    return np.where(samples.where(kind, part), samples.scores(metric), np.nan)


def means(samples: Samples, columns: Mapping[str, Doubles]) -> Estimator:
    """Return means of scores (n,) over the rows that have one."""
    sums, sizes = np.zeros((2, samples.count, len(columns)))
    top = np.ones(len(columns))
    for i, column in enumerate(columns.values()):
        there = ~np.isnan(column)
        sums[:, i] = np.bincount(samples.images[there], column[there], samples.count)
        sizes[:, i] = np.bincount(samples.images[there], minlength=samples.count)
        if not ((column[there] >= 0.0) & (column[there] <= 1.0)).all():
            top[i] = np.nan
    return Estimator(tuple(columns), lambda weights: _ratio(weights @ sums, weights @ sizes), sizes, top, sums)


def _total(parts: Estimator, name: str) -> Estimator:
    sizes, top = parts.sizes.sum(axis=1, keepdims=True), parts.top.sum(keepdims=True)
    return Estimator((name,), lambda weights: parts.compute(weights).sum(axis=1, keepdims=True), sizes, top)


def _joined(parts: Sequence[Estimator]) -> Estimator:
    sizes, top = np.hstack([part.sizes for part in parts]), np.hstack([part.top for part in parts])
    names = tuple(name for part in parts for name in part.names)
    return Estimator(names, lambda weights: np.hstack([part.compute(weights) for part in parts]), sizes, top)


def _macro(samples: Samples, name: str, score: str, kind: str) -> Estimator:
    """Return the plain mean over the values of ``kind`` of the mean score; values that are not drawn take no part."""
    column, labels = samples.scores(score), samples.slices[kind]
    there = ~np.isnan(column) & (labels != None)  # noqa: E711 (elementwise)
    parts, group = np.unique(labels[there].astype(str), return_inverse=True)
    images, values, count = samples.images[there], column[there], max(len(parts), 1)

    def compute(weights: Doubles) -> Doubles:
        each = np.empty((len(weights), count))
        for draw, taken in enumerate(weights[:, images]):
            each[draw] = _ratio(_sums(group, taken * values, count), _sums(group, taken, count))
        return _ratio(np.nansum(each, axis=1), np.count_nonzero(~np.isnan(each), axis=1).astype(np.float64))[:, None]

    share = 1.0 / np.bincount(group, minlength=count)[group]
    sizes = _sums(images, share, samples.count)[:, None]
    bounded = bool(((values >= 0.0) & (values <= 1.0)).all())
    return Estimator((name,), compute, sizes, np.array([1.0 if bounded else np.nan]))


def _ranks(samples: Samples, names: Sequence[str]) -> Iterator[Estimator]:
    """Yield mean and median ranks of the directions of retrieval."""
    for name in names:
        direction, _, kind = name.rpartition("_")
        direction = direction.removesuffix("_mean").removesuffix("_median")
        if kind != "rank" or "direction" not in samples.slices:
            continue
        own = samples.where("direction", direction)
        ranks = np.array([row.statistics.get("rank", math.nan) for row in samples.rows], dtype=np.float64)
        ranks[~own] = np.nan
        if name.endswith("_mean_rank"):
            # Ranks that are all 1 look like shares, and are none: nothing bounds them from above.
            yield replace(means(samples, {name: ranks}), top=np.array([np.nan]))
        elif own.any():
            yield _median(samples, name, ranks)


def _median(samples: Samples, name: str, ranks: Doubles) -> Estimator:
    """Return floor(median of ranks from 0) + 1, as ``vlbench.metrics.retrieval.median_rank`` has it."""
    there = np.flatnonzero(~np.isnan(ranks))
    order = there[np.argsort(ranks[there], kind="stable")]
    values, images = ranks[order], samples.images[order]

    def compute(weights: Doubles) -> Doubles:
        medians = np.full((len(weights), 1), np.nan)
        for draw, taken in enumerate(weights[:, images].cumsum(axis=1)):
            if taken[-1] > 0:
                middle = np.searchsorted(taken, [(taken[-1] - 1) // 2, taken[-1] // 2], side="right")
                medians[draw] = np.floor(values[middle].mean() - 1.0) + 1.0
        return medians

    sizes = np.bincount(images, minlength=samples.count).astype(np.float64)[:, None]
    return Estimator((name,), compute, sizes, np.array([np.nan]))


def _corpora(samples: Samples, names: Sequence[str]) -> Iterator[Estimator]:
    """Yield the metrics of captions of the whole corpus, and of the parts that ``CIDEr/domain/…`` names."""
    if not any("bleu_correct" in row.statistics for row in samples.rows[:1]):
        return
    # Another metric that every row has a score of is a mean, and much faster as one.
    summed = [
        parts for name in names if (parts := _parts(name))[0].startswith(_SUMMED) or parts[0] not in samples.score_names
    ]
    for kind, part in dict.fromkeys(parts[1:] for parts in summed):
        suffix = f"/{kind}/{part}" if kind else ""
        if suffix and kind not in samples.slices:
            continue
        own = np.flatnonzero(samples.where(kind, part)) if suffix else np.arange(len(samples.rows))
        if len(own):
            yield _corpus(samples, own, suffix)


def _corpus(samples: Samples, own: Ints, suffix: str) -> Estimator:
    statistics = stack_statistics([samples.rows[i].statistics for i in own.tolist()])
    images = samples.images[own]
    names = tuple(corpus_from_statistics(statistics))

    def compute(weights: Doubles) -> Doubles:
        values = np.full((len(weights), len(names)), np.nan)
        for draw, taken in enumerate(weights[:, images]):
            if taken.any():
                # Weights may be shares of images, which the formulas take as well as counts.
                values[draw] = list(corpus_from_statistics(statistics, taken).values())
        return values

    sizes = np.bincount(images, minlength=samples.count).astype(np.float64)[:, None].repeat(len(names), axis=1)
    return Estimator(tuple(f"{name}{suffix}" for name in names), compute, sizes, np.full(len(names), np.nan))


def _ratio(sums: Doubles, counts: Doubles) -> Doubles:
    ratios: Doubles = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return ratios


def _sums(group: npt.NDArray[np.intp], values: Doubles, count: int) -> Doubles:
    return np.bincount(group, values, count).astype(np.float64)


def _grouping(kind: str, values: Sequence[str | int | None]) -> tuple[str, npt.NDArray[np.object_]]:
    """Return name and texts of the column to group by; a range of whole numbers has about a quarter of the rows.

    >>> name, column = _grouping("objects", [*range(1, 13), None])
    >>> name, list(dict.fromkeys(column))
    ('objects (range)', ['1-3', '4-6', '7-9', '10-12', None])
    """
    numbers = [value for value in values if isinstance(value, int)]
    distinct = np.unique(np.array(numbers, dtype=np.int64))
    if len(distinct) <= MOST_NUMBERS or len(numbers) < sum(value is not None for value in values):
        return kind, np.array([_text(value) for value in values], dtype=object)
    edges = np.unique(np.quantile(numbers, (0.25, 0.5, 0.75), method="lower"))
    place = {number: int(np.searchsorted(edges, number)) for number in distinct.tolist()}
    ends: dict[int, list[int]] = {}
    for number, group in place.items():
        ends.setdefault(group, []).append(number)
    names = {group: f"{own[0]}-{own[-1]}" if len(own) > 1 else f"{own[0]}" for group, own in ends.items()}
    texts = [names[place[value]] if isinstance(value, int) else None for value in values]
    return f"{kind}{RANGES}", np.array(texts, dtype=object)


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)
