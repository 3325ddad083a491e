"""Trackers: plugins that send the results of a run to a service, as ``--tracker NAME`` or ``--plugin`` by module name.

When the last task of a model is done, all its results become one run of the tracker. Its identity follows from the
results, so that the same command sent twice leaves one run. Results lie on the disk before anything is sent.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from vlbench.errors import PluginError, UsageError
from vlbench.plugins import nearest
from vlbench.types import content_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.result import Result

NAMES = ("mlflow", "wandb")
PROJECT = "vlbench"
"""Experiment of MLflow and project of W&B, unless their own variables name another."""


def module(name: str) -> str:
    """Return the plugin of a tracker; raises ``UsageError`` for an unknown one."""
    if name not in NAMES:
        raise UsageError(f"unknown --tracker {name!r}{nearest(name, NAMES)} (there are: {', '.join(NAMES)})")
    return f"{__name__}.{name}"


def need(name: str) -> None:
    """Raise ``PluginError`` where the package of a tracker is not installed: before a run, not after it."""
    if importlib.util.find_spec(name) is None:
        raise PluginError(f"--tracker {name} needs the package {name}: pip install 'vlbench[{name}]'")


def refused(name: str, error: Exception) -> PluginError:
    """Return the one line for a tracker that did not take the results."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return PluginError(f"the results are written, but {name} did not take them ({reason}); the same command sends them")


def identity(results: Sequence[Result]) -> str:
    """Return what a run of these very results is known by."""
    return content_key("tracked", *sorted(result.run_id for result in results))[:16]


def parameters(results: Sequence[Result]) -> dict[str, str]:
    """Return what was evaluated on what, as texts."""
    model = results[0].model
    found = {
        "model": model.name,
        "adapter": model.adapter,
        "checkpoint": model.checkpoint,
        "fingerprint": model.fingerprint,
        "dtype": model.dtype,
        "parameters": str(model.parameters),
        "provenance": model.provenance,
        "trained_on": ", ".join(model.trained_on),
        "random_weights": str(model.random_weights),
    }
    for result in results:
        found[f"{result.task.name}/signature"] = result.signature
        found[f"{result.task.name}/partial"] = str(result.task.partial or result.task.limit is not None)
    return found


def measured(results: Sequence[Result]) -> dict[str, float]:
    """Return metrics with the ends of their intervals, counts of samples and costs, under ``task/…``."""
    found: dict[str, float] = {}
    for result in results:
        task = result.task.name
        for name, metric in result.metrics.items():
            if metric.value is not None:
                found[f"{task}/{name}"] = metric.value
            if metric.ci95 is not None:
                found[f"{task}/{name}/ci95_low"], found[f"{task}/{name}/ci95_high"] = metric.ci95
        found[f"{task}/samples/attempted"] = result.samples.attempted
        found[f"{task}/samples/failed"] = result.samples.failed
        found |= {f"{task}/cost/{name}": value for name, value in result.cost.items() if value is not None}
    return found
