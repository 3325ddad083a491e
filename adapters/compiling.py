"""Models compiled with torch (``--compile``), part by part, and one clear line where this machine cannot."""

from __future__ import annotations

import importlib.util
import shutil
from typing import TYPE_CHECKING

from vlbench.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch


def compile_parts(parts: Iterable[torch.nn.Module], device: str) -> None:
    """Compile each of ``parts`` when it is first called; names of weights stay as they are.

    The parts, since adapters call these themselves: compiling the whole would reach only its own forward. Raises
    ``ModelError`` where torch has no compiler for ``device``, which would otherwise show only in the first batch.
    """
    _check(device.partition(":")[0])
    for part in parts:
        part.compile()


def _check(kind: str) -> None:
    """Look for the compiler; a trial would tell more, and take seconds each time."""
    from torch._inductor import config

    compilers = [name for name in config.cpp.cxx if name]
    if kind == "cpu" and not any(map(shutil.which, compilers)):
        raise ModelError(
            f"--compile needs a C++ compiler, and {' or '.join(compilers)} is not here; install g++ or clang++, name "
            "another in the variable CXX, or leave --compile out"
        )
    if kind == "cuda" and importlib.util.find_spec("triton") is None:
        raise ModelError("--compile on a GPU needs the package triton: pip install triton, or leave --compile out")
