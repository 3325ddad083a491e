"""Where the time of a run goes: spans of the pipeline, written as a Chrome trace (``chrome://tracing``, Perfetto).

Spans are taken in this process only, and cost nothing while no file is being recorded.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from vlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_events: list[dict[str, Any]] | None = None
"""Spans so far, of all threads (appending to a list is atomic); None while nothing is recorded."""


@contextlib.contextmanager
def recording(path: Path | None) -> Iterator[None]:
    """Write the spans of the block into ``path``, also where it ends with an error; do nothing for None.

    Raises ``DataError`` before the block where the file cannot be written.
    """
    if path is None:
        yield
        return
    global _events
    _write(path, [])
    _events = []
    try:
        yield
    finally:
        events, _events = _events, None
        _write(path, events + _names(events))


def span(name: str, **about: object) -> contextlib.AbstractContextManager[None]:
    """Time the block under ``name``; ``about`` is shown beside it."""
    return contextlib.nullcontext() if _events is None else _timed(_events, name, about)


@contextlib.contextmanager
def _timed(events: list[dict[str, Any]], name: str, about: dict[str, object]) -> Iterator[None]:
    started = time.perf_counter_ns()
    try:
        yield
    finally:
        took = time.perf_counter_ns() - started
        place = {"pid": os.getpid(), "tid": threading.get_native_id()}
        # The format counts in microseconds. "X" is a span with its duration.
        events.append({"name": name, "ph": "X", "ts": started / 1000, "dur": took / 1000, **place, "args": about})


def _names(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return events that name the rows of threads: the driver's own, and those that prepare."""
    rows = dict.fromkeys((event["pid"], event["tid"]) for event in events)
    return [
        {
            "name": "thread_name",
            "ph": "M",
            "pid": pid,
            "tid": tid,
            "args": {"name": "driver and device" if pid == tid else f"prepares ({tid})"},
        }
        for pid, tid in rows
    ]


def _write(path: Path, events: list[dict[str, Any]]) -> None:
    try:
        path.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}), encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write the profile {path} ({error.strerror}); choose another --profile") from error
