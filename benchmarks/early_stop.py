"""Print how many samples an early stop saves, and how often it is wrong, over simulated pairs of models.

Usage: python benchmarks/early_stop.py [--runs 1000] [--estimand population|benchmark] [--captions 1] [--alike SHARE]
       python benchmarks/early_stop.py --results BASELINE CURRENT [--runs 1000] [--estimand …] [--metric NAME]

``--captions`` is the number of samples of an image, as of the captions that seek it in retrieval. In a ``--alike``
share of the images all of them fare alike, in the others each by itself. With ``--results``, two folders of one result
each, the differences of real results are replayed: with the two models' answers swapped on random images, to a drop of
0, of ``--max-drop`` or of 2.5 times that, in random orders, for the population with images drawn anew with replacement.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vlbench.gate.early import LOOKS
from vlbench.leaderboard.samples import read_rows
from vlbench.leaderboard.store import find_results, samples_path
from vlbench.stats.betting import Units, capital
from vlbench.stats.bootstrap import wilson
from vlbench.stats.draws import passes
from vlbench.stats.drop import drop_sign, reach

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SAMPLES, MAX_DROP, ALPHA = 5000, 0.02, 0.05
DIFFERING = (0.02, 0.05, 0.10, 0.15, 0.20)
TURN = (1.0, -1.0)


@dataclass(frozen=True)
class Line:
    """Shares of runs by verdict, and the median share of samples that a verdict took (1 where there was none)."""

    regressed: float
    passed: float
    median: float
    images: float
    """Median share of the images that those samples lie on."""


HEADS = "at max_drop: regressed (upper bound), passed   unchanged: passed, samples"


def shown(alarm: Line, same: Line, runs: int) -> str:
    """Return the columns below ``HEADS``."""
    wrong = f"{alarm.regressed:6.1%} ({wilson(alarm.regressed, runs)[1]:.1%}) {alarm.passed:6.1%}"
    return f"{wrong:>43} {same.passed:18.1%} {same.median:8.0%}"


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
    """The drops (n,) of samples, and the numbers (n,) of the images they lie on; a drop is at most ``reach``."""

    values: np.ndarray
    images: np.ndarray
    reach: float = 1.0

    def checked(self, estimand: str, max_drop: float, random: np.random.Generator) -> tuple[int, float, float]:
        """Return the verdict (0 regressed, 1 passed, -1 none) and the shares of samples and images that it took."""
        seen = np.zeros(len(self.values), dtype=bool)
        for way in passes(self.images, estimand == "benchmark", random):
            units = way.units(self.values, np.ones(len(self.values)), self.reach, way.count)
            ends = np.array(way.looks(LOOKS))
            first = [first_look(units, sign, max_drop, ALPHA * way.share, ends) for sign in TURN]
            seen[way.seen(min(*first, way.count))] = True
            if min(first) <= way.count:
                images = len(np.unique(self.images[seen])) / len(np.unique(self.images))
                return int(np.argmin(first)), float(seen.mean()), images
        return -1, 1.0, 1.0


def first_look(units: Units, sign: float, max_drop: float, alpha: float, ends: np.ndarray) -> int:
    """Return the number of draws at the first look that finds the bet won; more than there are if none does."""
    turned = Units(sign * units.sums, units.sizes, units.reach, units.largest, units.draws, units.samples)
    won = np.flatnonzero(capital(turned, sign * max_drop, max_drop) >= -np.log(alpha))
    return int(ends[np.searchsorted(ends, won[0] + 1)]) if len(won) else len(units.sums) + 1


def line(checks: Iterable[tuple[int, float, float]]) -> Line:
    """Return shares and medians of the outcomes of checks."""
    verdicts, taken, images = (np.array(column) for column in zip(*checks, strict=True))
    shares = [float((verdicts == verdict).mean()) for verdict in (0, 1)]
    return Line(*shares, float(np.median(taken)), float(np.median(images)))


def simulate(pair: Pair, estimand: str, runs: int, seed: int = 0, samples: int = SAMPLES) -> Line:
    """Simulate ``runs`` checks."""
    random = np.random.default_rng((seed, int(pair.drop * 1000), int(pair.differing * 1000)))
    images = samples // pair.captions
    numbers = np.repeat(np.arange(images), pair.captions)
    return line(
        Drops(pair.drawn(images, estimand, random).ravel(), numbers).checked(estimand, MAX_DROP, random)
        for _ in range(runs)
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
    samples = [sample for sample, row in first.items() if metric in row.scores]
    images = np.unique([first[sample].image_id for sample in samples], return_inverse=True)[1]
    before, after = (np.array([rows[sample].scores[metric] for sample in samples]) for rows in (first, second))
    names = f"{one.model.name} and {two.model.name}"
    most = np.bincount(images).max()
    about = f"{metric} of {names} on {len(samples)} samples, {images.max() + 1} images of at most {most}"
    drops = Drops(drop_sign(one, metric) * (after - before), images, reach(metric))
    return drops, f"{about}; {np.mean(before != after):.1%} differ"


def chance_of(drops: Drops, drop: float) -> float:
    """Return how often the second model must do worse, of the images on which they differ, for a mean of ``drop``."""
    sums = np.bincount(drops.images, weights=drops.values)
    chance = (1.0 + drop * len(drops.values) / np.abs(sums).sum()) / 2
    if chance > 1.0:
        raise SystemExit(f"the results differ too little for a drop of {drop:g}; give a smaller --max-drop")
    return float(chance)


def turned(drops: Drops, chance: float, random: np.random.Generator) -> Drops:
    """Return the differences with the answers of the two models swapped on random images."""
    sums = np.bincount(drops.images, weights=drops.values)
    worse = np.where(random.random(len(sums)) < chance, 1.0, -1.0)
    return Drops(drops.values * (worse * np.where(sums < 0.0, -1.0, 1.0))[drops.images], drops.images, drops.reach)


def redrawn(drops: Drops, random: np.random.Generator) -> Drops:
    """Return as many images, drawn with replacement."""
    sizes = np.bincount(drops.images)
    places = np.split(np.argsort(drops.images, kind="stable"), np.cumsum(sizes)[:-1])
    chosen = random.choice(len(places), len(places))
    numbers = np.repeat(np.arange(len(chosen)), sizes[chosen])
    return Drops(drops.values[np.concatenate([places[image] for image in chosen])], numbers, drops.reach)


def replay(drops: Drops, estimand: str, runs: int, drop: float, max_drop: float) -> Line:
    """Check the same differences in ``runs`` random orders, for a population with images drawn anew.

    A benchmark whose drop came out a little other than ``drop`` is checked against a limit moved by as much.
    """
    random, chance = np.random.default_rng(0), chance_of(drops, drop)

    def checked() -> tuple[int, float, float]:
        if estimand == "population":
            return turned(redrawn(drops, random), chance, random).checked(estimand, max_drop, random)
        now = turned(drops, chance, random)
        return now.checked(estimand, max_drop + float(now.values.mean()) - drop, random)

    return line(checked() for _ in range(runs))


def show_results(drops: Drops, about: str, estimands: Sequence[str], runs: int, max_drop: float) -> None:
    """Print a line for each estimand."""
    print(f"{about}, a drop of {drops.values.mean():.4f}; max_drop {max_drop}, alpha {ALPHA}, {runs} runs a line")
    print(f"estimand    {HEADS} (images)   2.5 max_drop: found, samples (images)")
    for estimand in estimands:
        alarm, same, worse = (replay(drops, estimand, runs, by * max_drop, max_drop) for by in (1.0, 0.0, 2.5))
        found = f"{worse.regressed:20.1%} {worse.median:8.0%} ({worse.images:.0%})"
        print(f"{estimand:10} {shown(alarm, same, runs)} ({same.images:.0%}) {found}", flush=True)


def main() -> None:
    """Print a table for each estimand; false alarms are of a drop that is exactly what is tolerated."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000, help="of each line")
    parser.add_argument("--estimand", choices=("population", "benchmark"), help="default: both")
    parser.add_argument("--captions", type=int, default=1, help="samples of an image")
    parser.add_argument("--alike", type=float, default=0.0, help="share of images whose samples fare alike")
    parser.add_argument("--results", type=Path, nargs=2, metavar="FOLDER", help="real results to replay")
    parser.add_argument("--metric", help="of --results; default: their primary one")
    parser.add_argument("--max-drop", type=float, default=MAX_DROP, help="of --results")
    given = parser.parse_args()
    estimands = (given.estimand,) if given.estimand else ("population", "benchmark")
    if given.results:
        show_results(*paired(*given.results, given.metric), estimands, given.runs, given.max_drop)
        return
    runs, cluster = given.runs, (given.captions, given.alike)
    of = "" if given.captions == 1 else f", {given.captions} an image, alike in {given.alike:.0%} of them"
    print(f"{SAMPLES} samples{of}, max_drop {MAX_DROP}, alpha {ALPHA}, {runs} runs a line")
    print(f"estimand    differ   {HEADS}   5 points: found, samples")
    for estimand in estimands:
        for differing in DIFFERING:
            alarm = simulate(Pair(MAX_DROP, max(differing, MAX_DROP), *cluster), estimand, runs)
            same = simulate(Pair(0.0, differing, *cluster), estimand, runs)
            found = ""
            if differing >= 0.05:
                worse = simulate(Pair(0.05, differing, *cluster), estimand, runs)
                found = f"{worse.regressed:17.1%} {worse.median:8.0%}"
            print(f"{estimand:10} {differing:7.0%} {shown(alarm, same, runs)}{found}", flush=True)


if __name__ == "__main__":
    main()
