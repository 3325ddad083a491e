"""``vlbench check`` and ``vlbench baseline``: fail a build when a model got worse, and only then."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlbench.cli.options import Plugin  # noqa: TC001
from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.gate.baseline import Baseline
    from vlbench.gate.rules import Rules
    from vlbench.gate.verdict import Check
    from vlbench.plugins import Plugins
    from vlbench.runner.options import RunOptions
    from vlbench.runner.progress import Reporter

CONFIG = Path("vlbench.toml")
SUMMARY = "GITHUB_STEP_SUMMARY"
ALL = "all"
OF_MODEL = ("model_arg", "task_arg", "data", "split", "limit", "batch_size", "dtype", "device", "seed", "output")

Calibrate = Annotated[bool, typer.Option("--calibrate", help="Print a rule that --model passes against itself.")]
Results = Annotated[list[Path] | None, typer.Argument(metavar="RESULT…", help="Result files or folders of them.")]
BaselineOption = Annotated[Path, typer.Option("--baseline", metavar="FILE|DIR", help="Where baselines lie.")]

baseline_app = typer.Typer(help="Keep the baselines of vlbench check.", no_args_is_help=True, rich_markup_mode=None)


@baseline_app.command("write")
def write(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT…", help="Result files or folders of them.")],
    baseline: BaselineOption = Path("baselines"),
    force: Annotated[bool, typer.Option("--force", help="Replace what is there, anchor included.")] = False,
) -> None:
    """Make baseline and anchor of each task from results."""
    from vlbench.gate.baseline import write_baseline
    from vlbench.gate.results import read_scored

    for scored in read_scored(results).values():
        _wrote(write_baseline(baseline, scored, force))


@baseline_app.command("update")
def update(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT…", help="Result files or folders of them.")],
    baseline: BaselineOption = Path("baselines"),
) -> None:
    """Move the baselines to results; the anchors stay, so that slow drift is caught."""
    from vlbench.gate.baseline import update_baseline
    from vlbench.gate.results import read_scored

    for scored in read_scored(results).values():
        _wrote(update_baseline(baseline, scored))


@baseline_app.command("verify")
def verify(
    baselines: Annotated[list[Path], typer.Argument(metavar="FILE|DIR…", help="Baseline files or folders of them.")],
) -> None:
    """Read baseline and anchor of each file and recompute their metrics from the kept scores."""
    from vlbench.gate.baseline import faults, find_baselines

    wrong = 0
    for path in baselines:
        for task, found in find_baselines(path).items():
            lines = faults(path, found)
            wrong += bool(lines)
            typer.echo(f"{'DIFFERS' if lines else 'ok'} {path}: {task}, {len(found.baseline.rows)} samples")
            for line in lines:
                typer.echo(f"    {line}")
    if wrong:
        raise DataError(f"{wrong} baselines are not what their scores give; make them anew by vlbench baseline write")


def _wrote(path: Path) -> None:
    sys.stderr.write(f"{path} ({path.stat().st_size} bytes)\n")


def check(
    context: typer.Context,
    results: Results = None,
    baseline: BaselineOption = Path("baselines"),
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Rules; default: vlbench.toml if here.")] = None,
    metric: Annotated[str | None, typer.Option(help="Metric, in place of the rule's.")] = None,
    max_drop: Annotated[float | None, typer.Option(help="Drop that is tolerated, in place of the rule's.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Chance of a wrong verdict, in place of the rule's.")] = None,
    estimand: Annotated[str | None, typer.Option(metavar="population|benchmark", help="What the drop is of.")] = None,
    max_failures: Annotated[int, typer.Option(min=0, help="Failed samples that are tolerated.")] = 0,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Markdown.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
    model: Annotated[str | None, typer.Option(help="Evaluate this model first, in place of RESULT.")] = None,
    early_stop: Annotated[bool, typer.Option("--early-stop", help="Stop --model when the verdict is certain.")] = False,
    calibrate: Calibrate = False,
    tasks: Annotated[str | None, typer.Option(help="Tasks by commas; default: those with a rule or baseline.")] = None,
    model_arg: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="For the adapter.")] = None,
    task_arg: Annotated[list[str] | None, typer.Option(metavar="[TASK:]KEY=VALUE", help="For the task.")] = None,
    data: Annotated[str | None, typer.Option(help="As for vlbench run.")] = None,
    split: Annotated[str | None, typer.Option(help="As for vlbench run.")] = None,
    limit: Annotated[int | None, typer.Option(help="As for vlbench run.")] = None,
    batch_size: Annotated[str, typer.Option(metavar="auto|N", help="As for vlbench run.")] = "auto",
    dtype: Annotated[str, typer.Option(help="As for vlbench run.")] = "auto",
    device: Annotated[str, typer.Option(help="As for vlbench run.")] = "auto",
    seed: Annotated[int, typer.Option(help="As for vlbench run.")] = 0,
    plugin: Plugin = None,
    output: Annotated[Path, typer.Option(help="Folder of results of --model.")] = Path("vlbench-results"),
) -> None:
    """Tell whether results, or a model, got worse than the baseline: exit codes 0, 1, 3, 4, 5 (docs/ci.md)."""
    from vlbench.cli.run import key_values, run_options
    from vlbench.gate.baseline import find_baselines
    from vlbench.gate.results import of_tasks
    from vlbench.gate.verdict import check_results
    from vlbench.plugins import load_plugins
    from vlbench.runner.progress import StderrReporter

    _refuse(context, {"--early-stop": early_stop, "--calibrate": calibrate}, junit or markdown)
    rules = _rules(config).override(metric=metric, max_drop=max_drop, alpha=alpha, estimand=estimand)
    baselines = {} if calibrate else find_baselines(baseline)
    named = None if tasks is None else [name.strip() for name in tasks.split(",") if name.strip()]
    wanted = named or list(rules.tasks)
    plugins = load_plugins(plugin or ())
    if model is None:
        if named and ALL in named:
            raise UsageError(f"--tasks {ALL} is for --model; without --tasks all results and baselines are checked")
        scored = of_tasks(results or [], wanted, baselines)
        for task in (task for task in named or () if isinstance(scored[task], str) and task not in baselines):
            plugins.task(task)  # a name that no task has is a slip, and no result that is missing
        return _report(check_results(scored, baselines, rules, max_failures), junit, markdown, as_json)
    wanted = wanted or list(baselines)
    given: dict[str, Any] = {"split": split, "limit": limit, "device": device, "seed": seed, "output": output}
    given["model_arguments"] = key_values(model_arg, model, [model])
    options = run_options(plugins, wanted, task_arg, data=data, batch_size=batch_size, dtype=dtype, **given)
    reporter = StderrReporter()
    if calibrate:
        return _calibrate(model, wanted, options, plugins, reporter, rules, as_json)
    checks = _of_model(model, wanted, options, plugins, reporter, baselines, rules, max_failures, early_stop)
    _report(checks, junit, markdown, as_json)


def _of_model(
    model: str,
    wanted: Sequence[str],
    options: RunOptions,
    plugins: Plugins,
    reporter: Reporter,
    baselines: Mapping[str, Baseline],
    rules: Rules,
    max_failures: int,
    early_stop: bool,
) -> list[Check]:
    """Evaluate ``model`` on what has a baseline; that a task has none is said before, and costs no evaluation."""
    from vlbench.gate.early import check_early
    from vlbench.gate.results import evaluated
    from vlbench.gate.verdict import check_metrics, check_results, no_baseline

    missing = [task for task in wanted if task not in baselines and task != ALL]
    for task in missing:
        plugins.task(task)
    checks = [no_baseline(task, baselines, rules) for task in missing]
    tasks = [task for task in wanted if task not in missing]
    if not tasks:
        return checks
    if early_stop:
        tasks = list(baselines) if ALL in tasks else tasks
        return checks + check_early(model, tasks, options, plugins, reporter, baselines, rules, max_failures)
    check_metrics({task: found.baseline for task, found in baselines.items() if task in tasks}, rules)
    evaluation = evaluated(model, tasks, options, plugins, reporter, baselines)
    return checks + check_results(evaluation, baselines, rules, max_failures)


def _refuse(context: typer.Context, modes: Mapping[str, bool], report: Path | None) -> None:
    chosen = [name for name, wanted in modes.items() if wanted]
    model, results = context.params["model"], context.params["results"]
    if model is None and not results:
        raise UsageError("give results to check, or --model M to evaluate one first")
    if model is not None and results:
        raise UsageError(f"--model evaluates {model} first: give no results ({results[0]}) beside it, or no --model")
    given = [name for name in OF_MODEL if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    if given and model is None:
        raise UsageError(f"--{given[0].replace('_', '-')} is for --model: results that are there were made without it")
    if chosen and model is None:
        raise UsageError(f"{chosen[0]} is for --model: results that are there have nothing left to save or to repeat")
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} exclude each other")
    if report is not None and "--calibrate" in chosen:
        raise UsageError(f"--calibrate has no verdict to report in {report}; it prints a rule")


def _calibrate(
    model: str,
    tasks: Sequence[str],
    options: RunOptions,
    plugins: Plugins,
    reporter: Reporter,
    rules: Rules,
    as_json: bool,
) -> None:
    import dataclasses

    from vlbench.gate.calibrate import calibrate, to_json, to_toml

    if not tasks:
        raise UsageError("--calibrate needs the tasks: name them by --tasks, or in vlbench.toml")
    # Apart from the results of checks, of which a folder has one a task.
    apart = dataclasses.replace(options, output=options.output / "calibrate")
    found = calibrate(model, tasks, apart, plugins, reporter, rules)
    sys.stdout.write(to_json(found) if as_json else to_toml(found, rules.tasks))


def _rules(config: Path | None) -> Rules:
    from vlbench.gate.rules import Rules, read_rules

    if config is None and not CONFIG.exists():
        return Rules()
    return read_rules(config or CONFIG)


def _report(checks: Sequence[Check], junit: Path | None, markdown: Path | None, as_json: bool) -> None:
    """Write the reports and leave with the exit code of the verdict that counts."""
    from vlbench.gate.reports import to_json, to_junit, to_markdown, to_text
    from vlbench.gate.verdict import worst
    from vlbench.leaderboard.store import write_file
    from vlbench.leaderboard.table import write_text

    # First of all: a report that cannot be written must not hide the verdict.
    if as_json:
        sys.stdout.write(to_json(checks))
    else:
        write_text(to_text(checks))
    if junit is not None:
        write_file(junit, to_junit(checks).encode())
    if markdown is not None:
        write_file(markdown, to_markdown(checks).encode())
    if os.environ.get(SUMMARY):
        try:
            with Path(os.environ[SUMMARY]).open("a", encoding="utf-8") as file:
                file.write(to_markdown(checks))
        except OSError as error:
            raise DataError(f"cannot write ${SUMMARY} ({error.strerror})") from error
    raise typer.Exit(worst(checks).exit_code)
