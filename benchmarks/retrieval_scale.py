"""Exact ranks over a large gallery: vlbench against a bare tiled product with top-k, in time and peak memory.

Usage: ``python benchmarks/retrieval_scale.py [--images N] [--texts M] [--dim D] [--strip ELEMENTS] [--keep FOLDER]``.
Unit vectors are drawn into a temporary folder (or ``--keep``, to be used again) and mapped into memory by each method,
in a process of its own. ``bare`` finds the ten best items of each query and their recall, nothing else: no rank, no
ties. It is the least that any implementation must do. Both go in both directions. Peak memory is the resident set,
which counts the mapped pages of the vectors.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

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


def vlbench(images: np.ndarray, texts: np.ndarray, strip: int) -> dict[str, float]:
    """Rank exactly, with ties in expectation."""
    from vlbench.metrics.retrieval import retrieval_ranks

    of_text = owners(len(images), len(texts))
    bounds = np.searchsorted(of_text, np.arange(len(images) + 1)).tolist()
    captions = [range(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]
    i2t = retrieval_ranks(images, texts, captions, elements=strip)
    t2i = retrieval_ranks(texts, images, of_text[:, None], elements=strip)
    return {f"{name} R@{K}": float(ranks.hits(K).mean()) for name, ranks in (("i2t", i2t), ("t2i", t2i))}


def bare(images: np.ndarray, texts: np.ndarray, strip: int) -> dict[str, float]:
    """Multiply strip by strip and keep the ten best."""
    of_text = owners(len(images), len(texts))

    def best(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
        found = np.empty((len(queries), K), dtype=np.int64)
        block = max(1, strip // len(gallery))
        scores = np.empty((block, len(gallery)), dtype=np.float32)
        for start in range(0, len(queries), block):
            part = queries[start : start + block]
            np.matmul(part, gallery.T, out=scores[: len(part)])
            found[start : start + block] = np.argpartition(scores[: len(part)], -K, axis=1)[:, -K:]
        return found

    i2t = (of_text[best(images, texts)] == np.arange(len(images))[:, None]).any(axis=1)
    t2i = (best(texts, images) == of_text[:, None]).any(axis=1)
    return {f"i2t R@{K}": float(i2t.mean()), f"t2i R@{K}": float(t2i.mean())}


def measure(method: str, folder: Path, strip: int) -> None:
    """Run one method in this process and print what it took as JSON."""
    images, texts = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "texts"))
    started = time.perf_counter()
    recalls = {"vlbench": vlbench, "bare": bare}[method](images, texts, strip)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "peak GiB": peak, **recalls}))


def main() -> int:
    """Measure both methods in turn; return 1 if their recalls differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--strip", type=int, default=1 << 24, help="scores held at once")
    parser.add_argument("--keep", type=Path, help="folder of vectors to write, or to use again")
    parser.add_argument("--method", choices=("vlbench", "bare"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.method:
        measure(given.method, given.keep, given.strip)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "texts.npy").is_file():
            draw(folder, given.images, given.texts, given.dim)
        shapes = {name: np.load(folder / f"{name}.npy", mmap_mode="r").shape for name in ("images", "texts")}
        print(f"{shapes['images'][0]} images x {shapes['texts'][0]} texts, dimension {shapes['images'][1]}, float32")
        return compare(folder, given.strip)


def compare(folder: Path, strip: int) -> int:
    """Print one line a method."""
    made = {}
    columns = ("seconds", "peak GiB", f"i2t R@{K}", f"t2i R@{K}")
    print("method  " + "".join(f"{name:>12}" for name in columns))
    for method in ("bare", "vlbench"):
        command = [sys.executable, __file__, "--method", method, "--keep", str(folder), "--strip", str(strip)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        made[method] = json.loads(done.stdout)
        cells = (f"{made[method][name]:12.{1 if name == 'seconds' else 4}f}" for name in columns)
        print(f"{method:8}" + "".join(cells), flush=True)
    print(f"vlbench takes {made['vlbench']['seconds'] / made['bare']['seconds']:.2f} times as long as the bare product")
    # Products of other shapes round differently, so that a near tie may fall either way.
    return int(any(abs(made["vlbench"][name] - made["bare"][name]) > 1e-3 for name in columns[2:]))


if __name__ == "__main__":
    sys.exit(main())
