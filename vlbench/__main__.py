"""``python -m vlbench`` and the console script."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress


def main() -> None:
    """Run the command line and exit with its code."""
    codes: list[int] = []
    # Registered before all else, so called after it: threads are joined by then, and other handlers have run.
    atexit.register(_leave, codes)
    from vlbench.cli.app import run_app

    codes.append(run_app(sys.argv[1:]))
    sys.exit(codes[0])


def _leave(codes: list[int]) -> None:
    """End the process at once: taking down an interpreter that has loaded torch lasts longer than many a command.

    Without a code, or where the standard streams cannot be written, Python ends in its own way, and tells.
    """
    with suppress(OSError, ValueError):
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        if codes:
            os._exit(codes[0])


if __name__ == "__main__":
    main()
