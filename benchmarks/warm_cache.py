"""A run whose answers are all in the cache, against the same run with an empty one: wall time and equality.

Usage: ``python benchmarks/warm_cache.py [--repeats N] [--] [OPTIONS OF vlbench run]``, by default the bundled model on
``coco_retrieval``. Each repeat is a cold and a warm run with a cache folder of their own, in new processes: imports,
loading, hashing of images, scoring and intervals are in both. The bound (5 %) is for cold runs of 300 s or more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BOUND = 0.05
LONG_SECONDS = 300.0
LEFT_OUT = ("run_id", "created", "cost", "environment", "command")


def timed(cache: Path, output: Path, options: list[str]) -> tuple[float, list[dict[str, Any]]]:
    """Run ``vlbench run`` with the cache in ``cache``; return seconds and its results."""
    command = [sys.executable, "-m", "vlbench", "run", *options, "--output", str(output), "--json"]
    environment = {**os.environ, "VLBENCH_CACHE": str(cache)}
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - started, json.loads(done.stdout)


def main() -> int:
    """Print one table; return 1 if a result differs, or if a long run misses the bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("options", nargs="*", default=["--tasks", "coco_retrieval"])
    given = parser.parse_args()
    cold, warm, cached, equal = [], [], [], True
    with tempfile.TemporaryDirectory() as place:
        from vlbench.data.scenes.cache import ensure

        cache = Path(place) / "cache"
        cache.mkdir()
        # Without it the bundled benchmark would be drawn again, which is no part of a run's time.
        scenes = ensure()
        (cache / scenes.name).symlink_to(scenes)
        for turn in range(given.repeats):
            subprocess.run(
                [sys.executable, "-m", "vlbench", "cache", "clear"],
                env={**os.environ, "VLBENCH_CACHE": str(cache)},
                check=True,
                stdout=subprocess.DEVNULL,
            )
            runs = [timed(cache, Path(place) / f"{turn}-{name}", given.options) for name in ("cold", "warm")]
            cold.append(runs[0][0])
            warm.append(runs[1][0])
            one, other = ([{k: v for k, v in r.items() if k not in LEFT_OUT} for r in run[1]] for run in runs)
            equal &= one == other
            cached += [r["cost"]["requests_cached"] / max(1, sum_requests(r)) for r in runs[1][1]]
    print(f"{given.repeats} repeats of vlbench run {' '.join(given.options)}")
    print(f"{'':6}{'median s':>10}{'min':>9}{'max':>9}")
    for name, values in (("cold", cold), ("warm", warm)):
        print(f"{name:6}{statistics.median(values):10.2f}{min(values):9.2f}{max(values):9.2f}")
    share = statistics.median(warm) / statistics.median(cold)
    long = statistics.median(cold) >= LONG_SECONDS
    bound = f"bound {BOUND:.0%}" if long else f"the bound of {BOUND:.0%} is for cold runs from {LONG_SECONDS:.0f} s"
    print(f"warm takes {share:.1%} of cold ({bound}); {min(cached):.0%} from the cache; results equal: {equal}")
    return int(not equal or (long and share > BOUND))


def sum_requests(result: dict[str, Any]) -> int:
    """Return the number of requests of the run of ``result``, however they were answered."""
    return sum(result["cost"][f"requests_{kind}"] for kind in ("computed", "replayed", "cached"))


if __name__ == "__main__":
    sys.exit(main())
