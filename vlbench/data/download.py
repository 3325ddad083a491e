"""Downloading one file: resumed where it stopped, checked against its length and, where it is known, its hash.

A download grows in ``<name>.part``. Beside it ``<name>.part.tag`` holds the server's tag of the file, so that the rest
of another version is never joined to the beginning of this one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Protocol

from vlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Progress = Callable[[int, int | None], None]

TIMEOUT = 6.0
"""Seconds without a byte after which an attempt is given up."""
ATTEMPTS = 2
"""Attempts in a row that bring nothing, after which a download is given up."""
PAUSE = 0.5
_CHUNK = 1 << 20


class _Answer(Protocol):
    headers: http.client.HTTPMessage
    status: int

    def read(self, amount: int, /) -> bytes: ...


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    headers: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> None:
    """Fetch ``url`` into ``target`` unless it is there.

    Of several processes that want the same file one fetches it and the others wait. ``progress`` is told bytes so far
    and in all (None where the server does not say). An attempt that breaks off is resumed as long as each brings some
    bytes; then, and at every other failure, a ``DataError`` says what to do.
    """
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _hold(part, target):
            if target.is_file():
                part.unlink(missing_ok=True)
                return
            _fetch(urllib.request.Request(url, headers={"User-Agent": "vlbench", **(headers or {})}), part, progress)
            if sha256 is not None and (found := file_sha256(part)) != sha256:
                part.unlink()
                raise DataError(
                    f"{url} has SHA-256 {found}, not {sha256}; it was thrown away: run again, or check the address"
                )
            part.replace(target)
            _tag(part).unlink(missing_ok=True)
    except urllib.error.HTTPError as error:
        raise DataError(f"{url}: the server answers {error.code} {error.reason}; check the address") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error or type(error).__name__
        raise DataError(f"{url} cannot be fetched into {target} ({reason}); the same command resumes") from error


@contextlib.contextmanager
def _hold(part: Path, target: Path) -> Iterator[None]:
    """Hold the unfinished file; whoever finishes it renames it, so the name may be another file's after the wait."""
    while True:
        with part.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if target.is_file() or (part.is_file() and os.path.samestat(os.fstat(file.fileno()), part.stat())):
                yield
                return


def bar(name: str) -> Progress | None:
    """Return a ``progress`` that keeps one line of a terminal up to date; None where there is no terminal."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int | None) -> None:
        of = f" of {total / 1e6:,.0f}" if total is not None else ""
        sys.stderr.write(f"\r{name}: {done / 1e6:,.0f}{of} MB" + ("\n" if done == total else ""))
        sys.stderr.flush()

    return show


def file_sha256(path: Path) -> str:
    """Return the SHA-256 hex digest of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(request: urllib.request.Request, part: Path, progress: Progress | None) -> None:
    attempts = ATTEMPTS
    while True:
        before = _size(part)
        try:
            _attempt(request, part, progress)
            return
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempts <= 1:
                raise
        except (OSError, http.client.HTTPException):
            if attempts <= 1:
                raise
        attempts = ATTEMPTS if _size(part) > before else attempts - 1
        time.sleep(PAUSE)


def _attempt(request: urllib.request.Request, part: Path, progress: Progress | None) -> None:
    """Fetch what is missing; raises ``ConnectionError`` where the server stops early."""
    have = _size(part)
    tag = _tag(part).read_text(encoding="utf-8") if have and _tag(part).is_file() else ""
    request.headers.pop("Range", None)
    request.headers.pop("If-range", None)
    if tag:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-range", tag)
    try:
        opened = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        # Nothing is left to send: all of it is here.
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
            return
        raise
    with contextlib.closing(opened) as answer:
        start = have if answer.status == 206 else 0
        if answer.status == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise ConnectionError("the server sent another part than was asked for")
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        found = answer.headers.get("ETag", "") or answer.headers.get("Last-Modified", "")
        # A weak tag does not promise equal bytes, so nothing may be joined on its word.
        _tag(part).write_text("" if found.startswith("W/") else found, encoding="utf-8")
        _copy(answer, part, start, total, progress)


def _copy(answer: _Answer, part: Path, start: int, total: int | None, progress: Progress | None) -> None:
    done = start
    with part.open("r+b") as file:
        file.seek(start)
        file.truncate()
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)
    if total is not None and done != total:
        raise ConnectionError(f"the server stopped after {done} of {total} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _tag(part: Path) -> Path:
    return part.with_name(part.name + ".tag")
