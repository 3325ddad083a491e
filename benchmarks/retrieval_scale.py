"""Exact ranks over a large gallery: vlbench against a bare tiled product with top-k, in time and peak memory.

Usage: ``python benchmarks/retrieval_scale.py [--images N] [--texts M] [--dim D] [--repeats R] [--keep FOLDER] [--only
METHOD] [--part QUERIES]``. Unit vectors are drawn into a temporary folder (or ``--keep``, to be used again) and
mapped into memory by each method, in a process of its own for each direction. ``bare`` multiplies a strip and takes
``torch.topk`` of it for the ten best items of each query and their recall, nothing else: no rank, no ties, no check
for equal vectors. It is the least that any implementation must do. Peak memory is the resident set, which counts the
mapped pages of the vectors; both have torch imported, as a run has, which is not timed.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vlbench.metrics.retrieval import retrieval_ranks, strip_queries

if TYPE_CHECKING:
    from collections.abc import Sequence

K = 10
NOISE = 0.35
ROWS_DRAWN = 1 << 14


def draw(folder: Path, images: int, texts: int, dim: int) -> None:
    """Write unit vectors: a text is its image with noise; consecutive texts belong to one image."""
    random = np.random.default_rng(0)
    shapes = {"images": (images, dim), "texts": (texts, dim)}
    maps = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, shape)
        for name, shape in shapes.items()
    }
    for name, vectors in maps.items():
        for start in range(0, len(vectors), ROWS_DRAWN):
            rows = random.standard_normal((min(ROWS_DRAWN, len(vectors) - start), dim), dtype=np.float32)
            if name == "texts":
                own = np.arange(start, start + len(rows)) * images // texts
                rows = maps["images"][own] + NOISE * rows
            vectors[start : start + len(rows)] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        vectors.flush()


def owners(images: int, texts: int) -> np.ndarray:
    """Return the number of the image of each text."""
    return np.arange(texts) * images // texts


def vlbench(queries: np.ndarray, gallery: np.ndarray, positives: Sequence[Sequence[int]]) -> float:
    """Rank exactly, with ties in expectation."""
    return float(retrieval_ranks(queries, gallery, positives).hits(K).mean())


def bare(queries: np.ndarray, gallery: np.ndarray, positives: Sequence[Sequence[int]]) -> float:
    """Multiply strip by strip and keep the ten best, with both cores and buffers that are used again."""
    columns, rows = torch.from_numpy(gallery).T, torch.from_numpy(queries)
    block = strip_queries(len(gallery))
    scores = torch.empty((block, len(gallery)))
    found = torch.empty((len(queries), K), dtype=torch.int64)
    for start in range(0, len(queries), block):
        part = rows[start : start + block]
        torch.mm(part, columns, out=scores[: len(part)])
        found[start : start + len(part)] = torch.topk(scores[: len(part)], K, dim=1).indices
    return sum(not set(right).isdisjoint(best) for right, best in zip(positives, found.tolist(), strict=True)) / len(
        rows
    )


def measure(folder: Path, method: str, direction: str, start: int, stop: int) -> None:
    """Run one method over some queries of one direction in this process and print what it took as JSON."""
    # "c" gives arrays that may be written, as torch asks; no page is.
    images, texts = (np.load(folder / f"{name}.npy", mmap_mode="c") for name in ("images", "texts"))
    of_text = owners(len(images), len(texts))
    started = time.perf_counter()
    if direction == "i2t":
        bounds = np.searchsorted(of_text, np.arange(start, stop + 1)).tolist()
        positives = [range(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]
        recall = METHODS[method](images[start:stop], texts, positives)
    else:
        recall = METHODS[method](texts[start:stop], images, [[owner] for owner in of_text[start:stop].tolist()])
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "peak": peak, "recall": recall}))


METHODS = {"bare": bare, "vlbench": vlbench}


class Parts:
    """Measurements of parts of the queries, each in a process of its own; those in the file are not made again."""

    def __init__(self, folder: Path, size: int | None, kept: bool) -> None:
        """Take all queries at once where ``size`` is None."""
        self._folder, self._size = folder, size
        self._file = folder / "parts.jsonl" if kept else None
        lines = self._file.read_text().splitlines() if self._file and self._file.exists() else []
        self._made: dict[tuple[Any, ...], dict[str, float]] = {tuple(key): made for key, made in map(json.loads, lines)}

    def measured(self, method: str, direction: str, repeat: int) -> dict[str, float]:
        """Return seconds of all parts together, the largest peak, and recall."""
        name = {"i2t": "images", "t2i": "texts"}[direction]
        queries = len(np.load(self._folder / f"{name}.npy", mmap_mode="r"))
        size = self._size or queries
        made = [
            self._part(method, direction, repeat, start, min(start + size, queries))
            for start in range(0, queries, size)
        ]
        hits = sum(one["recall"] * one["queries"] for one in made)
        peak = max(one["peak"] for one in made)
        return {"seconds": sum(one["seconds"] for one in made), "peak": peak, "recall": hits / queries}

    def _part(self, method: str, direction: str, repeat: int, start: int, stop: int) -> dict[str, float]:
        key = (method, direction, repeat, start, stop)
        if key not in self._made:
            command = [sys.executable, __file__, "--keep", str(self._folder)]
            command += ["--measure", method, direction, str(start), str(stop)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            self._made[key] = {**json.loads(output), "queries": stop - start}
            if self._file:
                with self._file.open("a") as file:
                    file.write(json.dumps([key, self._made[key]]) + "\n")
        return self._made[key]


def main() -> int:
    """Measure in turn; return 1 if recalls differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="folder of vectors to write, or to use again")
    parser.add_argument("--only", choices=tuple(METHODS), help="one method, without comparison")
    parser.add_argument("--part", type=int, help="queries a process; with --keep, a broken run goes on where it was")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        method, direction, *bounds = given.measure
        measure(given.keep, method, direction, *map(int, bounds))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "texts.npy").is_file():
            draw(folder, given.images, given.texts, given.dim)
        shapes = {name: np.load(folder / f"{name}.npy", mmap_mode="r").shape for name in ("images", "texts")}
        print(f"{shapes['images'][0]} images x {shapes['texts'][0]} texts, dimension {shapes['images'][1]}, float32")
        parts = Parts(folder, given.part, kept=given.part is not None and given.keep is not None)
        return compare(parts, [given.only] if given.only else list(METHODS), given.repeats)


def compare(parts: Parts, methods: list[str], repeats: int) -> int:
    """Print one line for each method and direction of each repeat, and the ratios of the times of both directions."""
    print("method  direction   seconds  peak GiB      R@10")
    ratios, same = [], True
    for repeat in range(repeats):
        total = dict.fromkeys(methods, 0.0)
        for direction in ("i2t", "t2i"):
            recalls = []
            for method in methods:
                made = parts.measured(method, direction, repeat)
                print(
                    f"{method:8}{direction:9}{made['seconds']:10.1f}{made['peak']:10.2f}{made['recall']:10.4f}",
                    flush=True,
                )
                total[method] += made["seconds"]
                recalls.append(made["recall"])
            # Products of other shapes round differently, so that a near tie may fall either way.
            same &= max(recalls) - min(recalls) <= 1e-3
        if len(methods) == 2:
            ratios.append(total["vlbench"] / total["bare"])
    if ratios:
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"vlbench takes {statistics.median(ratios):.2f} times as long as the bare product ({spread})")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
