"""``vlbench run``: evaluate models on tasks."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.runner.driver import RunReport
    from vlbench.runner.options import RunOptions

DEFAULT_MODEL = "vlbench-tiny"
FAILED = 4


def run(
    model: Annotated[str, typer.Option(help="Model names, adapter:checkpoint or folders; several by commas.")] = (
        DEFAULT_MODEL
    ),
    tasks: Annotated[str, typer.Option(help="Task names by commas, or all.")] = "all",
    model_arg: Annotated[list[str] | None, typer.Option(metavar="[MODEL:]KEY=VALUE", help="For the adapter.")] = None,
    task_arg: Annotated[list[str] | None, typer.Option(metavar="[TASK:]KEY=VALUE", help="For the task.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Folder with the datasets, hub, hf:org/name[@revision], wds:FOLDER-or-URL, or scenes. "
            "Default: $VLBENCH_DATA, else scenes."
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split; default: the first that the data holds.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N samples (in the signature).")] = None,
    batch_size: Annotated[str, typer.Option(metavar="auto|N", help="Requests a batch.")] = "auto",
    dtype: Annotated[str, typer.Option(metavar="auto|float32|bfloat16|float16", help="Of the weights.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …; or several by commas.")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Revision of a hub checkpoint.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of random weights, of sampling and of the bootstrap.")] = 0,
    bootstrap: Annotated[int, typer.Option(metavar="N", help="Draws behind the 95 % intervals; 0: none.")] = 1000,
    workers: Annotated[int | None, typer.Option(help="Threads that prepare batches.")] = None,
    num_workers: Annotated[int | None, typer.Option(help="Worker processes, each with the model.")] = None,
    plugin: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A plugin file or module.")] = None,
    strict_plugins: Annotated[bool, typer.Option(help="Fail if an installed plugin is broken.")] = False,
    allow_missing: Annotated[bool, typer.Option(help="Count samples of missing images as wrong.")] = False,
    max_failures: Annotated[int, typer.Option(help="Failed samples that are tolerated.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder of results.")] = Path("vlbench-results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON, and nothing else.")] = False,
) -> None:
    """Evaluate models on tasks. Without options: the bundled model on the bundled benchmark."""
    from vlbench.plugins import load_plugins
    from vlbench.runner.options import RunOptions

    models, names = _names(model, "--model"), _names(tasks, "--tasks")
    for option, number in (
        ("--limit", limit),
        ("--workers", workers),
        ("--num-workers", num_workers),
        ("--bootstrap", bootstrap or None),
    ):
        check_positive(option, number)
    if dtype not in ("auto", "float32", "bfloat16", "float16"):
        raise UsageError(f"--dtype {dtype!r} is none of auto, float32, bfloat16, float16")
    plugins = load_plugins(plugin or (), strict=strict_plugins)
    for task in names:
        if task != "all":
            plugins.task(task)
    options = RunOptions(
        data=data_root(data),
        split=split,
        limit=limit,
        batch_size=None if batch_size == "auto" else _number("--batch-size", batch_size),
        dtype=dtype,
        device=device,
        revision=revision,
        seed=seed,
        bootstrap=bootstrap,
        workers=workers,
        num_workers=num_workers,
        output=output,
        allow_missing=allow_missing,
        task_arguments={task: key_values(task_arg, task, names) for task in plugins.tasks},
        command=("vlbench", *sys.argv[1:]),
    )
    _run_models(models, names, options, plugins, model_arg, max_failures, as_json)


def _run_models(
    models: Sequence[str],
    tasks: Sequence[str],
    options: RunOptions,
    plugins: object,
    model_arg: Sequence[str] | None,
    max_failures: int,
    as_json: bool,
) -> None:
    import dataclasses
    import json

    from vlbench.plugins import Plugins
    from vlbench.runner.driver import evaluate
    from vlbench.runner.interrupts import terminable
    from vlbench.runner.progress import StderrReporter

    assert isinstance(plugins, Plugins)
    reporter = StderrReporter()
    for error in plugins.errors:
        reporter.warn(error)
    if options.data is None:
        reporter.say("data: scenes, the bundled benchmark (--data ROOT for your own)")
    reports: list[RunReport] = []
    for model in models:
        chosen = dataclasses.replace(options, model_arguments=key_values(model_arg, model, models))
        with terminable():
            reports.append(evaluate(model, tasks, chosen, plugins=plugins, reporter=reporter))
    results = [result for report in reports for result in report.results]
    if as_json:
        sys.stdout.write(json.dumps([result.to_json() for result in results], indent=2) + "\n")
    else:
        from vlbench.leaderboard.references import NEAREST, load_references
        from vlbench.leaderboard.table import print_table

        print_table(results, references=load_references(), nearest=NEAREST)
        for report in reports:
            for task, reason in report.unsupported.items():
                reporter.say(f"not run: {task}: {reason}")
        reporter.say(f"results in {options.output}/ (vlbench leaderboard show {options.output})")
    failed = sum(report.failed_samples for report in reports)
    if failed:
        first = next(line for result in results for line in result.samples.failures)
        reporter.warn(f"{failed} samples failed and count as wrong; the first: {first}")
    if failed > max_failures:
        raise typer.Exit(FAILED)


def _names(value: str, option: str) -> list[str]:
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not names:
        raise UsageError(f"{option} is empty")
    return list(dict.fromkeys(names))


def check_positive(option: str, value: int | None) -> None:
    """Raise ``UsageError`` for a number below 1."""
    if value is not None and value < 1:
        raise UsageError(f"{option} {value} is not possible; it takes a whole number from 1")


def _number(option: str, value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise UsageError(f"{option} {value!r} is neither auto nor a whole number from 1")
    return int(value)


def data_root(data: str | None) -> str | None:
    """Return what ``--data`` or ``VLBENCH_DATA`` names (``vlbench.data.roots``), or None for the bundled scenes."""
    chosen = data or os.environ.get("VLBENCH_DATA") or "scenes"
    return None if chosen == "scenes" else chosen


def key_values(given: Sequence[str] | None, target: str, targets: Sequence[str]) -> dict[str, str]:
    """Return the KEY=VALUE pairs meant for ``target``: those with its prefix, and those with none.

    A prefix counts only where it names one of ``targets``, since values and names may hold colons themselves.
    """
    chosen: dict[str, str] = {}
    for text in given or ():
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UsageError(f"{text!r} is not KEY=VALUE")
        owner, _, rest = key.rpartition(":")
        if owner and owner not in targets and "all" not in targets:
            raise UsageError(f"{text!r} is meant for {owner!r}, which is not part of this run")
        if not owner or owner == target:
            chosen[rest] = value
    return chosen
