"""Responses kept across runs: one file a batch, found by everything that its numbers depend on.

The unit is the batch, not the request: the same text in another batch comes out with other last digits, and a run must
give the same numbers whatever was cached before it (``docs/decisions/cache-by-batch.md``). Layout of an entry: magic,
BLAKE2b-256 of the rest, length of the key, key, time of creation, then what ``vlbench.runner.codec`` writes. An entry
that is torn, flipped or misplaced is removed and its batch computed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import struct
import time
import uuid
from typing import TYPE_CHECKING, NamedTuple

from vlbench.data.scenes.cache import cache_folder
from vlbench.errors import UsageError
from vlbench.runner.codec import decode, encode
from vlbench.types import Failure, content_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from vlbench.runner.plan import Batch
    from vlbench.types import Response

SIZE_VARIABLE = "VLBENCH_CACHE_SIZE"
DEFAULT_SIZE = "10GiB"
MAGIC = b"vlbench-cache/1\n"
UNVERIFIED_SECONDS = 7 * 24 * 3600
"""How long answers of a model with unknown weights are believed."""
ABANDONED_SECONDS = 3600
ROOM = 0.9
"""What eviction leaves, as a share of the bound: not every later entry must evict again."""
WRITTEN_BETWEEN_EVICTIONS = 1 << 28
_HEAD = struct.Struct("<32sId")
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


class Entry(NamedTuple):
    """A file of the cache: its place, its bytes, and when it was last used (seconds since the epoch)."""

    path: Path
    size: int
    used: float


def size_bound() -> int:
    """Return the bytes that the cache may take, of ``VLBENCH_CACHE_SIZE``; raises ``UsageError``.

    0 switches it off.
    """
    text = os.environ.get(SIZE_VARIABLE) or DEFAULT_SIZE
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?", text.strip().lower())
    if not found:
        raise UsageError(f"{SIZE_VARIABLE}={text} is not a size; write a number with KiB, MiB, GiB or TiB, or 0")
    return int(float(found[1]) * _UNITS[found[2]])


class ResponseCache:
    """The entries below one folder. Many processes may read, write and evict at once: files appear whole."""

    def __init__(self, folder: Path | None = None, bound: int | None = None) -> None:
        """Use ``folder`` (default: ``responses`` in the user's cache) up to ``bound`` bytes."""
        self.folder = folder or cache_folder() / "responses"
        self.bound = size_bound() if bound is None else bound
        self._written = 0

    def path(self, key: str) -> Path:
        """Return where the entry of ``key`` lies."""
        return self.folder / key[:2] / key

    def get(self, key: str, max_age: float | None = None) -> list[Response] | None:
        """Return the responses under ``key``, or None; what is damaged, or older than ``max_age`` s, is removed."""
        path = self.path(key)
        try:
            created, responses = read_entry(path)
        except OSError:
            return None
        except ValueError:
            self._remove(path)
            return None
        if max_age is not None and time.time() - created > max_age:
            self._remove(path)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return responses

    def put(self, key: str, responses: Sequence[Response]) -> None:
        """Keep ``responses`` under ``key``; raises ``OSError`` where the disk refuses.

        Not forced to the disk: the journal is what is durable, and a torn entry is found by its checksum.
        """
        path = self.path(key)
        rest = struct.pack("<Id", len(key), time.time()) + key.encode() + encode(responses)
        data = MAGIC + hashlib.blake2b(rest, digest_size=32).digest() + rest
        if len(data) > self.bound:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self._written += len(data)
        if self._written > min(WRITTEN_BETWEEN_EVICTIONS, self.bound // 10):
            self.evict()

    def entries(self) -> Iterator[Entry]:
        """Yield the entries; one that another process removes meanwhile is left out."""
        for path in self.folder.glob("??/[!.]*"):
            with contextlib.suppress(OSError):
                stat = path.stat()
                yield Entry(path, stat.st_size, stat.st_mtime)

    def evict(self) -> int:
        """Remove the entries that were used longest ago until the bound holds; return how many.

        Parts of files that a killed process left are removed as well.
        """
        self._written = 0
        for part in self.folder.glob("??/.*.tmp"):
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                    part.unlink()
        entries = sorted(self.entries(), key=lambda entry: entry.used)
        total = sum(entry.size for entry in entries)
        if total <= self.bound:
            return 0
        removed = 0
        for entry in entries:
            if total <= self.bound * ROOM:
                break
            self._remove(entry.path)
            total -= entry.size
            removed += 1
        return removed

    def clear(self) -> int:
        """Remove all entries; return how many."""
        removed = 0
        for entry in self.entries():
            self._remove(entry.path)
            removed += 1
        return removed

    def verify(self) -> list[Path]:
        """Read every entry and remove those that are damaged; return them."""
        damaged = []
        for entry in self.entries():
            try:
                read_entry(entry.path)
            except ValueError:
                damaged.append(entry.path)
                self._remove(entry.path)
            except OSError:
                continue
        return damaged

    def _remove(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def read_entry(path: Path) -> tuple[float, list[Response]]:
    """Return when an entry was made and its responses.

    Raises ``OSError`` where it cannot be read, ``ValueError`` where its checksum or its name does not fit.
    """
    data = path.read_bytes()
    start = len(MAGIC)
    if not data.startswith(MAGIC) or len(data) < start + _HEAD.size:
        raise ValueError(f"{path} is no entry of a cache")
    checksum, length, created = _HEAD.unpack_from(data, start)
    rest = memoryview(data)[start + len(checksum) :]
    if hashlib.blake2b(rest, digest_size=32).digest() != checksum:
        raise ValueError(f"{path} is damaged")
    body = start + _HEAD.size + length
    if data[start + _HEAD.size : body].decode() != path.name:
        raise ValueError(f"{path} is the entry of another key")
    return created, decode(data[body:])


class ModelCache:
    """The part of a cache that belongs to one loaded model; ``identity`` is of ``vlbench.runner.identity``."""

    def __init__(self, cache: ResponseCache, identity: str, verified: bool) -> None:
        """Answers of a model that is not ``verified`` are believed for a week."""
        self._cache = cache
        self._identity = identity
        self._max_age = None if verified else UNVERIFIED_SECONDS
        self.broken = ""

    def get(self, batch: Batch) -> list[Response] | None:
        """Return the responses of ``batch``, or None."""
        found = self._cache.get(self._key(batch), self._max_age)
        return found if found is not None and len(found) == len(batch.requests) else None

    def put(self, batch: Batch, responses: Sequence[Response]) -> None:
        """Keep the responses of ``batch``, unless one failed: that is tried again.

        The first refusal of the disk is kept in ``broken`` and ends writing: a run does not need its cache.
        """
        if self.broken or any(isinstance(response, Failure) for response in responses):
            return
        try:
            self._cache.put(self._key(batch), responses)
        except OSError as error:
            self.broken = f"cannot write the cache {self._cache.folder} ({error.strerror}); going on without"

    def close(self) -> None:
        """Hold the bound."""
        self._cache.evict()

    def _key(self, batch: Batch) -> str:
        return content_key(self._identity, batch.key)
