"""A content-addressed store of checksummed records: what the journal is made of, and what a cache can be made of.

Layout of a ``RecordFile``: the magic line, then records of ``length of key | length of value | BLAKE2b-128 of key and
value | key | value``. A torn last record (a kill while writing) is cut off on opening; an earlier record with a wrong
checksum is dropped, and only what it held is computed again.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING, BinaryIO, Protocol

from vlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC = b"vlbench-records/1\n"
_HEAD = struct.Struct("<IQ16s")


class Store(Protocol):
    """What keeps values under content-derived keys."""

    def get(self, key: str) -> bytes | None:
        """Return the value under ``key``, or None."""

    def put(self, key: str, value: bytes) -> None:
        """Keep ``value`` under ``key``, durably before returning."""


def _checksum(key: bytes, value: bytes) -> bytes:
    digest = hashlib.blake2b(key, digest_size=16)
    digest.update(value)
    return digest.digest()


class RecordFile:
    """A ``Store`` in one append-only file. The caller sees to it that one process writes at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create ``path``; ``dropped`` counts corrupt records. Raises ``DataError`` where that fails."""
        self.path = path
        self.dropped = 0
        self._places: dict[str, tuple[int, int]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("r+b" if path.exists() else "w+b")
        except OSError as error:
            raise DataError(f"cannot write {path} ({error.strerror}); choose another --output") from error
        self._end = self._scan()

    def _scan(self) -> int:
        """Index the records and cut off a torn tail; return the end of the last whole record."""
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)
        if self._file.read(len(MAGIC)) != MAGIC:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(MAGIC)
            self._sync()
            return len(MAGIC)
        end = len(MAGIC)
        for place, key, value_length, intact in self._records(size):
            end = place + value_length
            if intact:
                self._places[key] = (place, value_length)
            else:
                self.dropped += 1
        if end < size:
            self._file.truncate(end)
            self._sync()
        return end

    def _records(self, size: int) -> Iterator[tuple[int, str, int, bool]]:
        """Yield (place of the value, key, length of the value, checksum holds) for each whole record."""
        position = len(MAGIC)
        while position + _HEAD.size <= size:
            self._file.seek(position)
            key_length, value_length, checksum = _HEAD.unpack(self._file.read(_HEAD.size))
            place = position + _HEAD.size + key_length
            if place + value_length > size:
                return
            key = self._file.read(key_length)
            value = self._file.read(value_length)
            yield place, key.decode("utf-8", "replace"), value_length, _checksum(key, value) == checksum
            position = place + value_length

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def get(self, key: str) -> bytes | None:
        """Return the value under ``key``, or None."""
        if key not in self._places:
            return None
        place, length = self._places[key]
        self._file.seek(place)
        return self._file.read(length)

    def put(self, key: str, value: bytes) -> None:
        """Append a record and force it to the disk; raises ``DataError`` where the disk is full."""
        encoded = key.encode()
        try:
            self._file.seek(self._end)
            self._file.write(_HEAD.pack(len(encoded), len(value), _checksum(encoded, value)) + encoded + value)
            self._sync()
        except OSError as error:
            raise DataError(f"cannot write {self.path} ({error.strerror}); finished batches are kept") from error
        place = self._end + _HEAD.size + len(encoded)
        self._places[key] = (place, len(value))
        self._end = place + len(value)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
