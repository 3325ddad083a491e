"""Progress on stderr: a rich bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_INTERVAL_SECONDS = 10.0


class Reporter(Protocol):
    """What a run tells about itself while it works."""

    def say(self, text: str) -> None:
        """Show a line."""

    def warn(self, text: str) -> None:
        """Show a warning."""

    def start(self, total: int, done: int, unit: str = "requests") -> None:
        """Begin to count what is called ``unit``: ``done`` of ``total`` were there before."""

    def advance(self, requests: int) -> None:
        """Count what is finished."""

    def stop(self) -> None:
        """End the count."""


class Silent:
    """A reporter that says nothing, for use as a library."""

    def say(self, text: str) -> None:
        """Drop the line."""

    def warn(self, text: str) -> None:
        """Drop the warning."""

    def start(self, total: int, done: int, unit: str = "requests") -> None:
        """Do nothing."""

    def advance(self, requests: int) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class StderrReporter:
    """Reports on stderr: with a bar, throughput and time left on a terminal; a line every ten seconds elsewhere."""

    def __init__(self) -> None:
        """Write nothing yet."""
        from rich.console import Console

        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._bar: _Bar | None = None
        self._total = self._done = self._base = 0
        self._started = self._shown = 0.0

    def say(self, text: str) -> None:
        """Show a line."""
        self._console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """Show a warning."""
        self._console.print(f"warning: {text}", markup=False, style="yellow")

    def start(self, total: int, done: int, unit: str = "requests") -> None:
        """Begin to count."""
        self._total, self._done, self._unit = total, done, unit
        self._started = self._shown = time.monotonic()
        self._base = done
        if sys.stderr.isatty():
            self._bar = _Bar(self._console, total, done, unit)

    def advance(self, requests: int) -> None:
        """Count finished requests."""
        self._done += requests
        if self._bar is not None:
            self._bar.advance(requests)
            return
        now = time.monotonic()
        if now - self._shown < PLAIN_INTERVAL_SECONDS and self._done < self._total:
            return
        self._shown = now
        rate = (self._done - self._base) / max(now - self._started, 1e-9)
        left = (self._total - self._done) / max(rate, 1e-9)
        self.say(f"{self._done}/{self._total} {self._unit}, {rate:.1f}/s, {left:.0f} s left")

    def stop(self) -> None:
        """End the count."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class _Bar:
    def __init__(self, console: Console, total: int, done: int, unit: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("[progress.description]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task(unit, total=total, completed=done, rate="")
        self._progress.start()

    def advance(self, requests: int) -> None:
        speed = self._progress.tasks[0].speed
        self._progress.update(self._task, advance=requests, rate=f"{speed:.0f}/s" if speed else "")

    def stop(self) -> None:
        self._progress.stop()
