"""Exact ranks of both directions: vlbench against a bare tiled product with top-k, in time and peak memory.

Usage: ``python benchmarks/retrieval_scale.py [--images N] [--texts M] [--dim D] [--repeats R] [--keep FOLDER] [--only
METHOD]``. Unit vectors are drawn into a temporary folder (or ``--keep``, to be used again) and mapped into memory by
each method, in a process of its own. ``bare`` does for one direction after the other what a hand-written loop does: it
multiplies a strip and takes ``torch.topk`` of it for the ten best items of each query and their recall, nothing else:
no rank, no ties, no check for equal vectors. Peak memory is the resident set, which counts the mapped pages of the
vectors; both have torch imported, as a run has, which is not timed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlbench.metrics.both_ways import search_both
from vlbench.metrics.retrieval import strip_queries

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


def vlbench(images: np.ndarray, texts: np.ndarray, of_text: np.ndarray) -> tuple[float, float]:
    """Rank exactly, with ties in expectation."""
    bounds = np.searchsorted(of_text, np.arange(len(images) + 1)).tolist()
    captions_of = [range(a, b) for a, b in itertools.pairwise(bounds)]
    found = search_both(images, texts, captions_of, [(owner,) for owner in of_text.tolist()])
    return float(found[0].ranks.hits(K).mean()), float(found[1].ranks.hits(K).mean())


def bare(images: np.ndarray, texts: np.ndarray, of_text: np.ndarray) -> tuple[float, float]:
    """Multiply strip by strip and keep the ten best, one direction after the other."""
    best = torch.from_numpy(of_text)[_ten_best(images, texts)]
    found = (best == torch.arange(len(images))[:, None]).any(dim=1)
    back = (_ten_best(texts, images) == torch.from_numpy(of_text)[:, None]).any(dim=1)
    return float(found.double().mean()), float(back.double().mean())


def _ten_best(queries: np.ndarray, gallery: np.ndarray) -> torch.Tensor:
    """Return the ten best items of each query, with both cores and buffers that are used again."""
    columns, rows = torch.from_numpy(gallery).T, torch.from_numpy(queries)
    block = strip_queries(len(gallery))
    scores = torch.empty((block, len(gallery)))
    found = torch.empty((len(queries), K), dtype=torch.int64)
    for start in range(0, len(queries), block):
        part = rows[start : start + block]
        torch.mm(part, columns, out=scores[: len(part)])
        found[start : start + len(part)] = torch.topk(scores[: len(part)], K, dim=1).indices
    return found


def measure(folder: Path, method: str) -> None:
    """Run one method in this process and print what it took as JSON."""
    # "c" gives arrays that may be written, as torch asks; no page is.
    images, texts = (np.load(folder / f"{name}.npy", mmap_mode="c") for name in ("images", "texts"))
    of_text = owners(len(images), len(texts))
    started = time.perf_counter()
    recalls = METHODS[method](images, texts, of_text)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "peak": peak, "recalls": recalls}))


METHODS = {"bare": bare, "vlbench": vlbench}


def measured(folder: Path, method: str) -> dict[str, Any]:
    """Return seconds, peak and both recalls of a method, in a process of its own."""
    command = [sys.executable, __file__, "--keep", str(folder), "--measure", method]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    made: dict[str, Any] = json.loads(output)
    return made


def main() -> int:
    """Measure in turn; return 1 if recalls differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="folder of vectors to write, or to use again")
    parser.add_argument("--only", choices=tuple(METHODS), help="one method, without comparison")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.keep, given.measure)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "texts.npy").is_file():
            draw(folder, given.images, given.texts, given.dim)
        shapes = {name: np.load(folder / f"{name}.npy", mmap_mode="r").shape for name in ("images", "texts")}
        print(f"{shapes['images'][0]} images x {shapes['texts'][0]} texts, dimension {shapes['images'][1]}, float32")
        return compare(folder, [given.only] if given.only else list(METHODS), given.repeats)


def compare(folder: Path, methods: list[str], repeats: int) -> int:
    """Print one line for each method of each repeat, and the ratios of their times."""
    print("method     seconds  peak GiB  R@10 image to text  text to image")
    ratios, same = [], True
    for _ in range(repeats):
        made = {method: measured(folder, method) for method in methods}
        for method, one in made.items():
            there, back = one["recalls"]
            print(f"{method:8}{one['seconds']:10.1f}{one['peak']:10.2f}{there:20.4f}{back:15.4f}", flush=True)
        # Products of other shapes round differently, so that a near tie may fall either way.
        same &= bool(np.ptp([one["recalls"] for one in made.values()], axis=0).max() <= 1e-3)
        if len(methods) == 2:
            ratios.append(made["vlbench"]["seconds"] / made["bare"]["seconds"])
    if ratios:
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"vlbench takes {statistics.median(ratios):.2f} times as long as the bare product ({spread})")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
