"""Print how often the 95 % intervals hold the true value, over simulated data sets.

Usage: python benchmarks/coverage.py [draws of data sets, default 1000]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from vlbench.stats.bootstrap import intervals
from vlbench.types import SampleRow

IMAGES = 300
BOOTSTRAP = 500


def accuracy(random: np.random.Generator) -> tuple[list[SampleRow], str, float]:
    """1 to 6 questions an image, right with a chance that belongs to the image: Beta(4, 2), whose mean is 2/3."""
    chances, sizes = random.beta(4, 2, IMAGES), random.integers(1, 7, IMAGES)
    rows = [
        SampleRow(f"{i}-{j}", str(i), "", "ok", {"accuracy": float(random.random() < chance)})
        for i, (chance, size) in enumerate(zip(chances, sizes, strict=True))
        for j in range(size)
    ]
    return rows, "accuracy", 2 / 3


def recall(random: np.random.Generator) -> tuple[list[SampleRow], str, float]:
    """Five captions an image as queries, found with a chance that belongs to the image: Beta(1, 2), mean 1/3."""
    name = "text_to_image_recall@1"
    rows = [
        SampleRow(f"{i}-{j}", str(i), "", "ok", {name: float(random.random() < chance)})
        for i, chance in enumerate(random.beta(1, 2, IMAGES))
        for j in range(5)
    ]
    return rows, name, 1 / 3


def cider(random: np.random.Generator) -> tuple[list[SampleRow], str, float]:
    """One skewed score an image, as CIDEr under fixed document frequencies is: Gamma(1.5, 0.7), mean 1.05."""
    scores = random.gamma(1.5, 0.7, IMAGES).tolist()
    return [SampleRow(str(i), str(i), "", "ok", {"CIDEr": score}) for i, score in enumerate(scores)], "CIDEr", 1.05


def coverage(simulate, data_sets: int, seed: int = 0) -> float:  # type: ignore[no-untyped-def]
    """Return the share of data sets whose interval holds the true value."""
    held = 0
    for number in range(data_sets):
        rows, name, truth = simulate(np.random.default_rng((seed, number)))
        value = float(np.mean([row.scores[name] for row in rows]))
        low, high = intervals(rows, {name: value}, BOOTSTRAP, str(number))[name]
        held += low <= truth <= high
    return held / data_sets


def main() -> None:
    """Print one line a metric."""
    data_sets = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{IMAGES} images, {data_sets} data sets, {BOOTSTRAP} draws each")
    for simulate in (accuracy, recall, cider):
        started = time.perf_counter()
        held = coverage(simulate, data_sets)
        print(f"{simulate.__name__:10} {held:7.1%}  ({time.perf_counter() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
