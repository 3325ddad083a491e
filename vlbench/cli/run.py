"""``vlbench run``: evaluate models on tasks."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlbench.cli.options import (  # noqa: TC001
    AsJson,
    Attention,
    Bootstrap,
    Compiled,
    Data,
    DeviceMap,
    Models,
    Plugin,
    Results,
)
from vlbench.errors import UsageError
from vlbench.stats import DRAWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.plugins import Plugins
    from vlbench.runner.driver import RunReport
    from vlbench.runner.options import RunOptions

DEFAULT_MODEL = "vlbench-tiny"
FAILED = 4
ENGINES = ("local", "ray")


def run(
    model: Models = DEFAULT_MODEL,
    tasks: Annotated[str, typer.Option(help="Task names by commas, or all.")] = "all",
    model_arg: Annotated[list[str] | None, typer.Option(metavar="[MODEL:]KEY=VALUE", help="For the adapter.")] = None,
    task_arg: Annotated[list[str] | None, typer.Option(metavar="[TASK:]KEY=VALUE", help="For the task.")] = None,
    prompt: Annotated[
        list[str] | None, typer.Option(metavar="[TASK:]TEXT", help="Prompt instead of the model family's.")
    ] = None,
    data: Data = None,
    split: Annotated[str | None, typer.Option(help="Split; default: the first that the data holds.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N samples (in the signature).")] = None,
    batch_size: Annotated[str, typer.Option(metavar="auto|N", help="Requests a batch.")] = "auto",
    dtype: Annotated[str, typer.Option(metavar="auto|float32|bfloat16|float16", help="Of the weights.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …; or several by commas.")] = "auto",
    attn: Attention = None,
    compiled: Compiled = False,
    device_map: DeviceMap = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a hub checkpoint.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of random weights, of sampling and of the bootstrap.")] = 0,
    bootstrap: Bootstrap = DRAWS,
    workers: Annotated[int | None, typer.Option(help="Threads that prepare batches.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither take nor keep answers across runs.")] = False,
    engine: Annotated[str, typer.Option(metavar="local|ray", help="Processes of this machine, or Ray.")] = "local",
    num_workers: Annotated[int | None, typer.Option(help="Workers, each with the model.")] = None,
    profile: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a Chrome trace of the run.")] = None,
    plugin: Plugin = None,
    tracker: Annotated[str | None, typer.Option(metavar="mlflow|wandb", help="Send the results there, too.")] = None,
    strict_plugins: Annotated[bool, typer.Option(help="Fail if an installed plugin is broken.")] = False,
    allow_missing: Annotated[bool, typer.Option(help="Count samples of missing images as wrong.")] = False,
    max_failures: Annotated[int, typer.Option(help="Failed samples that are tolerated.")] = 0,
    output: Results = Path("vlbench-results"),
    as_json: AsJson = False,
) -> None:
    """Evaluate models on tasks. Without options: the bundled model on the bundled benchmark."""
    from vlbench.plugins import load_plugins
    from vlbench.trackers import module

    models, names = _names(model, "--model"), _names(tasks, "--tasks")
    whole = {"--limit": limit, "--workers": workers, "--num-workers": num_workers, "--bootstrap": bootstrap or None}
    for option, number in whole.items():
        check_positive(option, number)
    _check_engine(engine, profile, alone=engine == "local" and not num_workers and "," not in device)
    trackers = [module(name) for name in _names(tracker, "--tracker")] if tracker is not None else []
    plugins = load_plugins([*(plugin or ()), *trackers], strict=strict_plugins)
    given: dict[str, Any] = {"split": split, "limit": limit, "device": device, "revision": revision, "seed": seed}
    given |= {"bootstrap": bootstrap, "workers": workers, "cache": not no_cache, "engine": engine}
    given |= {"num_workers": num_workers, "output": output, "allow_missing": allow_missing, "prompt": prompt}
    options = run_options(plugins, names, task_arg, data=data, batch_size=batch_size, dtype=dtype, **given)
    arguments = [*settings(attn, compiled, device_map), *(model_arg or ())]
    _run_models(models, names, options, plugins, arguments, max_failures, as_json, profile)


def run_options(
    plugins: Plugins,
    tasks: Sequence[str],
    task_arg: Sequence[str] | None,
    *,
    prompt: Sequence[str] | None = None,
    data: str | None,
    batch_size: str,
    dtype: str,
    **more: Any,
) -> RunOptions:
    """Return what the command line asked for, checked; ``more`` are further fields of ``RunOptions`` as they are."""
    from vlbench.runner.options import RunOptions

    if dtype not in ("auto", "float32", "bfloat16", "float16"):
        raise UsageError(f"--dtype {dtype!r} is none of auto, float32, bfloat16, float16")
    for task in tasks:
        if task != "all":
            plugins.task(task)
    return RunOptions(
        data=data_root(data),
        batch_size=None if batch_size == "auto" else _number("--batch-size", batch_size),
        dtype=dtype,
        task_arguments={
            task: {**given, **key_values(task_arg, task, tasks)}
            for task, given in _prompts(prompt or (), tasks, plugins).items()
        },
        command=("vlbench", *sys.argv[1:]),
        **more,
    )


def _prompts(given: Sequence[str], tasks: Sequence[str], plugins: Plugins) -> dict[str, dict[str, str]]:
    """Return by task what ``--prompt`` says as a task argument: for the task named, else for all that take a prompt.

    Raises ``UsageError`` where no task of the run takes it.
    """
    found: dict[str, dict[str, str]] = {task: {} for task in plugins.tasks}
    running = [task for task in plugins.tasks if task in tasks or "all" in tasks]
    for text in given:
        owner, separator, rest = text.partition(":")
        named = bool(separator) and owner in plugins.tasks
        takers = [task for task in ([owner] if named else running) if task in running]
        takers = [task for task in takers if "prompt" in plugins.task(task).load().argument_help]
        if not takers:
            who = f"{owner} is no task of this run that takes one" if named else "no task of this run takes one"
            raise UsageError(f"--prompt {text!r}: {who} (docs/tasks.md)")
        for task in takers:
            found[task]["prompt"] = rest if named else text
    return found


def _run_models(
    models: Sequence[str],
    tasks: Sequence[str],
    options: RunOptions,
    plugins: Plugins,
    model_arg: Sequence[str] | None,
    max_failures: int,
    as_json: bool,
    profile: Path | None,
) -> None:
    import dataclasses
    import json

    from vlbench.runner.driver import evaluate
    from vlbench.runner.interrupts import terminable
    from vlbench.runner.profile import recording
    from vlbench.runner.progress import StderrReporter

    reporter = StderrReporter()
    for error in plugins.errors:
        reporter.warn(error)
    if options.data is None:
        reporter.say("data: scenes, the bundled benchmark (--data ROOT for your own)")
    reports: list[RunReport] = []
    with recording(profile):
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


def _check_engine(engine: str, profile: Path | None, *, alone: bool) -> None:
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine!r} is none of {', '.join(ENGINES)}")
    if profile is not None and not alone:
        raise UsageError("--profile looks into one process; leave out --engine, --num-workers and further devices")


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


def data_root(data: Path | str | None) -> Path | str | None:
    """Return what ``--data`` or ``VLBENCH_DATA`` names (``vlbench.data.roots``), or None for the bundled scenes."""
    chosen = data or os.environ.get("VLBENCH_DATA") or "scenes"
    return None if chosen == "scenes" else chosen


def settings(attn: str | None, compiled: bool, device_map: str | None) -> list[str]:
    """Return the flags for the adapter as ``--model-arg`` has them, for every model; a later one overrides."""
    given = {"attn": attn, "compile": "yes" if compiled else None, "device_map": device_map}
    return [f"{name}={value}" for name, value in given.items() if value is not None]


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
