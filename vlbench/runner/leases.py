"""Leases: which worker computes which batches. Pure bookkeeping, without processes, clocks of its own or networks.

A worker gets a few batches at a time and tells of each as it is done. What a dead worker had not finished goes to the
others; what a slow one holds too long is given to an idle one as well, and the first answer counts. Batches are
identified by content, so nothing depends on the number of workers or on who computed what.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vlbench.errors import EvaluationFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.runner.plan import Batch

LARGEST = 8
"""Batches of a lease: enough for the worker to prepare the next ones while its device computes."""
SLOW = 3.0
"""A lease is slow that takes this many times the median of those that ended."""
PATIENCE_SECONDS = 2.0
"""No lease is slow before this time."""
DEATHS = 3
"""Workers that may die over one batch before it is to blame."""


@dataclass
class Lease:
    """What one worker holds: its unfinished batches by key, the time it got them, and whether they are copies."""

    batches: dict[str, Batch]
    since: float
    shared: bool = False
    done: int = 0


@dataclass
class Leases:
    """The batches of one round: each is waiting, leased or finished."""

    batches: Sequence[Batch]
    _waiting: dict[str, Batch] = field(init=False)
    _unfinished: dict[str, Batch] = field(init=False)
    _held: dict[int, Lease] = field(default_factory=dict, init=False)
    _seconds: list[float] = field(default_factory=list, init=False)
    _deaths: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._waiting = {batch.key: batch for batch in self.batches}
        self._unfinished = dict(self._waiting)

    @property
    def done(self) -> bool:
        """Whether nothing is left to wait for."""
        return not self._unfinished

    def take(self, worker: int, workers: int, now: float) -> list[Batch]:
        """Lease batches to an idle ``worker`` of ``workers``; an empty list where there is nothing for it to do.

        Leases become smaller towards the end, so that all workers end together.
        """
        size = max(1, min(LARGEST, len(self._waiting) // (2 * max(1, workers))))
        keys = list(self._waiting)[:size]
        if keys:
            lease = Lease({key: self._waiting.pop(key) for key in keys}, now)
        else:
            slow = self._slowest(now)
            if slow is None:
                return []
            slow.shared = True
            lease = Lease(dict(slow.batches), now, shared=True)
        self._held[worker] = lease
        return list(lease.batches.values())

    def _slowest(self, now: float) -> Lease | None:
        """Return the lease that is out longest, if that is too long and nobody else computes it yet."""
        usual = statistics.median(self._seconds) if self._seconds else 0.0
        allowed = max(PATIENCE_SECONDS, SLOW * usual)
        late = [
            lease
            for lease in self._held.values()
            if lease.batches and not lease.shared and now - lease.since > allowed * (1 + lease.done)
        ]
        return min(late, key=lambda lease: lease.since, default=None)

    def finished(self, key: str, now: float) -> Batch | None:
        """Return the batch of a first answer, or None for an answer that came a second time."""
        for lease in self._held.values():
            if lease.batches.pop(key, None) is not None:
                lease.done += 1
                self._seconds.append((now - lease.since) / lease.done)
        self._waiting.pop(key, None)
        return self._unfinished.pop(key, None)

    def split(self, key: str) -> Batch | None:
        """Put the halves in the place of a batch that did not fit into memory; None where that is done already."""
        batch = self._unfinished.pop(key, None)
        if batch is None:
            return None
        halves = {half.key: half for half in batch.halves()}
        self._unfinished |= halves
        self._waiting.pop(key, None)
        for lease in self._held.values():
            if lease.batches.pop(key, None) is not None:
                lease.batches = halves | lease.batches
        return batch

    def ended(self, worker: int) -> None:
        """Take back what ``worker`` has not finished, to the front, unless another worker computes it too."""
        lease = self._held.pop(worker, None)
        if lease is None:
            return
        elsewhere = {key for other in self._held.values() for key in other.batches}
        back = {key: batch for key, batch in lease.batches.items() if key in self._unfinished and key not in elsewhere}
        self._waiting = back | self._waiting
        for other in self._held.values():
            other.shared = other.shared and not lease.batches.keys() & other.batches.keys()

    def died(self, worker: int, reason: str) -> None:
        """Take back the lease of a dead worker; raises ``EvaluationFailed`` for a batch over which too many died."""
        lease = self._held.get(worker)
        if lease is not None and lease.batches:
            key, batch = next(iter(lease.batches.items()))
            self._deaths[key] = self._deaths.get(key, 0) + 1
            if self._deaths[key] >= DEATHS:
                raise EvaluationFailed(
                    f"{DEATHS} workers died over one batch of {len(batch.requests)} {batch.capability} requests "
                    f"({reason}); a smaller --batch-size, or --engine local on one device, tells more"
                )
        self.ended(worker)
