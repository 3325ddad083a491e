"""Batch sizes that grow to what fits on a GPU, tried once for each model and device, and remembered.

Where nothing was asked for by ``--batch-size``, and there are many requests of a capability, the first of them (the
longest) are computed in batches of twice the size until that no longer pays or does not fit; the answers are thrown
away. A run's journal freezes the sizes at their first use, so that a resumed run makes the same batches; later runs
take what was remembered, so that they find the same batches in the cache.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

from vlbench.data.scenes.cache import cache_folder
from vlbench.runner.engine import LocalEngine
from vlbench.runner.identity import device_kind
from vlbench.runner.plan import Batch, plan
from vlbench.types import content_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from vlbench.adapter import Adapter
    from vlbench.runner.engine import Engine
    from vlbench.runner.journal import Journal
    from vlbench.types import Request

MOST = 8
"""Times the default size that is the end of growing."""
WORTH = 32
"""Batches of the default size that a run must have for trying, which computes up to 16 of them more."""
GAIN = 1.05
"""Requests a second must grow by this factor for the larger size."""


def fitting(seconds: Callable[[int], float | None], start: int) -> int:
    """Return the largest size, ``start`` doubled some times, up to which each doubling pays.

    ``seconds`` tells how long a batch of a size takes, or None where it does not fit.
    """
    seconds(start)  # the first batch also pays for what a device sets up once
    best, rate = start, 0.0
    for size in (start << doublings for doublings in range(MOST.bit_length())):
        took = seconds(size)
        if took is None or size / took < GAIN * rate:
            break
        best, rate = size, size / took
    return best


class Growth:
    """The sizes of one model on one device, remembered in ``path``."""

    def __init__(self, engine: LocalEngine, path: Path) -> None:
        """Read what is remembered; nothing where the file is missing or damaged."""
        self._engine = engine
        self._path = path
        self._remembered: dict[str, int] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            self._remembered = {str(name): max(1, int(size)) for name, size in json.loads(path.read_text()).items()}

    def sizes(self, requests: Sequence[Request], journal: Journal) -> Mapping[str, int]:
        """Return the size for each capability, and freeze in ``journal`` those of ``requests``."""
        sizes: dict[str, int] = dict(journal.header["batch_sizes"])
        for capability in dict.fromkeys(request.capability for request in requests):
            frozen = journal.batch_size(capability)
            if frozen is None:
                asked = [request for request in requests if request.capability == capability]
                frozen = self._remembered.get(capability) or self._grown(asked, sizes[capability])
                journal.freeze_batch_size(capability, frozen)
            sizes[capability] = frozen
        return sizes

    def _grown(self, requests: Sequence[Request], start: int) -> int:
        ordered = [request for batch in plan(requests, lambda _: MOST * start) for request in batch.requests]
        if len(ordered) < WORTH * start:
            return start
        capability = ordered[0].capability
        size = fitting(lambda size: self._engine.seconds(Batch(capability, tuple(ordered[:size]))), start)
        self._remember(capability, size)
        return size

    def back_off(self, batch: Batch) -> None:
        """Remember for later runs that ``batch`` did not fit."""
        half = max(1, len(batch.requests) // 2)
        self._remember(batch.capability, min(half, self._remembered.get(batch.capability, half)))

    def _remember(self, capability: str, size: int) -> None:
        self._remembered[capability] = size
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        with contextlib.suppress(OSError):  # a run does not need it: the next one tries again
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(self._remembered))
            temporary.replace(self._path)


def growth(engine: Engine, adapter: Adapter, fingerprint: str, batch_size: int | None) -> Growth | None:
    """Return the growth of a model on one GPU, or None where a size was asked for, with workers, and on other devices.

    On a CPU memory is not what bounds a batch.
    """
    if batch_size is not None or not isinstance(engine, LocalEngine) or not adapter.device.startswith("cuda"):
        return None
    import torch

    memory = torch.cuda.get_device_properties(adapter.device).total_memory
    key = content_key(fingerprint, adapter.dtype, adapter.preprocessing(), device_kind(adapter.device), memory)
    return Growth(engine, cache_folder() / "batch-sizes" / f"{key[:32]}.json")
