"""Scores of paired benchmarks, where images and texts differ only in composition. Ties count as wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class WinogroundScores(NamedTuple):
    """Each 0 or 1."""

    text_score: float
    image_score: float
    group_score: float


def winoground_scores(scores: Sequence[Sequence[float]]) -> WinogroundScores:
    """Return the scores of one example (Thrush et al. 2022, section 3).

    ``scores[c][i]`` is how well caption c describes image i. Text: for each image its own caption scores strictly
    higher. Image: for each caption its own image does. Group: both.

    >>> winoground_scores([[0.9, 0.8], [0.5, 0.7]])
    WinogroundScores(text_score=0.0, image_score=1.0, group_score=0.0)
    """
    (c0_i0, c0_i1), (c1_i0, c1_i1) = scores
    text = c0_i0 > c1_i0 and c1_i1 > c0_i1
    image = c0_i0 > c0_i1 and c1_i1 > c1_i0
    return WinogroundScores(float(text), float(image), float(text and image))


def category_means(
    values: Sequence[float], categories: Sequence[str], expected: Sequence[str]
) -> Mapping[str, float | None]:
    """Return the mean of each of the ``expected`` categories, None for one that has no values.

    >>> category_means([1.0, 0.0, 1.0], ["a", "a", "b"], ["a", "b", "c"])
    {'a': 0.5, 'b': 1.0, 'c': None}
    """
    found: dict[str, list[float]] = {name: [] for name in expected}
    for value, category in zip(values, categories, strict=True):
        found[category].append(value)
    return {name: float(np.mean(own)) if own else None for name, own in found.items()}
