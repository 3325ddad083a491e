"""Winoground's scores and the zero-shot classifier by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vlbench.metrics.classification import class_weights, mean_per_class
from vlbench.metrics.compositional import winoground_scores


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([[0.9, 0.2], [0.1, 0.8]], (1, 1, 1)),
        ([[0.9, 0.8], [0.5, 0.85]], (1, 1, 1)),
        ([[0.9, 0.8], [0.5, 0.7]], (0, 1, 0)),
        ([[0.9, 0.5], [0.8, 0.7]], (1, 0, 0)),
        ([[0.1, 0.8], [0.9, 0.2]], (0, 0, 0)),
        ([[0.5, 0.5], [0.5, 0.5]], (0, 0, 0)),
        ([[0.9, 0.2], [0.9, 0.8]], (0, 0, 0)),
        ([[0.9, 0.9], [0.1, 1.0]], (1, 0, 0)),
    ],
)
def test_every_score_needs_strictly_more(scores: list[list[float]], expected: tuple[int, int, int]) -> None:
    assert winoground_scores(scores) == expected


def test_chance_is_that_of_the_paper() -> None:
    """Over all orders of four different scores: 1/4, 1/4, 1/6."""
    found = [winoground_scores([order[:2], order[2:]]) for order in itertools.permutations((1.0, 2.0, 3.0, 4.0))]
    assert np.mean(found, axis=0) == pytest.approx([1 / 4, 1 / 4, 1 / 6])


def test_prompts_weigh_the_same_whatever_their_length() -> None:
    prompts = [np.array([[3.0, 0.0], [0.0, 0.5]], dtype=np.float32), np.array([[-2.0, 0.0]], dtype=np.float32)]
    weights = class_weights(prompts)
    assert weights.dtype == np.float32
    assert weights == pytest.approx(np.array([[np.sqrt(0.5), np.sqrt(0.5)], [-1.0, 0.0]]), abs=1e-7)


def test_classes_count_the_same_whatever_their_size() -> None:
    assert mean_per_class([1.0, 0.5, 0.0, 1.0], [3, 3, 3, 1]) == pytest.approx((0.5 + 1.0) / 2)
