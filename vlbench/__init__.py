"""vlbench: the evaluation harness for vision-language models.

Public names are imported on first use, so that ``import vlbench`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Adapter": "vlbench.adapter",
    "AdapterSpec": "vlbench.specs",
    "Choose": "vlbench.types",
    "DatasetSpec": "vlbench.specs",
    "Decoding": "vlbench.types",
    "EmbedImage": "vlbench.types",
    "EmbedText": "vlbench.types",
    "Generate": "vlbench.types",
    "LogLikelihood": "vlbench.types",
    "Match": "vlbench.types",
    "Metric": "vlbench.types",
    "ModelSpec": "vlbench.specs",
    "Result": "vlbench.result",
    "SampleRow": "vlbench.types",
    "Task": "vlbench.task",
    "TaskSpec": "vlbench.specs",
    "VlbenchError": "vlbench.errors",
    "evaluate": "vlbench.runner.driver",
    "hookimpl": "vlbench.hookspecs",
    "load_results": "vlbench.api",
    "run": "vlbench.api",
}

__all__ = [
    "Adapter",
    "AdapterSpec",
    "Choose",
    "DatasetSpec",
    "Decoding",
    "EmbedImage",
    "EmbedText",
    "Generate",
    "LogLikelihood",
    "Match",
    "Metric",
    "ModelSpec",
    "Result",
    "SampleRow",
    "Task",
    "TaskSpec",
    "VlbenchError",
    "evaluate",
    "hookimpl",
    "load_results",
    "run",
    "__version__",
]

if TYPE_CHECKING:
    from vlbench.adapter import Adapter
    from vlbench.api import load_results, run
    from vlbench.errors import VlbenchError
    from vlbench.hookspecs import hookimpl
    from vlbench.result import Result
    from vlbench.runner.driver import evaluate
    from vlbench.specs import AdapterSpec, DatasetSpec, ModelSpec, TaskSpec
    from vlbench.task import Task
    from vlbench.types import (
        Choose,
        Decoding,
        EmbedImage,
        EmbedText,
        Generate,
        LogLikelihood,
        Match,
        Metric,
        SampleRow,
    )


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vlbench' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
