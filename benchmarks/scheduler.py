"""The scheduler's own limit: workers whose device is a sleep of fixed length, so that they need no core.

Usage: ``python benchmarks/scheduler.py [BATCHES] [MILLISECONDS]``, by default 200 and 20. For 1 (in the
driver's process), 2 and 4 workers: time of all batches after the workers have joined, what it
would be without any overhead, and the overhead a batch and worker. It says nothing about how a real model scales on
shared cores.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import vlbench
from vlbench.adapter import LoadOptions
from vlbench.plugins import load_plugins
from vlbench.resolve import resolve_model
from vlbench.runner.devices import open_engine
from vlbench.runner.leased import LeasedEngine
from vlbench.runner.options import RunOptions
from vlbench.runner.plan import plan
from vlbench.runner.progress import Silent
from vlbench.types import EmbedText

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WORKERS = (1, 2, 4)
BATCH_SIZE = 16
SECONDS = "SLEEPER_SECONDS"


class Sleeper(vlbench.Adapter):
    """A device of fixed latency."""

    def embed_texts(self, texts: Sequence[Any]) -> np.ndarray:
        """Sleep, then return zeros."""
        time.sleep(float(os.environ[SECONDS]))
        return np.zeros((len(texts), 512), dtype=np.float32)


@vlbench.hookimpl
def vlbench_register_models() -> Iterable[vlbench.ModelSpec]:
    """Register the sleeper: this file is its own plugin."""
    return [vlbench.ModelSpec("sleeper", "a device of fixed latency", Sleeper)]


def main() -> None:
    """Print one line for each number of workers."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seconds = float(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0.02
    os.environ[SECONDS] = str(seconds)
    plugins = load_plugins([__file__])
    adapter = resolve_model("sleeper", plugins, {}).adapter
    print(f"{count} batches of {BATCH_SIZE} requests, {1000 * seconds:.0f} ms each")
    print(f"{'workers':>7} {'seconds':>8} {'without overhead':>16} {'overhead a batch, ms':>21}")
    for workers in WORKERS:
        options = RunOptions(device=",".join(["cpu"] * workers))
        engine, _ = open_engine("sleeper", adapter, LoadOptions(), options, plugins, Silent())
        turn = 0
        while isinstance(engine, LeasedEngine) and engine.joined < workers:
            list(engine.run(plan([EmbedText(f"warm {turn}")], lambda _: 1)))
            turn += 1
        batches = plan([EmbedText(f"text {i}") for i in range(BATCH_SIZE * count)], lambda _: BATCH_SIZE)
        started = time.perf_counter()
        done = len(list(engine.run(batches)))
        took = time.perf_counter() - started
        engine.close()
        ideal = -(-done // workers) * seconds
        print(f"{workers:7} {took:8.2f} {ideal:16.2f} {1000 * (took - ideal) * workers / done:21.2f}", flush=True)


if __name__ == "__main__":
    main()
