"""CLIPScore and RefCLIPScore by hand: unit vectors at known angles."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vlbench.metrics.clipscore import clip_score, ref_clip_score


def at(degrees: float, length: float = 1.0) -> np.ndarray:
    return (length * np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])).astype(np.float32)


def test_two_and_a_half_times_the_cosine_and_never_below_zero() -> None:
    assert clip_score(at(0), at(60, 7.0)) == pytest.approx(1.25)
    assert clip_score(at(0), at(0)) == pytest.approx(2.5)
    assert clip_score(at(0), at(120)) == 0.0
    assert clip_score(at(0), np.zeros(2, dtype=np.float32)) == 0.0


def test_the_harmonic_mean_with_the_closest_reference() -> None:
    references = np.stack([at(150), at(120, 3.0), at(-90)])
    assert ref_clip_score(1.25, at(60), references) == pytest.approx(2 * 1.25 * 0.5 / 1.75)
    assert ref_clip_score(0.0, at(60), references) == 0.0
    assert ref_clip_score(1.25, at(60), references[2:]) == 0.0


def test_the_published_example_has_values_that_the_formula_can_take() -> None:
    """The authors' example has CLIPScore .8584 and RefCLIPScore .8450, means of two captions each."""
    closest = 0.8584 * 0.8450 / (2 * 0.8584 - 0.8450)  # of a caption that has these very values
    reference = np.stack([at(math.degrees(math.acos(closest)))])
    assert ref_clip_score(0.8584, at(0), reference) == pytest.approx(0.8450, abs=1e-6)
