"""Sequential tests of a mean by betting: they may be looked at after every draw, and stopped at any time.

A gambler bets against the hypothesis that the mean of bounded values is at most m. If it is true, the capital of any
betting strategy is a non-negative supermartingale, and ever reaching 1/alpha has a chance of alpha at most (Ville 1939;
Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024, sections 4 and 5).
Draws without replacement from N have, given those before them, the mean of what is left.

The bet is what the capital grows fastest with if the mean lies ``gap`` beyond m and the variance is that of the values
seen so far. A small part of the capital is bet for the gap that was seen so far, since the true one is not known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vlbench.stats.estimators import Doubles

SHARES = (0.95, 0.05)
"""Of the capital: bet for the smallest gap that is worth finding, and for the gap seen so far."""
MADE_UP = 30
"""Values that are made up before the first, so that a few draws on which nothing differs are no reason to bet high."""
MOST = 0.9
"""The largest part of the capital that is ever at stake."""
SMALLEST_GAP = 0.005
"""In units of the range: where no drop is tolerated, the smallest one that the bets are made for."""
_TINY = 1e-9


@dataclass(frozen=True)
class Units:
    """Draws in the order in which they are seen: images, or single samples (``vlbench.stats.draws``).

    ``sums`` (t,) are the drops of a draw's samples added up, ``sizes`` (t,) their numbers. A drop lies between
    -``reach`` and ``reach``; no draw has more than ``largest`` samples. ``draws`` is the number of all draws and
    ``samples`` that of all samples, where they are drawn without replacement from a benchmark; otherwise None.
    """

    sums: Doubles
    sizes: Doubles
    reach: float
    largest: int
    draws: int | None = None
    samples: int | None = None


def exceeds(units: Units, bound: float, alpha: float, gap: float) -> bool:
    """Tell whether the mean drop is shown to be more than ``bound`` by what was seen so far."""
    return bool(capital(units, bound, gap).max(initial=0.0) >= -math.log(alpha))


def falls_below(units: Units, bound: float, alpha: float, gap: float) -> bool:
    """Tell whether the mean drop is shown to be less than ``bound`` by what was seen so far."""
    turned = Units(-units.sums, units.sizes, units.reach, units.largest, units.draws, units.samples)
    return exceeds(turned, -bound, alpha, gap)


def capital(units: Units, bound: float, gap: float) -> Doubles:
    """Return the logarithm of the capital after each draw (t,), betting that the mean is more than ``bound``."""
    values = units.sums - bound * units.sizes
    seen = len(values)
    before = np.concatenate(([0.0], np.cumsum(values)[:-1])) if seen else values
    if units.draws is None:
        rest, scale = np.zeros(seen), np.ones(seen)
        # Of the draws before each and a made-up one: a bet that knew of later ones would be none.
        mean_size = np.cumsum(np.concatenate(([units.largest], units.sizes)))[:seen] / (1.0 + np.arange(seen))
    else:
        left = units.draws - np.arange(seen, dtype=np.float64)
        rest, scale = -before / left, units.draws / left
        mean_size = np.full(seen, (units.samples or units.draws) / units.draws)
    excess = values - rest
    counts = np.arange(seen, dtype=np.float64)
    least = max(gap, SMALLEST_GAP * units.reach) * mean_size
    # The spread of what came before, and of made-up values: it would put half of the capital at stake.
    prior = 2.0 * least * units.reach * units.largest
    squares = np.concatenate(([0.0], np.cumsum(values**2)[:-1])) if seen else values
    mean = np.divide(before, counts, out=np.zeros(seen), where=counts > 0)
    variance = (MADE_UP * prior + np.maximum(squares - counts * mean**2, 0.0)) / (counts + MADE_UP)
    lowest = units.largest * (units.reach + abs(bound)) + rest
    ceiling = MOST / np.maximum(lowest, _TINY)
    # Shrunk towards no gap, or the first values would be believed too much.
    estimate = np.maximum(before / (counts + 1.0), 0.0)
    logs = []
    for beyond, share in zip((least, estimate), SHARES, strict=True):
        wanted = beyond * scale
        stake = np.minimum(wanted / (variance + wanted**2), ceiling)
        logs.append(np.cumsum(np.log1p(stake * excess)) + math.log(share))
    total: Doubles = np.logaddexp.reduce(np.stack(logs), axis=0)
    return total


def interval(units: Units, alpha: float, gap: float, steps: int = 24) -> tuple[float, float]:
    """Return bounds of the mean drop, each missed with a chance of ``alpha`` at most however often one looks."""
    turned = Units(-units.sums, units.sizes, units.reach, units.largest, units.draws, units.samples)
    return _lower(units, alpha, gap, steps), -_lower(turned, alpha, gap, steps)


def _lower(units: Units, alpha: float, gap: float, steps: int) -> float:
    low, high = -units.reach, units.reach
    for _ in range(steps):
        middle = (low + high) / 2
        if exceeds(units, middle, alpha, gap):
            low = middle
        else:
            high = middle
    return low
