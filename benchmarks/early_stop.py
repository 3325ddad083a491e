"""Print how many samples an early stop saves, and how often it is wrong, over simulated pairs of models.

Usage: python benchmarks/early_stop.py [runs of each line, default 1000] [population|benchmark, default both]
"""

from __future__ import annotations

import sys
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


def simulate(drop: float, differing: float, estimand: str, runs: int, seed: int = 0, samples: int = SAMPLES) -> Line:
    """Simulate ``runs`` checks: ``differing`` of the samples go from right to wrong or back, ``drop`` more to wrong.

    The benchmark holds exactly these shares; from the population each sample is drawn by itself.
    """
    random = np.random.default_rng((seed, int(drop * 1000), int(differing * 1000)))
    worse, better = (differing + drop) / 2, (differing - drop) / 2
    counts = np.round(np.array([worse, better]) * samples).astype(int)
    fixed = np.repeat([1.0, -1.0, 0.0], [*counts, samples - counts.sum()])
    whole = samples if estimand == "benchmark" else None
    verdicts, taken = [], []
    for _ in range(runs):
        if whole:
            sums = random.permutation(fixed)
        else:
            sums = random.choice([1.0, -1.0, 0.0], samples, p=[worse, better, 1 - worse - better])
        hits = [
            np.flatnonzero(
                capital(Units(sign * sums, np.ones(samples), 1.0, 1, whole, whole), sign * MAX_DROP, MAX_DROP)
                >= -np.log(ALPHA)
            )
            for sign in TURN
        ]
        # Looked at after each hundredth of the samples, as the verb does.
        first = [np.ceil((hit[0] + 1) / samples * LOOKS) / LOOKS if len(hit) else np.inf for hit in hits]
        verdicts.append(int(np.argmin(first)) if min(first) <= 1 else -1)
        taken.append(min(*first, 1.0))
    named = np.array(verdicts)
    return Line(float((named == 0).mean()), float((named == 1).mean()), float(np.median(taken)))


def main() -> None:
    """Print a table for each estimand; false alarms are of a drop that is exactly what is tolerated."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{SAMPLES} samples, max_drop {MAX_DROP}, alpha {ALPHA}, {runs} runs a line")
    print("estimand    differ   false alarms (upper bound)   unchanged: passed, samples   5 points: found, samples")
    for estimand in sys.argv[2:] or ("population", "benchmark"):
        for differing in DIFFERING:
            alarm = simulate(MAX_DROP, max(differing, MAX_DROP), estimand, runs).regressed
            same = simulate(0.0, differing, estimand, runs)
            found = ""
            if differing >= 0.05:
                worse = simulate(0.05, differing, estimand, runs)
                found = f"{worse.regressed:9.1%} {worse.median:7.0%}"
            upper = wilson(alarm, runs)[1]
            print(
                f"{estimand:11} {differing:6.0%} {alarm:14.1%} ({upper:.1%})"
                f"{same.passed:23.1%} {same.median:7.0%} {found:>25}",
                flush=True,
            )


if __name__ == "__main__":
    main()
