"""Random ``kill -9`` of drivers and workers: each run must end with the results of an undisturbed one.

Usage: ``python benchmarks/kills.py [--kills N] [--limit N] [--seed N] [--engines alone,workers,ray]``, by default 50
kills of runs of all five tasks over 64 samples each of the bundled scenes, in turn in one process, with two worker
processes and with two workers on Ray. Which process is struck, and when, is drawn by the seed: while the model loads,
after the n-th batch was journalled, or while scores are computed. A run whose driver was killed is finished by the same
command; one that lost a worker must finish by itself. A model that writes down each of its calls tells how many
requests were computed more than once: at most one batch for each kill and worker. Exits with 1 if a result differs or
more was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

import vlbench
from vlbench.adapter import CAPABILITIES
from vlbench.adapters.builtin import Builtin
from vlbench.runner.store import MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

BATCH_SIZE = 16
WORKERS = 2
CALLS = "KILLS_CALLS"
"""Environment variable: the file into which calls are written."""
SHARED = ("model", "task", "signature", "settings", "samples", "metrics")
EDGE = 0.1
"""Share of the kills that fall into the time before the first batch, and of those after the last."""
EDGE_SECONDS = 3.0
POLL_SECONDS = 0.005


def _counted(capability: str) -> Callable[[Any, Sequence[Any]], Any]:
    def call(self: Any, items: Sequence[Any]) -> Any:
        with Path(os.environ[CALLS]).open("a") as file:
            file.write(f"{len(items)}\n")
        return getattr(super(Counted, self), capability)(items)

    return call


class Counted(Builtin):
    """The bundled model, which writes down how many requests each call has."""


for _capability in CAPABILITIES:
    setattr(Counted, _capability, _counted(_capability))


@vlbench.hookimpl
def vlbench_register_models() -> Iterable[vlbench.ModelSpec]:
    """Register the model: this file is its own plugin."""
    return [vlbench.ModelSpec("counted", "vlbench-tiny, its calls written down", Counted, "vlbench-tiny")]


@dataclass(frozen=True)
class Case:
    """One run: its engine, its folder, and the command that starts and finishes it."""

    engine: str
    folder: Path
    limit: int

    @property
    def output(self) -> Path:
        """Where results go."""
        return self.folder / "results"

    def start(self) -> subprocess.Popen[str]:
        """Start the run in a process of its own; what it says goes into a file."""
        run = [sys.executable, "-m", "vlbench", "run", "--plugin", __file__, "--model", "counted", "--json"]
        run += [
            "--no-cache",
            "--limit",
            str(self.limit),
            "--bootstrap",
            "0",
            "--device",
            "cpu",
            "--batch-size",
            str(BATCH_SIZE),
        ]
        run += ["--output", str(self.output)]
        if self.engine != "alone":
            run += ["--num-workers", str(WORKERS), "--engine", {"workers": "local"}.get(self.engine, self.engine)]
        with (self.folder / "out").open("w") as out, (self.folder / "err").open("w") as err:
            return subprocess.Popen(run, stdout=out, stderr=err, text=True, env={**os.environ, CALLS: str(self.calls)})

    @property
    def calls(self) -> Path:
        """Where the model writes its calls."""
        return self.folder / "calls"

    def computed(self) -> int:
        """Return the requests that all processes of this run have begun to compute."""
        return sum(map(int, self.calls.read_text().split()))

    def outcome(self) -> tuple[list[Any], list[Any]]:
        """Return what must be equal to the bit: results but for times and counters, and the rows of samples."""
        results = [[result[name] for name in SHARED] for result in json.loads((self.folder / "out").read_text())]
        tables = sorted(self.output.glob("*.samples.parquet"))
        return results, [(table.name, pq.read_table(table).to_pylist()) for table in tables]


class Journal:
    """Counts the batches in the journal of a run under way."""

    def __init__(self, output: Path) -> None:
        self._folder = output / ".journal"
        self._read = self._records = 0

    def batches(self) -> int:
        """Return how many batches are there; the first record is the header."""
        for path in self._folder.glob("*.records"):
            with path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
            self._records += data.count(MARK)
            # A mark may be cut by the end of what was read.
            self._read += max(0, len(data) - len(MARK) + 1)
            self._records -= data[max(0, len(data) - len(MARK) + 1) :].count(MARK)
        return max(0, self._records - 1)


def helpers(driver: int) -> list[int]:
    """Return the worker processes below ``driver``: spawned ones, and actors of Ray."""
    found, waiting = [], [driver]
    while waiting:
        pid = waiting.pop()
        try:
            waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"spawn_main" in line or line.startswith(b"ray::_Actor"):
            found.append(pid)
    return sorted(found)


@dataclass(frozen=True)
class Blow:
    """When and whom to strike: ``place`` counts batches; below 0 is before the first, above ``batches`` scoring."""

    place: float
    at_worker: bool
    which: float
    batches: int

    def wait(self, process: subprocess.Popen[str], journal: Journal) -> None:
        """Return when the moment has come, or the run has ended."""
        wanted = min(max(0, int(self.place)), self.batches)
        while self.place >= 0 and process.poll() is None and journal.batches() < wanted:
            time.sleep(POLL_SECONDS)
        beyond = self.place < 0 or self.place > self.batches
        time.sleep(abs(self.place) % 1 * (EDGE_SECONDS if beyond else 2 * POLL_SECONDS))

    def strike(self, process: subprocess.Popen[str]) -> str:
        """Kill; return who it was, or an empty string where the run had ended."""
        crew = helpers(process.pid) if self.at_worker else []
        target = crew[int(self.which * len(crew))] if crew else process.pid
        if process.poll() is not None:
            return ""
        try:
            os.kill(target, signal.SIGKILL)
        except ProcessLookupError:
            return ""
        return "worker" if crew else "driver"


def draw(moments: random.Random, batches: int, engine: str) -> Blow:
    """Draw a blow; nine of ten fall while batches are computed."""
    place = moments.uniform(-EDGE * batches, (1 + EDGE) * batches)
    return Blow(place, engine != "alone" and moments.random() < 0.5, moments.random(), batches)


def disturbed(case: Case, blow: Blow) -> str:
    """Run ``case`` to its end with a kill on the way; return who was killed, or an empty string."""
    process = case.start()
    blow.wait(process, Journal(case.output))
    killed = blow.strike(process)
    if process.wait() == -signal.SIGKILL:
        case.start().wait()
    return killed


def compare(case: Case, expected: tuple[list[Any], list[Any]], total: int) -> tuple[bool, int]:
    """Return whether the results are those expected, and how many requests were computed in excess."""
    try:
        equal = case.outcome() == expected
    except json.JSONDecodeError:
        equal = False
    return equal, case.computed() - total


def main() -> int:
    """Print a line a kill; return 1 if a result differs or more than a batch for each worker was computed again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--engines", default="alone,workers,ray")
    given = parser.parse_args()
    engines, moments = given.engines.split(","), random.Random(given.seed)
    good = number = 0
    with tempfile.TemporaryDirectory() as place:
        plain = Case("alone", Path(place) / "plain", given.limit)
        plain.folder.mkdir()
        if plain.start().wait():
            sys.exit((plain.folder / "err").read_text())
        expected, total = plain.outcome(), plain.computed()
        batches = json.loads((plain.folder / "out").read_text())[0]["cost"]["batches_computed"]
        print(f"undisturbed: {total} requests in {batches} batches of at most {BATCH_SIZE}; {WORKERS} workers")
        print(f"{'kill':>4} {'engine':8}{'killed':8}{'after batches':>14} {'results':9}{'computed again':>15}")
        while number < given.kills:
            engine = engines[number % len(engines)]
            case = Case(engine, Path(tempfile.mkdtemp(dir=place)), given.limit)
            blow = draw(moments, batches, engine)
            killed = disturbed(case, blow)
            if not killed:
                continue
            number += 1
            equal, again = compare(case, expected, total)
            fine = equal and again <= BATCH_SIZE * (1 if engine == "alone" else WORKERS)
            good += fine
            when = "loading" if blow.place < 0 else "all" if blow.place > batches else str(int(blow.place))
            shown = "equal" if equal else "DIFFER"
            print(f"{number:4} {engine:8}{killed:8}{when:>14} {shown:9}{again:15}", flush=True)
            if not equal:
                print((case.folder / "err").read_text(), file=sys.stderr)
    print(f"{good} of {number} finished with equal results and at most a batch for each worker computed again")
    return int(good < number)


if __name__ == "__main__":
    sys.exit(main())
