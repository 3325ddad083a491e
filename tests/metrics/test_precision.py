"""mAP@R and R-precision against brute force: all orders of tied items are tried one by one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlbench.metrics.precision import Placement

if TYPE_CHECKING:
    from collections.abc import Sequence


def orders(scores: Sequence[float]) -> list[tuple[int, ...]]:
    groups = [[i for i, s in enumerate(scores) if s == value] for value in sorted(set(scores), reverse=True)]
    return [
        tuple(itertools.chain.from_iterable(parts))
        for parts in itertools.product(*(itertools.permutations(group) for group in groups))
    ]


def by_definition(order: Sequence[int], right: Sequence[int], relevant: int) -> tuple[float, float, float]:
    """Average precision at R, R-precision and the hit at 1 of one ranking."""
    hits = [float(item in right) for item in order]
    hits += [0.0] * relevant
    precisions = [sum(hits[:k]) / k for k in range(1, relevant + 1)]
    terms = [hit * precision for hit, precision in zip(hits, precisions, strict=False)]
    return sum(terms) / relevant, precisions[-1], hits[0]


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=6).flatmap(
        lambda scores: st.tuples(
            st.just(scores),
            st.lists(st.integers(0, len(scores) - 1), min_size=1, max_size=4, unique=True),
            st.integers(0, 2),
        )
    )
)
@settings(deadline=None, max_examples=200)
def test_precision_is_the_mean_over_all_orders_of_ties(problem: tuple[list[int], list[int], int]) -> None:
    """``absent`` right items are in no gallery: they count in R and are never found."""
    scores, right, absent = problem
    relevant = len(right) + absent
    expected = np.mean([by_definition(order, right, relevant) for order in orders(scores)], axis=0)
    placement = Placement.of(np.array(scores, dtype=np.float32), right)
    ours = placement.average_precision(relevant), placement.r_precision(relevant), placement.hit(1)
    assert ours == pytest.approx(tuple(expected), abs=1e-12)


def test_a_ranking_by_hand() -> None:
    """Right, wrong, right: (1/1 + 0 + 2/3) / 3; two of the first three are right."""
    placement = Placement.of(np.array([9.0, 8.0, 7.0, 1.0]), [0, 2, 3])
    assert placement.average_precision(3) == pytest.approx((1 + 2 / 3) / 3)
    assert placement.r_precision(3) == pytest.approx(2 / 3)


def test_what_is_not_a_number_is_never_found() -> None:
    placement = Placement.of(np.array([np.nan, 3.0, np.nan, 1.0]), [0, 3])
    assert (placement.hit(1), placement.hit(2)) == (0.0, 1.0)
    assert placement.r_precision(2) == 0.5 and placement.average_precision(2) == 0.25
    nothing = Placement.of(np.array([np.nan, 3.0]), [0])
    assert nothing.hit(5) == nothing.r_precision(1) == nothing.average_precision(1) == 0.0
