"""Tests of paired differences, and corrections for many of them.

Under the null hypothesis of a paired comparison the two models are exchangeable on each image, so that the sum of the
differences of an image may as well have the other sign. The p-value is the share of all choices of signs whose total is
at least as far from zero (Fisher 1935), exact where few images differ and by random signs otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vlbench.types import content_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]

EXACT_IMAGES = 12
"""Up to so many images that differ, all choices of signs are enumerated."""
FLIPS = 10_000
_ELEMENTS = 1 << 22
_SLACK = 1e-9


def choices(images: int, key: str = "", flips: int = FLIPS) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield which of ``images`` are flipped, bool of shape (b, images): all choices where they are few, else random."""
    if images <= EXACT_IMAGES:
        yield (np.arange(1 << images)[:, None] >> np.arange(images) & 1).astype(np.bool_)
        return
    random = np.random.default_rng(int(content_key("flips", key), 16))
    block = max(1, _ELEMENTS // images)
    for start in range(0, flips, block):
        yield random.integers(0, 2, (min(block, flips - start), images), dtype=np.int8).astype(np.bool_)


def p_value(totals: Doubles, observed: float, exact: bool) -> float:
    """Return the share of ``totals`` (b,) at least as far from zero as ``observed``.

    Of random choices the observed one counts as one more (Phipson and Smyth 2010), so that none is 0. Totals that
    differ by rounding alone count as equal.
    """
    far = int(np.count_nonzero(np.abs(totals) >= abs(observed) * (1 - _SLACK) - 1e-15))
    return far / len(totals) if exact else (far + 1) / (len(totals) + 1)


def sign_flip(differences: Doubles, key: str = "", flips: int = FLIPS) -> float:
    """Return the two-sided p-value of the sums of differences of each image (c,).

    >>> sign_flip(np.array([1.0, 1.0, 1.0, 1.0])), sign_flip(np.array([1.0, -1.0])), sign_flip(np.zeros(3))
    (0.125, 1.0, 1.0)
    """
    there = differences[differences != 0]
    signs = choices(len(there), key, flips)
    totals = np.concatenate([(1.0 - 2.0 * flipped) @ there for flipped in signs])
    return p_value(totals, float(there.sum()), len(there) <= EXACT_IMAGES)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's (1979) adjusted p-values, which hold the chance of any false finding.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return Benjamini and Hochberg's (1995) adjusted p-values, which hold the share of false findings.

    >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.5])
    [0.04, 0.05333333333333334, 0.05333333333333334, 0.5]
    """
    adjusted = [0.0] * len(p_values)
    lowest = 1.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for place in range(len(order), 0, -1):
        lowest = min(lowest, p_values[order[place - 1]] * len(order) / place)
        adjusted[order[place - 1]] = lowest
    return adjusted
