"""The plugin contract: every hook that vlbench calls.

A plugin is a module (or object) with functions of these names marked by :data:`vlbench.hookimpl`. It is found in the
built-in folders, through the entry-point group ``vlbench``, or by ``--plugin FILE.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import typer

    from vlbench.result import Result
    from vlbench.specs import AdapterSpec, DatasetSpec, ModelSpec, TaskSpec

PROJECT = "vlbench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def vlbench_register_models() -> Iterable[ModelSpec]:  # type: ignore[empty-body]
    """Return named models: each an adapter with a checkpoint and default arguments."""


@hookspec
def vlbench_register_adapters() -> Iterable[AdapterSpec]:  # type: ignore[empty-body]
    """Return adapters: what ``--model NAME:CHECKPOINT`` may name."""


@hookspec
def vlbench_register_tasks() -> Iterable[TaskSpec]:  # type: ignore[empty-body]
    """Return tasks: what ``--tasks`` may name."""


@hookspec
def vlbench_register_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Return datasets with licence, source and splits."""


@hookspec
def vlbench_register_commands(app: typer.Typer) -> None:
    """Add commands to the command line."""


@hookspec
def vlbench_run_start(model: str, tasks: Sequence[str]) -> None:
    """Be told, once the run's model and tasks are known and before the first batch."""


@hookspec
def vlbench_task_scored(result: Result) -> None:
    """Be told that a task's result has been written."""


@hookspec
def vlbench_run_end(results: Sequence[Result]) -> None:
    """Be told that the last task of a run is done."""
