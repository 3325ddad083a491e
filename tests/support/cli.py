"""The real command line, in a process of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


def vlbench(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``vlbench`` with ``arguments``; variables of ``environment`` are added to those of this process."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("VLBENCH_DATA", "VLBENCH_DEBUG")}
    return subprocess.run(
        [sys.executable, "-m", "vlbench", *map(str, arguments)],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )


class Done(NamedTuple):
    """What a command of this process did: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def here(*arguments: object) -> Done:
    """Run ``vlbench`` with ``arguments`` in this process, which saves the start of one."""
    from vlbench.cli.app import run_app

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_app([str(argument) for argument in arguments])
    return Done(code, out.getvalue(), err.getvalue())
