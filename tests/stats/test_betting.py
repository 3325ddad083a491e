"""Betting: hand-computed capital, the end of a benchmark, and a small form of ``benchmarks/early_stop.py``."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.support.cli import ROOT
from tests.support.files import load_file
from vlbench.stats import betting
from vlbench.stats.betting import Units, capital, exceeds, falls_below, interval


def ones(values: list[float], **more: int) -> Units:
    return Units(np.array(values), np.ones(len(values)), 1.0, 1, **more)


def test_the_first_bets_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gap of 0.1 against a made-up variance of 2 · 0.1: 0.1 / (0.2 + 0.01) = 10 / 21 is bet."""
    monkeypatch.setattr(betting, "SHARES", (1.0, 1e-300))
    assert capital(ones([1.0]), 0.0, 0.1).tolist() == pytest.approx([math.log(31 / 21)])
    # The second: 30 made-up values of 0.2 and one of 0 about itself are 6 / 31; 0.1 / (6 / 31 + 0.01) = 310 / 631.
    assert capital(ones([1.0, -1.0]), 0.0, 0.1)[1] == pytest.approx(math.log(31 / 21 * (1 - 310 / 631)))


def test_equal_models_pass_and_a_collapse_is_found() -> None:
    assert falls_below(ones([0.0] * 400), 0.02, 0.05, 0.02)
    assert not exceeds(ones([0.0] * 400), 0.02, 0.05, 0.02)
    assert exceeds(ones([1.0] * 10), 0.02, 0.05, 0.02)
    assert not exceeds(ones([]), 0.02, 0.05, 0.02)
    low, high = interval(ones([0.0, 0.0, 1.0, 0.0] * 100), 0.05, 0.02)
    assert low < 0.25 < high and high - low < 0.3


def test_what_is_left_of_a_benchmark_decides_it() -> None:
    """Of 100 samples 60 got worse: whatever the other 40 do, the mean is at least 0.2."""
    assert exceeds(ones([1.0] * 60, draws=100, samples=100), 0.1, 1e-9, 0.1)


def test_an_image_of_many_samples_counts_as_one_draw() -> None:
    many = Units(np.array([5.0]), np.array([5.0]), 1.0, 5)
    assert capital(many, 0.02, 0.02).tolist() == pytest.approx(capital(ones([1.0]), 0.02, 0.02).tolist(), abs=0.2)


@pytest.mark.parametrize("estimand", ["population", "benchmark"])
def test_false_alarms_and_savings(estimand: str) -> None:
    """100 runs of 5,000 samples: 11 false alarms are the most that a chance of 5 % makes likely.

    Five captions of an image that fare alike are one draw, and must not count as five.
    """
    script = load_file(ROOT / "benchmarks" / "early_stop.py")
    pair = script.Pair
    at_the_limit = script.simulate(pair(0.02, 0.1), estimand, 100, seed=1)
    assert at_the_limit.regressed <= 0.11 and at_the_limit.passed <= 0.11
    assert script.simulate(pair(0.05, 0.1), estimand, 60, seed=1).median <= 0.16
    assert script.simulate(pair(0.0, 0.1), estimand, 300, seed=1).median <= 0.3
    for captions, alike in ((5, 0.0), (5, 1.0), (12, 0.5)):
        assert script.simulate(pair(0.02, 0.1, captions, alike), estimand, 100, seed=1).regressed <= 0.11


def test_a_gap_that_is_not_the_expected_one_is_learned() -> None:
    """A fifth of the gap that is bet for: such bets lose about as much as they win, however long one looks."""
    random = np.random.default_rng(0)
    drops = random.choice([1.0, -1.0, 0.0], 20_000, p=[0.07, 0.03, 0.9])
    assert falls_below(ones(drops.tolist()), 0.06, 0.05, 0.1)


@pytest.mark.parametrize("whole", [{}, {"draws": 20, "samples": 60}])
def test_what_comes_later_changes_no_bet(whole: dict[str, int]) -> None:
    """A bet was made for the mean size of all images seen until now, so that a later image changed earlier capital."""
    random = np.random.default_rng(0)
    sizes = random.integers(1, 6, 12).astype(float)
    sums = np.round(random.uniform(-1, 1, 12) * sizes, 2)
    full = capital(Units(sums, sizes, 1.0, 5, **whole), 0.02, 0.02)
    for seen in range(1, 12):
        part = capital(Units(sums[:seen], sizes[:seen], 1.0, 5, **whole), 0.02, 0.02)
        assert part.tolist() == pytest.approx(full[:seen].tolist(), abs=1e-12)
