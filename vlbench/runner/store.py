"""A content-addressed store of checksummed records: what the journal is made of, and what a cache can be made of.

Layout of a ``RecordFile``: the magic line, then records of ``mark | length of key | length of value | BLAKE2b-128 of
key and value | CRC-32 of this head | key | value``. A torn last record (a kill while writing) is cut off on opening. A
record with a wrong checksum is dropped; one whose head is damaged hides its own end, so reading goes on at the next
mark with an intact head. Only what the damaged records held is computed again.

Durability: ``put`` returns after ``fsync`` of the file, and a new file's folder is forced to the disk too. After a
failed write or ``fsync`` nothing more is written: the kernel may have dropped the pages, and only reading again on the
next opening can tell what is there.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import zlib
from typing import TYPE_CHECKING, BinaryIO, Protocol

from vlbench.errors import DataError
from vlbench.leaderboard.store import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC = b"vlbench-records/2\n"
MARK = b"\xf7rec"
_LENGTHS = struct.Struct("<4sIQ16s")
_CRC = struct.Struct("<I")
HEAD_SIZE = _LENGTHS.size + _CRC.size


class Store(Protocol):
    """What keeps values under content-derived keys."""

    def get(self, key: str) -> bytes | None:
        """Return the value under ``key``, or None."""

    def put(self, key: str, value: bytes) -> None:
        """Keep ``value`` under ``key``, durably before returning."""


def _checksum(key: bytes | memoryview, value: bytes | memoryview) -> bytes:
    digest = hashlib.blake2b(key, digest_size=16)
    digest.update(value)
    return digest.digest()


def _head(key: bytes, value: bytes) -> bytes:
    lengths = _LENGTHS.pack(MARK, len(key), len(value), _checksum(key, value))
    return lengths + _CRC.pack(zlib.crc32(lengths))


class RecordFile:
    """A ``Store`` in one append-only file. The caller sees to it that one process writes at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create ``path``; ``dropped`` counts corrupt records. Raises ``DataError`` where that fails."""
        self.path = path
        self.dropped = 0
        self._places: dict[str, tuple[int, int]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: what a full disk refused must not be written a second time by close().
            self._file: BinaryIO = path.open("r+b" if path.exists() else "w+b", buffering=0)
            self._end = self._scan()
        except OSError as error:
            raise DataError(f"cannot write {path} ({error.strerror}); make room, or choose another --output") from error

    def _scan(self) -> int:
        """Index the records and cut off a torn tail; return the end of the last whole record."""
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)
        if self._file.read(len(MAGIC)) != MAGIC:
            self._file.truncate(0)
            self._append(0, MAGIC)
            sync_folder(self.path.parent)
            return len(MAGIC)
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            end = self._index(data)
        if end < size:
            self._file.truncate(end)
            os.fsync(self._file.fileno())
        return end

    def _index(self, data: mmap.mmap) -> int:
        """Note the place of each intact record, count the others, and return the end of the last whole one."""
        end = len(MAGIC)
        for start, place, value_length in _heads(data):
            if start > end:
                self.dropped += 1
            end = place + value_length
            key, value = data[start + HEAD_SIZE : place], data[place:end]
            if _checksum(key, value) == _LENGTHS.unpack_from(data, start)[3]:
                self._places[key.decode()] = (place, value_length)
            else:
                self.dropped += 1
        return end

    def _append(self, start: int, data: bytes) -> None:
        """Write all of ``data`` at ``start`` and force it to the disk; a raw write may take only a part."""
        self._file.seek(start)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        os.fsync(self._file.fileno())

    def get(self, key: str) -> bytes | None:
        """Return the value under ``key``, or None."""
        if key not in self._places:
            return None
        place, length = self._places[key]
        return os.pread(self._file.fileno(), length, place)

    def put(self, key: str, value: bytes) -> None:
        """Append a record and force it to the disk; raises ``DataError`` where the disk is full."""
        encoded = key.encode()
        try:
            self._append(self._end, _head(encoded, value) + encoded + value)
        except OSError as error:
            raise DataError(
                f"cannot write {self.path} ({error.strerror}); make room: finished batches are kept, the same command "
                "resumes"
            ) from error
        place = self._end + HEAD_SIZE + len(encoded)
        self._places[key] = (place, len(value))
        self._end = place + len(value)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _heads(data: mmap.mmap) -> Iterator[tuple[int, int, int]]:
    """Yield (start, place of the value, length of the value) of each whole record behind an intact head."""
    size = len(data)
    start = data.find(MARK, len(MAGIC))
    while 0 <= start <= size - HEAD_SIZE:
        lengths = data[start : start + _LENGTHS.size]
        _, key_length, value_length, _ = _LENGTHS.unpack(lengths)
        place = start + HEAD_SIZE + key_length
        end = place + value_length
        if _CRC.unpack_from(data, start + _LENGTHS.size)[0] == zlib.crc32(lengths) and end <= size:
            yield start, place, value_length
        else:
            end = start + 1
        start = data.find(MARK, end)
