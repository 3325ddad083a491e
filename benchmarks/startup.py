"""Start-up time of the command line, as a ratio to an empty interpreter in the same run.

Usage: ``python benchmarks/startup.py [REPEATS]``. Prints medians over interleaved runs and ratios with their bounds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": (["-c", "pass"], None),
    "vlbench --help": (["-m", "vlbench", "--help"], 15.0),
    "vlbench list models": (["-m", "vlbench", "list", "models"], 20.0),
}


def main() -> int:
    """Time each command in turn, many times; return 1 if a ratio passes its bound."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(repeats + 1):
        for name, (arguments, _) in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            if turn:  # the first turn warms the disk cache
                seconds[name].append(time.perf_counter() - started)
    base = statistics.median(seconds["python -c pass"])
    failed = False
    print(f"{'command':22} {'median ms':>10} {'min':>7} {'max':>7} {'ratio':>7} {'bound':>6}")
    for name, (_, bound) in COMMANDS.items():
        values = [1000 * s for s in seconds[name]]
        ratio = statistics.median(values) / (1000 * base)
        failed |= bound is not None and ratio > bound
        limit = "" if bound is None else f"{bound:.0f}"
        row = f"{statistics.median(values):10.1f} {min(values):7.1f} {max(values):7.1f} {ratio:7.1f} {limit:>6}"
        print(f"{name:22} {row}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
