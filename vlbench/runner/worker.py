"""A worker: loads the model on one device and answers batches; it never sees the journal.

What crosses processes are plain values: which model, as it was named to the command line; batches; responses.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vlbench.adapter import Adapter
from vlbench.errors import EvaluationFailed, VlbenchError
from vlbench.fingerprints import remembered_fingerprint
from vlbench.runner.engine import BatchDone, LocalEngine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vlbench.adapter import LoadOptions
    from vlbench.runner.plan import Batch
    from vlbench.types import Response


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker needs to load the model: the name as it was given, plugin files, load options but the device."""

    model: str
    plugins: tuple[str, ...]
    load: LoadOptions
    threads: int | None = None
    folder: str = ""
    """Working folder of the driver, against which names of data, models and plugins may be relative."""
    omp_threads: str | None = None
    """``OMP_NUM_THREADS`` of the driver: sums on a CPU depend in the last bits on how many threads make them."""


@dataclass(frozen=True)
class Joined:
    """A worker has loaded its model, which ``portrait`` describes."""

    portrait: Mapping[str, Any]


@dataclass(frozen=True)
class Answered:
    """A batch was answered, in seconds of waiting for data and of computing; what the adapter has counted so far."""

    key: str
    responses: Sequence[Response]
    wait_seconds: float
    device_seconds: float
    counters: Mapping[str, int]


@dataclass(frozen=True)
class Split:
    """A batch did not fit into memory; its halves follow."""

    key: str


@dataclass(frozen=True)
class Ended:
    """A lease is done."""


@dataclass(frozen=True)
class Failed:
    """An error ended the work."""

    error: VlbenchError


@dataclass(frozen=True)
class Died:
    """The worker is gone without a word."""

    reason: str


Message = Joined | Answered | Split | Ended | Failed | Died
_VALUES = ("device", "dtype", "logit_scale", "random_weights", "trained_on", "batch_sizes")
_CALLS = ("preprocessing", "parameters", "notes")


class Portrait(Adapter):
    """What a run must know of a model that is loaded elsewhere; it answers no request."""

    files_at_load: Mapping[str, tuple[int, ...]] = MappingProxyType({})

    def __init__(self, kind: type[Adapter], facts: Mapping[str, Any]) -> None:
        """Take the class attributes of ``kind``, and of the loaded model what ``facts`` say."""
        self._facts = facts
        self._counted: dict[int, Mapping[str, int]] = {}
        self.neutral_arguments = kind.neutral_arguments  # type: ignore[misc]
        self.provenance = kind.provenance  # type: ignore[misc]
        for name in _VALUES:
            setattr(self, name, facts[name])

    def fingerprint(self) -> str:
        """Return the fingerprint of the model as loaded."""
        return str(self._facts["fingerprint"])

    def preprocessing(self) -> str:
        """Return the preprocessing of the model as loaded."""
        return str(self._facts["preprocessing"])

    def cache_identity(self) -> str | None:
        """Return what ``vlbench.runner.identity`` says of the model where it is loaded."""
        found = self._facts["cache_identity"]
        return None if found is None else str(found)

    def parameters(self) -> int:
        """Return the number of weights of the model as loaded."""
        return int(self._facts["parameters"])

    def notes(self) -> Sequence[str]:
        """Return the notes of the model as loaded."""
        return tuple(self._facts["notes"])

    def count(self, worker: int, counters: Mapping[str, int]) -> None:
        """Note what a worker has counted so far."""
        self._counted[worker] = counters

    def counters(self) -> Mapping[str, int]:
        """Return the sums over all workers."""
        names = dict.fromkeys(name for counted in self._counted.values() for name in counted)
        return {name: sum(counted.get(name, 0) for counted in self._counted.values()) for name in names}


class Worker:
    """A loaded model with its engine. Errors of loading and computing come as a ``Failed`` message."""

    def __init__(self, options: WorkerOptions) -> None:
        """Load plugins and model, with as many threads for sums as the driver has."""
        if options.omp_threads is None:
            os.environ.pop("OMP_NUM_THREADS", None)
        else:
            os.environ["OMP_NUM_THREADS"] = options.omp_threads
        if options.folder:
            os.chdir(options.folder)
        from vlbench.plugins import load_plugins
        from vlbench.resolve import resolve_model

        load = options.load
        resolved = resolve_model(options.model, load_plugins(options.plugins), load.arguments, load.revision)
        self._adapter = resolved.load(load)
        self._engine = LocalEngine(self._adapter, options.threads)

    def joined(self) -> Joined:
        """Describe the model."""
        from vlbench.runner.identity import cache_identity

        facts = {name: getattr(self._adapter, name) for name in _VALUES}
        facts |= {name: getattr(self._adapter, name)() for name in _CALLS}
        facts["fingerprint"] = remembered_fingerprint(self._adapter)
        facts["cache_identity"] = cache_identity(self._adapter, facts["fingerprint"])
        return Joined(facts)

    def answer(self, batches: Sequence[Batch]) -> Iterator[Message]:
        """Yield a message for each batch, and one for the end of the lease."""
        for event in self._engine.run(batches):
            if isinstance(event, BatchDone):
                counters = dict(self._adapter.counters())
                yield Answered(event.batch.key, event.responses, event.wait_seconds, event.device_seconds, counters)
            else:
                yield Split(event.batch.key)
        yield Ended()


def failed(error: Exception) -> Failed:
    """Turn any error of a worker into one that can cross processes and is one clear line."""
    if isinstance(error, VlbenchError):
        return Failed(error)
    return Failed(EvaluationFailed(f"{type(error).__name__}: {' '.join(str(error).split())}"))
