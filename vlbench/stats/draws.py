"""What an early stop draws, in which order: images for a population, samples for a benchmark.

The population is one of images, whose samples are drawn together. A benchmark is the very list of its samples: any
random order of them is a draw without replacement, whichever images they lie on.

A bet must survive the worst that one draw can bring, so that a few images with many samples make all bets small. Where
there are such, a first pass takes the same share of every image's samples, which leaves the mean over samples of the
population what it is and an image at most ``MOST_SAMPLES``. A second pass takes the images whole. Each has its part of
alpha, so that together they are wrong with a chance of alpha at most (the union bound). The population is taken to have
no image with more samples than the largest that is here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vlbench.stats.betting import Units

if TYPE_CHECKING:
    from vlbench.stats.estimators import Doubles

    Integers = np.ndarray[Any, np.dtype[np.int64]]

MOST_SAMPLES = 6
"""Samples of an image from which on a first pass takes a share of each."""
FIRST_PASS = 0.6
"""Its part of alpha."""


@dataclass(frozen=True)
class Pass:
    """A way through the samples.

    ``places`` (n,) are samples in the order in which they are seen, ``draws`` (n,) the numbers of the draws that they
    belong to, rising from 0. No draw has more than ``largest`` samples. ``share`` is the part of alpha that is spent.
    """

    places: Integers
    draws: Integers
    largest: int
    share: float = 1.0
    whole: bool = False
    """Whether the draws are all that there is, without replacement: the benchmark."""

    @property
    def count(self) -> int:
        """Return the number of draws."""
        return int(self.draws[-1]) + 1 if len(self.draws) else 0

    def looks(self, most: int) -> list[int]:
        """Return after how many draws to look, ``most`` times at most, the last time at all of them."""
        step = max(1, math.ceil(self.count / most))
        return [*range(step, self.count, step), self.count]

    def seen(self, end: int) -> Integers:
        """Return the samples of the first ``end`` draws."""
        return self.places[: np.searchsorted(self.draws, end)]

    def units(self, drops: Doubles, scored: Doubles, reach: float, end: int) -> Units:
        """Return the first ``end`` draws as what can be bet on.

        ``drops`` (N,) are those of all samples by place, 0 where there is none; ``scored`` (N,) says 1 where there is.
        """
        places = self.seen(end)
        draws = self.draws[: len(places)]
        sums: Doubles = np.bincount(draws, weights=drops[places], minlength=end).astype(np.float64)
        sizes: Doubles = np.bincount(draws, weights=scored[places], minlength=end).astype(np.float64)
        whole = (self.count, int(scored.sum())) if self.whole else (None, None)
        return Units(sums, sizes, reach, self.largest, *whole)


def passes(images: Integers, benchmark: bool, random: np.random.Generator) -> list[Pass]:
    """Return the passes over samples of ``images`` (n,), their numbers from 0, in a random order."""
    count = len(images)
    if benchmark:
        return [Pass(random.permutation(count), np.arange(count), 1, whole=True)]
    sizes = np.bincount(images)
    rank = random.permutation(len(sizes))[images]
    mixed = random.permutation(count)
    places = mixed[np.argsort(rank[mixed], kind="stable")]
    draws = rank[places]
    largest = int(sizes.max(initial=0))
    if largest <= MOST_SAMPLES:
        return [Pass(places, draws, largest)]
    starts = np.searchsorted(draws, np.arange(len(sizes)))
    wanted = sizes[images[places[starts]]] * (MOST_SAMPLES / largest)
    taken = np.floor(wanted) + (random.random(len(wanted)) < wanted % 1.0)
    kept = np.arange(count) - starts[draws] < taken[draws]
    thinned = np.unique(draws[kept], return_inverse=True)[1].astype(np.int64)
    return [
        Pass(places[kept], thinned, MOST_SAMPLES, FIRST_PASS),
        Pass(places, draws, largest, 1.0 - FIRST_PASS),
    ]
