"""The journal: the durable record of responses while a run is under way, written by the driver alone.

It fixes what makes batches (its header), holds the responses of every finished batch under the batch's content key, and
remembers which batches were split after running out of memory, so that a resumed run repeats the very same batches.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vlbench.runner.codec import decode, encode
from vlbench.runner.store import RecordFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from vlbench.runner.plan import Batch
    from vlbench.types import Response

_HEADER = "header"
_SPLIT = b"split"


class Journal:
    """Responses by batch, in one file."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        """Open ``path``; an existing header wins over ``header``, because it made the batches that are there."""
        self.path = path
        self._records = RecordFile(path)
        stored = self._records.get(_HEADER)
        if stored is None:
            self._records.put(_HEADER, json.dumps(header, sort_keys=True).encode())
            self.header: Mapping[str, Any] = dict(header)
        else:
            self.header = json.loads(stored)

    @property
    def dropped(self) -> int:
        """Number of corrupt records that were found and dropped."""
        return self._records.dropped

    def resolve(self, batch: Batch) -> Sequence[Batch]:
        """Return the batches that stand for ``batch``: itself, or the parts it was split into."""
        if self._records.get(f"split:{batch.key}") is None:
            return (batch,)
        return [part for half in batch.halves() for part in self.resolve(half)]

    def responses(self, batch: Batch) -> list[Response] | None:
        """Return the responses of a finished batch, or None."""
        stored = self._records.get(f"batch:{batch.key}")
        return None if stored is None else decode(stored)

    def finished(self, batch: Batch, responses: Sequence[Response]) -> None:
        """Record a batch's responses, durably before returning."""
        self._records.put(f"batch:{batch.key}", encode(responses))

    def split(self, batch: Batch) -> None:
        """Record that a batch did not fit into memory and is made in halves."""
        self._records.put(f"split:{batch.key}", _SPLIT)

    def batch_size(self, capability: str) -> int | None:
        """Return the size that was frozen for ``capability``, or None."""
        stored = self._records.get(f"size:{capability}")
        return None if stored is None else int(stored)

    def freeze_batch_size(self, capability: str, size: int) -> None:
        """Record the size that wins over the header's from now on."""
        self._records.put(f"size:{capability}", str(size).encode())

    def close(self) -> None:
        """Close the file."""
        self._records.close()
