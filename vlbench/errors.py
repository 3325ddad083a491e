"""The errors of vlbench, each one clear line for the user and an exit code.

::

    VlbenchError            exit 2
    ├── UsageError          2   an option, a name or an argument is wrong
    ├── DataError           2   a file or folder is missing, malformed or inconsistent
    ├── ModelError          2   a model cannot be loaded
    ├── UnsupportedTask     2   the model lacks the capabilities that the task needs
    ├── PluginError         2   a plugin failed to import or to register
    ├── NotComparable       3   two results do not share a signature
    └── EvaluationFailed    4   the evaluation broke off, or more samples failed than allowed

Messages say who, what and what to do. They are printed as one line; the traceback only with ``--debug``.
"""

from __future__ import annotations

__all__ = [
    "DataError",
    "EvaluationFailed",
    "ModelError",
    "NotComparable",
    "PluginError",
    "UnsupportedTask",
    "UsageError",
    "VlbenchError",
]


class VlbenchError(Exception):
    """Base of all errors that vlbench raises on purpose; ``str(error)`` is the whole message."""

    exit_code = 2


class UsageError(VlbenchError):
    """An option, a name or an argument is wrong."""


class DataError(VlbenchError):
    """A file or folder is missing, malformed or inconsistent with its neighbours."""


class ModelError(VlbenchError):
    """A model cannot be loaded: unknown checkpoint, missing weights, wrong format."""


class UnsupportedTask(VlbenchError):
    """The model has none of the capability sets that the task can be answered with."""


class PluginError(VlbenchError):
    """A plugin failed to import, to register, or registered something malformed."""


class NotComparable(VlbenchError):
    """Two results do not share a signature; the message names the fields that differ."""

    exit_code = 3


class EvaluationFailed(VlbenchError):
    """The evaluation broke off, or more samples failed than ``--max-failures`` allows."""

    exit_code = 4
