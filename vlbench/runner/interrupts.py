"""Ctrl-C and SIGTERM: the first lets the batch under way end and be written, the second stops at once.

Both end a run with ``KeyboardInterrupt``, so that engines are closed, locks are freed and the exit code is 130.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
FINISHING = "interrupted: finishing the batch under way; once more stops at once"


class Interrupted:
    """Whether a signal asked to stop."""

    asked: bool = False


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Let ``handler`` take the signals; outside the main thread nothing can, and the default stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM, which batch systems send before they kill, end the block as Ctrl-C does."""
    with _handled(_stop):
        yield


@contextlib.contextmanager
def deferred(say: Callable[[str], None]) -> Iterator[Interrupted]:
    """Note the first signal instead of raising, and say so; the block looks at ``asked`` after each batch."""
    interrupted = Interrupted()

    def note(number: int, frame: FrameType | None) -> None:
        if interrupted.asked:
            raise KeyboardInterrupt
        interrupted.asked = True
        say(FINISHING)

    with _handled(note):
        yield interrupted
