"""An engine over many workers: hands out leases, starts dead workers again, and ends with the first error of any.

The driver's process has no model: what it must know of one, a worker tells when it has joined.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vlbench.errors import EvaluationFailed
from vlbench.runner.engine import BatchDone, BatchSplit
from vlbench.runner.leases import Leases
from vlbench.runner.worker import Answered, Died, Ended, Failed, Joined, Portrait, Split

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vlbench.adapter import Adapter
    from vlbench.runner.crew import Crew
    from vlbench.runner.plan import Batch
    from vlbench.runner.progress import Reporter
    from vlbench.runner.worker import Message

TICK_SECONDS = 0.2
"""How often leases are looked at that no worker speaks of."""
DEATHS_IN_A_ROW = 3
"""Times that a worker may die without answering a batch in between; then it is given up."""


class LeasedEngine:
    """Executes batches on the workers of a crew. ``portrait`` describes the model that all of them have loaded."""

    portrait: Portrait

    def __init__(self, crew: Crew, kind: type[Adapter], reporter: Reporter) -> None:
        """Start the first worker and wait for its model, then start the others, which join when they are ready."""
        self._crew = crew
        self._kind = kind
        self._reporter = reporter
        self._idle: list[int] = []
        self._deaths: dict[int, int] = {}
        self._alive = {0}
        self._leases = Leases(())
        self._joined: set[int] = set()
        self._alike: set[int] = set()
        """Workers whose answers may be cached for the first one's."""
        try:
            crew.start(0)
            while not self._joined:
                for worker, message in crew.receive(TICK_SECONDS):
                    self._note(worker, message)
        except BaseException:
            crew.close()
            raise

    def run(self, batches: Sequence[Batch]) -> Iterator[BatchDone | BatchSplit]:
        """Yield an event for each batch, in the order in which workers answer.

        Who asks for the next event has made the last one durable.
        """
        self._leases = Leases(batches)
        for worker in range(self._crew.size):
            if batches and worker not in self._alive and worker not in self._deaths:
                self._alive.add(worker)
                self._crew.start(worker)
        while not self._leases.done:
            self._hand_out()
            for worker, message in self._crew.receive(TICK_SECONDS):
                event = self._event(worker, message)
                if event is not None:
                    yield event
                if isinstance(message, Answered):
                    self._crew.go_on(worker)

    def _hand_out(self) -> None:
        for worker in list(self._idle):
            batches = self._leases.take(worker, len(self._alive), time.monotonic())
            if batches:
                self._idle.remove(worker)
                self._crew.send(worker, batches)

    def _event(self, worker: int, message: Message) -> BatchDone | BatchSplit | None:
        """Return what the driver must journal; an answer that comes a second time is dropped."""
        if isinstance(message, Answered):
            self._deaths[worker] = 0
            self.portrait.count(worker, message.counters)
            batch = self._leases.finished(message.key, time.monotonic())
            if batch is not None:
                seconds = (message.wait_seconds, message.device_seconds)
                return BatchDone(batch, message.responses, *seconds, cacheable=worker in self._alike)
        elif isinstance(message, Split):
            batch = self._leases.split(message.key)
            return None if batch is None else BatchSplit(batch)
        else:
            self._note(worker, message)
        return None

    def _note(self, worker: int, message: Message) -> None:
        """Take what concerns a worker and no batch; raises a worker's error."""
        if isinstance(message, Failed):
            raise message.error
        if isinstance(message, Joined):
            self._welcome(worker, Portrait(self._kind, message.portrait))
        elif isinstance(message, Ended):
            self._leases.ended(worker)
            self._idle.append(worker)
        elif isinstance(message, Died):
            self._replace(worker, message.reason)

    def _welcome(self, worker: int, portrait: Portrait) -> None:
        if not self._joined:
            self.portrait = portrait
        elif (portrait.fingerprint(), portrait.dtype) != (self.portrait.fingerprint(), self.portrait.dtype):
            raise EvaluationFailed(f"worker {worker} has loaded other weights or another dtype than the first worker")
        if portrait.cache_identity() == self.portrait.cache_identity():
            self._alike.add(worker)
        else:
            # The one that it replaces may have been alike.
            self._alike.discard(worker)
        self._joined.add(worker)
        self._idle.append(worker)

    @property
    def joined(self) -> int:
        """How many workers have loaded their model so far."""
        return len(self._joined)

    def _replace(self, worker: int, reason: str) -> None:
        """Start a dead worker again, or give it up."""
        self._idle = [other for other in self._idle if other != worker]
        self._deaths[worker] = self._deaths.get(worker, 0) + 1
        self._leases.died(worker, reason)
        if self._deaths[worker] < DEATHS_IN_A_ROW:
            self._reporter.warn(f"{reason}; it is started again")
            self._crew.start(worker)
            return
        self._alive.discard(worker)
        self._reporter.warn(f"{reason}, {DEATHS_IN_A_ROW} times; it is given up")
        if not self._alive:
            raise EvaluationFailed(f"all workers died; the last: {reason}. The same command resumes")

    def close(self) -> None:
        """Stop the workers."""
        self._crew.close()
