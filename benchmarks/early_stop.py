"""Print how many samples an early stop saves, and how often it is wrong, over simulated pairs of models.

Usage: python benchmarks/early_stop.py [--runs 1000] [--estimand population|benchmark] [--captions 1] [--alike SHARE]

``--captions`` is the number of samples of an image, as of the captions that seek it in retrieval; they are drawn
together. In a ``--alike`` share of the images all of them fare alike, in the others each by itself.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from vlbench.stats.betting import Units, capital
from vlbench.stats.bootstrap import wilson

SAMPLES, MAX_DROP, ALPHA = 5000, 0.02, 0.05
DIFFERING = (0.02, 0.05, 0.10, 0.15, 0.20)
LOOKS = 100
TURN = (1.0, -1.0)


@dataclass(frozen=True)
class Line:
    """Shares of runs by verdict, and the median share of samples that a verdict took (1 where there was none)."""

    regressed: float
    passed: float
    median: float


@dataclass(frozen=True)
class Pair:
    """Two models: ``differing`` of the samples go from right to wrong or back, ``drop`` more to wrong than back."""

    drop: float
    differing: float
    captions: int = 1
    alike: float = 0.0

    def drawn(self, images: int, estimand: str, random: np.random.Generator) -> np.ndarray:
        """Return the drops of all samples, an image a row; a benchmark has exactly the shares, but for rounding."""
        worse, better = (self.differing + self.drop) / 2, (self.differing - self.drop) / 2

        def values(count: int) -> np.ndarray:
            if estimand == "population":
                return random.choice([1.0, -1.0, 0.0], count, p=[worse, better, 1 - worse - better])
            counts = np.round(np.array([worse, better]) * count).astype(int)
            return random.permutation(np.repeat([1.0, -1.0, 0.0], [*counts, count - counts.sum()]))

        alike = round(self.alike * images)
        same = np.repeat(values(alike), self.captions)
        each = values((images - alike) * self.captions)
        return random.permutation(np.concatenate((same, each)).reshape(images, self.captions))


def simulate(pair: Pair, estimand: str, runs: int, seed: int = 0, samples: int = SAMPLES) -> Line:
    """Simulate ``runs`` checks."""
    random = np.random.default_rng((seed, int(pair.drop * 1000), int(pair.differing * 1000)))
    images = samples // pair.captions
    sizes = np.full(images, float(pair.captions))
    whole = (images, samples) if estimand == "benchmark" else (None, None)
    verdicts, taken = [], []
    for _ in range(runs):
        sums = pair.drawn(images, estimand, random).sum(axis=1)
        hits = [
            np.flatnonzero(
                capital(Units(sign * sums, sizes, 1.0, pair.captions, *whole), sign * MAX_DROP, MAX_DROP)
                >= -np.log(ALPHA)
            )
            for sign in TURN
        ]
        # Looked at after each hundredth of the samples, as the verb does.
        first = [np.ceil((hit[0] + 1) / images * LOOKS) / LOOKS if len(hit) else np.inf for hit in hits]
        verdicts.append(int(np.argmin(first)) if min(first) <= 1 else -1)
        taken.append(min(*first, 1.0))
    named = np.array(verdicts)
    return Line(float((named == 0).mean()), float((named == 1).mean()), float(np.median(taken)))


def main() -> None:
    """Print a table for each estimand; false alarms are of a drop that is exactly what is tolerated."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000, help="of each line")
    parser.add_argument("--estimand", choices=("population", "benchmark"), help="default: both")
    parser.add_argument("--captions", type=int, default=1, help="samples of an image")
    parser.add_argument("--alike", type=float, default=0.0, help="share of images whose samples fare alike")
    given = parser.parse_args()
    runs, cluster = given.runs, (given.captions, given.alike)
    of = "" if given.captions == 1 else f", {given.captions} an image, alike in {given.alike:.0%} of them"
    print(f"{SAMPLES} samples{of}, max_drop {MAX_DROP}, alpha {ALPHA}, {runs} runs a line")
    print("estimand    differ   false alarms (upper bound)   unchanged: passed, samples   5 points: found, samples")
    for estimand in (given.estimand,) if given.estimand else ("population", "benchmark"):
        for differing in DIFFERING:
            alarm = simulate(Pair(MAX_DROP, max(differing, MAX_DROP), *cluster), estimand, runs).regressed
            same = simulate(Pair(0.0, differing, *cluster), estimand, runs)
            found = ""
            if differing >= 0.05:
                worse = simulate(Pair(0.05, differing, *cluster), estimand, runs)
                found = f"{worse.regressed:9.1%} {worse.median:7.0%}"
            upper = wilson(alarm, runs)[1]
            print(
                f"{estimand:11} {differing:6.0%} {alarm:14.1%} ({upper:.1%})"
                f"{same.passed:23.1%} {same.median:7.0%} {found:>25}",
                flush=True,
            )


if __name__ == "__main__":
    main()
