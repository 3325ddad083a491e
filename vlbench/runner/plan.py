"""The plan: which native requests are made, once each, in which batches.

Batches are a pure function of the set of requests and the batch sizes, whatever order tasks and samples came in, so
that a resumed run makes the same batches and its numbers equal those of an undisturbed run to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from vlbench.types import Request, content_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True)
class Batch:
    """Requests of one capability that are executed together."""

    capability: str
    requests: tuple[Request, ...]

    @cached_property
    def key(self) -> str:
        """SHA-256 over the requests' keys, in order."""
        return content_key(self.capability, [request.key for request in self.requests])

    def halves(self) -> tuple[Batch, Batch]:
        """Return the two halves into which an out-of-memory batch is split."""
        middle = len(self.requests) // 2
        return Batch(self.capability, self.requests[:middle]), Batch(self.capability, self.requests[middle:])


def _order(request: Request) -> tuple[object, ...]:
    """Sort key: texts of like length together; the texts of one image together, so that it is encoded once."""
    if request.capability in ("match", "loglikelihood"):
        return (request.capability, [image.key for image in request.image_refs], -request.length, request.key)
    return (request.capability, -request.length, request.key)


def plan(requests: Iterable[Request], batch_size: Callable[[str], int]) -> Sequence[Batch]:
    """Return batches over the distinct ``requests``; longest first, so that memory is found out at once."""
    distinct = sorted({request.key: request for request in requests}.values(), key=_order)
    batches: list[Batch] = []
    start = 0
    while start < len(distinct):
        capability = distinct[start].capability
        end = start
        limit = start + max(1, batch_size(capability))
        while end < len(distinct) and end < limit and distinct[end].capability == capability:
            end += 1
        batches.append(Batch(capability, tuple(distinct[start:end])))
        start = end
    return batches
