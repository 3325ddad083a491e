"""The real command line, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
