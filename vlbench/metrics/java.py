"""What the metrics that run in Java share: METEOR and SPICE."""

from __future__ import annotations

import shutil
from typing import IO

__all__ = ["JavaBrokeOff", "JavaUnavailable", "find_java", "first_line"]


class JavaUnavailable(Exception):  # noqa: N818 - a state of the machine, not a fault of the input
    """A metric cannot be had; the message is the reason that stands in the result."""


class JavaBrokeOff(JavaUnavailable):
    """Java ended early, or was stopped: another attempt may succeed."""


def find_java() -> str:
    """Return the path of ``java``; raises ``JavaUnavailable`` where there is none."""
    java = shutil.which("java")
    if java is None:
        raise JavaUnavailable("needs Java, and there is no java on the PATH")
    return java


def first_line(errors: IO[bytes]) -> str:
    """Return the first line of what a program wrote into the file ``errors``, or an empty string."""
    errors.seek(0)
    said = errors.read().decode("utf-8", "replace").strip().splitlines()
    return said[0] if said else ""
