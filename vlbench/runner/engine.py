"""Engines execute planned batches. The driver hands out batches and writes the journal; an engine only computes.

``LocalEngine`` prepares the next batches in worker threads (decoding, resizing and most tokenisers release the GIL)
while the device computes the current one.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import OrderedDict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vlbench.errors import DataError, EvaluationFailed
from vlbench.runner.execute import execute
from vlbench.runner.profile import span
from vlbench.types import Failure, ImageRef, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vlbench.adapter import Adapter
    from vlbench.runner.plan import Batch

PREFETCH_BATCHES = 3
KEPT_IMAGES = 256
"""Prepared images that are kept for the next request on the same image."""


@dataclass(frozen=True)
class BatchDone:
    """A finished batch: responses in the order of its requests; seconds waited for data and spent on the device.

    ``cacheable`` is False where it was computed otherwise than the model's cache says, as on a GPU of another kind.
    """

    batch: Batch
    responses: Sequence[Response]
    wait_seconds: float
    device_seconds: float
    cacheable: bool = True


@dataclass(frozen=True)
class BatchSplit:
    """A batch that ran out of memory; its halves follow as batches of their own."""

    batch: Batch


class Engine(Protocol):
    """What executes batches, in any order, each exactly once."""

    def run(self, batches: Sequence[Batch]) -> Iterator[BatchDone | BatchSplit]:
        """Yield an event for each batch; the consumer makes each durable before it asks for the next."""

    def close(self) -> None:
        """Free workers."""


class _Images:
    """Prepared images, decoded once for all requests that come close together."""

    def __init__(self, prepare: Callable[[ImageRef], Any]) -> None:
        self._prepare = prepare
        self._kept: OrderedDict[str, Future[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, image: ImageRef) -> Any:
        with self._lock:
            future = self._kept.get(image.key)
            mine = future is None
            if future is None:
                future = self._kept[image.key] = Future()
                while len(self._kept) > KEPT_IMAGES:
                    self._kept.popitem(last=False)
        if mine:
            try:
                future.set_result(self._prepare(image))
            except BaseException as error:
                future.set_exception(error)
        return future.result()


class LocalEngine:
    """Executes batches in this process, on the adapter's device."""

    def __init__(self, adapter: Adapter, workers: int | None = None) -> None:
        """Start ``workers`` threads (default: one a core, at most 8)."""
        self._adapter = adapter
        self._pool = ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1), thread_name_prefix="vlbench-prepare")
        self._images = _Images(self._prepare_image)

    def _prepare_image(self, image: ImageRef) -> Any:
        with span("decode", image=image.name):
            decoded = image.load()
        with span("prepare image"):
            return self._adapter.prepare_image(decoded)

    def _prepare(self, request: Request) -> tuple[Any, bool] | Failure:
        """Return the prepared request and whether its text is cut, or the failure of this one request."""
        try:
            images = tuple(self._images.get(image) for image in request.image_refs)
            with span("prepare request"):
                return self._adapter.prepare(request, images), self._adapter.truncates(request)
        except (DataError, OSError, ValueError) as error:
            return Failure(" ".join(str(error).split()))
        except MemoryError:
            return Failure("preparing this request takes more memory than there is")

    def run(self, batches: Sequence[Batch]) -> Iterator[BatchDone | BatchSplit]:
        """Yield an event for each batch, in order."""
        waiting = deque(batches)
        ahead: deque[tuple[Batch, list[Future[tuple[Any, bool] | Failure]]]] = deque()
        while waiting or ahead:
            while waiting and len(ahead) < PREFETCH_BATCHES:
                batch = waiting.popleft()
                ahead.append((batch, [self._pool.submit(self._prepare, request) for request in batch.requests]))
            batch, futures = ahead.popleft()
            started = time.perf_counter()
            with span("wait"):
                prepared = [future.result() for future in futures]
            yield from self._compute(batch, prepared, time.perf_counter() - started)

    def seconds(self, batch: Batch) -> float | None:
        """Return how long the device takes for ``batch``, whose answers are lost; None where it does not fit."""
        prepared = [future.result() for future in [self._pool.submit(self._prepare, r) for r in batch.requests]]
        started = time.perf_counter()
        with contextlib.suppress(MemoryError), inference_mode():
            execute(self._adapter, batch.capability, prepared)
            return time.perf_counter() - started
        free_device_memory()
        return None

    def _compute(
        self, batch: Batch, prepared: Sequence[tuple[Any, bool] | Failure], waited: float
    ) -> Iterator[BatchDone | BatchSplit]:
        started = time.perf_counter()
        try:
            with inference_mode(), span("device", capability=batch.capability, requests=len(batch.requests)):
                responses = execute(self._adapter, batch.capability, prepared)
        except MemoryError as error:
            if len(batch.requests) == 1:
                raise EvaluationFailed(
                    "one request alone does not fit into memory; use a smaller dtype or model"
                ) from error
        else:
            yield BatchDone(batch, responses, waited, time.perf_counter() - started)
            return
        # Outside the except clause: its traceback would keep the tensors of the failed batch alive.
        free_device_memory()
        yield BatchSplit(batch)
        middle = len(batch.requests) // 2
        for half, part in zip(batch.halves(), (prepared[:middle], prepared[middle:]), strict=True):
            yield from self._compute(half, part, 0.0)

    def close(self) -> None:
        """Stop the worker threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def inference_mode() -> contextlib.AbstractContextManager[Any]:
    """Return torch's inference mode if torch is in use; an adapter without torch need not import it."""
    torch = sys.modules.get("torch")
    return contextlib.nullcontext() if torch is None else torch.inference_mode()


def free_device_memory() -> None:
    """Return cached blocks to the device, so that a smaller batch finds room."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
