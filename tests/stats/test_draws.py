"""What an early stop draws: passes over images and samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlbench.stats.draws import MOST_SAMPLES, passes

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def numbers(sizes: list[int]) -> np.ndarray:
    return np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))


@given(SIZES, st.integers(0, 100))
def test_the_last_pass_has_every_sample_once_and_images_together(sizes: list[int], seed: int) -> None:
    images = numbers(sizes)
    *_, last = passes(images, False, np.random.default_rng(seed))
    assert sorted(last.places.tolist()) == list(range(len(images))) and last.count == len(sizes)
    assert last.draws[0] == 0 and set(np.diff(last.draws).tolist()) <= {0, 1}
    pairs = set(zip(last.draws.tolist(), images[last.places].tolist(), strict=True))
    assert len(pairs) == len(sizes) and last.largest == max(sizes)


@given(SIZES, st.integers(0, 100))
def test_a_first_pass_takes_the_same_share_of_every_image(sizes: list[int], seed: int) -> None:
    images = numbers(sizes)
    ways = passes(images, False, np.random.default_rng(seed))
    assert sum(way.share for way in ways) == pytest.approx(1.0)
    assert len(ways) == (1 if max(sizes) <= MOST_SAMPLES else 2)
    if len(ways) == 2:
        first = ways[0]
        taken = np.bincount(images[first.places], minlength=len(sizes))
        wanted = np.array(sizes) * MOST_SAMPLES / max(sizes)
        assert (np.abs(taken - wanted) < 1.0).all() and taken.max() <= first.largest == MOST_SAMPLES
        assert len(set(first.places.tolist())) == len(first.places)
        assert first.count == (taken > 0).sum()  # an image of which nothing is taken is no draw
        assert len(set(zip(first.draws.tolist(), images[first.places].tolist(), strict=True))) == first.count


def test_a_first_pass_leaves_the_mean_over_samples_what_it_is() -> None:
    """Images of many samples that all got worse: a mean over images would see few of them."""
    sizes = [1] * 90 + [30] * 10
    images = numbers(sizes)
    drops = (images >= 90).astype(float)
    means = []
    for seed in range(300):
        first = passes(images, False, np.random.default_rng(seed))[0]
        units = first.units(drops, np.ones(len(drops)), 1.0, first.count)
        means.append((units.sums.sum(), units.sizes.sum()))
    total = np.array(means).sum(axis=0)
    assert total[0] / total[1] == pytest.approx(300 / 390, abs=0.01)


@given(SIZES, st.integers(0, 100))
def test_of_a_benchmark_every_sample_is_a_draw(sizes: list[int], seed: int) -> None:
    images = numbers(sizes)
    (way,) = passes(images, True, np.random.default_rng(seed))
    assert sorted(way.places.tolist()) == list(range(len(images))) == way.draws.tolist()
    assert way.whole and way.largest == 1
    ends = way.looks(100)
    assert ends[-1] == len(images) and len(ends) <= 100 and sorted(set(ends)) == ends
    units = way.units(np.zeros(len(images)), np.ones(len(images)), 1.0, ends[0])
    assert (units.draws, units.samples, len(units.sums)) == (len(images), len(images), ends[0])
