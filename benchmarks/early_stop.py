"""Print how many samples an early stop saves, and how often it is wrong, over simulated pairs of models.

Usage: python benchmarks/early_stop.py [--runs 1000] [--estimand population|benchmark] [--captions 1] [--alike SHARE]
       python benchmarks/early_stop.py --results BASELINE CURRENT [--runs 1000] [--estimand …] [--metric NAME]

``--captions`` is the number of samples of an image, as of the captions that seek it in retrieval; they are drawn
together. In a ``--alike`` share of the images all of them fare alike, in the others each by itself. With ``--results``,
two folders of one result each, checks of real results are replayed: in random orders of the images, or (for the
population) of as many images drawn from them with replacement. Their drop is what it is, so ``max_drop`` is put at it
(a verdict of *regressed* is a false alarm), two points above (it must pass) and three points below (it must be found).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vlbench.leaderboard.samples import read_rows
from vlbench.leaderboard.store import find_results, samples_path
from vlbench.stats.betting import Units, capital
from vlbench.stats.bootstrap import wilson
from vlbench.stats.drop import drop_sign, reach

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


@dataclass(frozen=True)
class Drops:
    """Of each image the drops of its samples added up, and their number; a drop is at most ``reach``."""

    sums: np.ndarray
    sizes: np.ndarray
    reach: float = 1.0

    def checked(self, estimand: str, max_drop: float) -> tuple[int, float]:
        """Return the verdict (0 regressed, 1 passed, -1 none) and the share of images that it took."""
        images = len(self.sums)
        whole = (images, int(self.sizes.sum())) if estimand == "benchmark" else (None, None)
        largest = int(self.sizes.max())
        hits = [
            np.flatnonzero(
                capital(Units(sign * self.sums, self.sizes, self.reach, largest, *whole), sign * max_drop, max_drop)
                >= -np.log(ALPHA)
            )
            for sign in TURN
        ]
        # Looked at after each hundredth of the images, as the verb does.
        first = [np.ceil((hit[0] + 1) / images * LOOKS) / LOOKS if len(hit) else np.inf for hit in hits]
        return int(np.argmin(first)) if min(first) <= 1 else -1, min(*first, 1.0)


def line(checks: Iterable[tuple[int, float]]) -> Line:
    """Return shares and median of the outcomes of checks."""
    verdicts, taken = (np.array(column) for column in zip(*checks, strict=True))
    return Line(float((verdicts == 0).mean()), float((verdicts == 1).mean()), float(np.median(taken)))


def simulate(pair: Pair, estimand: str, runs: int, seed: int = 0, samples: int = SAMPLES) -> Line:
    """Simulate ``runs`` checks."""
    random = np.random.default_rng((seed, int(pair.drop * 1000), int(pair.differing * 1000)))
    images = samples // pair.captions
    sizes = np.full(images, float(pair.captions))
    return line(
        Drops(pair.drawn(images, estimand, random).sum(axis=1), sizes).checked(estimand, MAX_DROP) for _ in range(runs)
    )


def paired(baseline: Path, current: Path, metric: str | None) -> tuple[Drops, str]:
    """Return the drops from one real result to another by image, and what they are in words."""
    found = [(path, result) for folder in (baseline, current) for path, result in find_results([folder])]
    if len(found) != 2:
        raise SystemExit(f"{len(found)} results in {baseline} and {current}; one of each is needed")
    (one, first), (two, second) = (
        (result, {row.sample_id: row for row in read_rows(samples_path(path))}) for path, result in found
    )
    metric = metric or one.primary_metric
    images = {sample: row.image_id for sample, row in first.items() if metric in row.scores}
    numbers = {image: n for n, image in enumerate(dict.fromkeys(images.values()))}
    sums, sizes = np.zeros(len(numbers)), np.zeros(len(numbers))
    for sample, image in images.items():
        sums[numbers[image]] += first[sample].scores[metric] - second[sample].scores[metric]
        sizes[numbers[image]] += 1
    names = f"{one.model.name} and {two.model.name}"
    differ = np.mean([first[sample].scores[metric] != second[sample].scores[metric] for sample in images])
    about = f"{metric} of {names} on {len(images)} samples, {len(numbers)} images; {differ:.1%} differ"
    return Drops(-drop_sign(one, metric) * sums, sizes, reach(metric)), about


def replay(drops: Drops, estimand: str, runs: int, max_drop: float) -> Line:
    """Check the same results in ``runs`` random orders."""
    random = np.random.default_rng(0)
    images = np.arange(len(drops.sums))
    orders = (
        random.permutation(images) if estimand == "benchmark" else random.choice(images, len(images))
        for _ in range(runs)
    )
    return line(Drops(drops.sums[o], drops.sizes[o], drops.reach).checked(estimand, max_drop) for o in orders)


def show_results(drops: Drops, about: str, estimands: Sequence[str], runs: int) -> None:
    """Print a line for each estimand."""
    drop = float(drops.sums.sum() / drops.sizes.sum())
    print(f"{about}, a drop of {drop:.4f}; alpha {ALPHA}, {runs} runs a line")
    print("estimand      false alarms (upper bound)   2 points in reserve: passed, images   3 too many: found, images")
    for estimand in estimands:
        alarm = replay(drops, estimand, runs, drop).regressed
        same, worse = (replay(drops, estimand, runs, drop + by) for by in (0.02, -0.03))
        print(
            f"{estimand:11} {alarm:16.1%} ({wilson(alarm, runs)[1]:.1%})"
            f"{same.passed:31.1%} {same.median:6.0%} {worse.regressed:21.1%} {worse.median:6.0%}",
            flush=True,
        )


def main() -> None:
    """Print a table for each estimand; false alarms are of a drop that is exactly what is tolerated."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000, help="of each line")
    parser.add_argument("--estimand", choices=("population", "benchmark"), help="default: both")
    parser.add_argument("--captions", type=int, default=1, help="samples of an image")
    parser.add_argument("--alike", type=float, default=0.0, help="share of images whose samples fare alike")
    parser.add_argument("--results", type=Path, nargs=2, metavar="FOLDER", help="real results to replay")
    parser.add_argument("--metric", help="of --results; default: their primary one")
    given = parser.parse_args()
    estimands = (given.estimand,) if given.estimand else ("population", "benchmark")
    if given.results:
        show_results(*paired(*given.results, given.metric), estimands, given.runs)
        return
    runs, cluster = given.runs, (given.captions, given.alike)
    of = "" if given.captions == 1 else f", {given.captions} an image, alike in {given.alike:.0%} of them"
    print(f"{SAMPLES} samples{of}, max_drop {MAX_DROP}, alpha {ALPHA}, {runs} runs a line")
    print("estimand    differ   false alarms (upper bound)   unchanged: passed, samples   5 points: found, samples")
    for estimand in estimands:
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
