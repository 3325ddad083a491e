"""The limit of the scheduler itself: workers whose device is a sleep of fixed length, so that they need no core.

Usage: ``python benchmarks/ray_scaling.py [--engines local,ray] [--batches N] [--milliseconds T]``, by default 400
batches of 20 ms. For 1, 2 and 4 workers, as processes of this machine and as actors of Ray: time of all batches after
all workers have joined, what it would be without any overhead, batches a second, and what each batch and each lease
costs a worker beyond the sleep. The first line is the same device in the driver's own process, which takes no leases.
It says nothing about how a real model scales on cores that workers share.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import vlbench
from vlbench.adapter import LoadOptions
from vlbench.plugins import load_plugins
from vlbench.resolve import resolve_model
from vlbench.runner.crew import Processes
from vlbench.runner.devices import workers
from vlbench.runner.engine import LocalEngine
from vlbench.runner.leased import LeasedEngine
from vlbench.runner.options import RunOptions
from vlbench.runner.plan import plan
from vlbench.runner.progress import Silent
from vlbench.runner.ray_crew import RayCrew, connect, import_ray
from vlbench.types import EmbedText

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vlbench.runner.engine import Engine
    from vlbench.runner.plan import Batch

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


class Counted:
    """Counts the leases that a crew is given."""

    leases = 0

    def send(self, worker: int, batches: Sequence[Batch]) -> None:
        """Count and give the lease."""
        self.leases += 1
        super().send(worker, batches)  # type: ignore[misc]


class CountedProcesses(Counted, Processes):
    """Processes, and how many leases they were given."""


class CountedActors(Counted, RayCrew):
    """Actors, and how many leases they were given."""


def timed(engine: Engine, count: int) -> float:
    """Return the seconds that ``count`` batches take."""
    batches = plan([EmbedText(f"text {i}") for i in range(BATCH_SIZE * count)], lambda _: BATCH_SIZE)
    started = time.perf_counter()
    assert len(list(engine.run(batches))) == count
    return time.perf_counter() - started


def show(name: str, size: int, leases: int, took: float, count: int, seconds: float) -> None:
    """Print a line."""
    ideal = -(-count // size) * seconds
    beyond = 1000 * (took - ideal) * size
    lease = f"{beyond / leases:12.2f}" if leases else f"{'-':>12}"
    print(f"{name:12}{size:8}{took:10.2f}{ideal:10.2f}{count / took:11.1f}{beyond / count:12.2f}{lease}", flush=True)


def main() -> None:
    """Print one line for each engine and number of workers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engines", default="local,ray")
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--milliseconds", type=float, default=20.0)
    given = parser.parse_args()
    seconds = given.milliseconds / 1000
    os.environ[SECONDS] = str(seconds)
    plugins = load_plugins([__file__])
    kind = resolve_model("sleeper", plugins, {}).adapter
    print(f"{given.batches} batches of {BATCH_SIZE} requests, {given.milliseconds:g} ms each")
    print(f"{'engine':12}{'workers':>8}{'seconds':>10}{'at least':>10}{'batches/s':>11}", end="")
    print(f"{'ms a batch':>12}{'ms a lease':>12}")
    show("one process", 1, 0, timed(LocalEngine(kind(LoadOptions())), given.batches), given.batches, seconds)
    for name in given.engines.split(","):
        if name == "ray":
            connect(max(WORKERS))
        for size in WORKERS:
            each = workers("sleeper", LoadOptions(), RunOptions(), plugins, ["cpu"] * size)
            crew = CountedActors(each) if name == "ray" else CountedProcesses(each)
            engine = LeasedEngine(crew, kind, Silent())
            while engine.joined < size:
                list(engine.run(plan([EmbedText(f"warm {time.monotonic()}")], lambda _: 1)))
            crew.leases = 0
            took = timed(engine, given.batches)
            show(name, size, crew.leases, took, given.batches, seconds)
            engine.close()
    if import_ray().is_initialized():
        import_ray().shutdown()


if __name__ == "__main__":
    main()
