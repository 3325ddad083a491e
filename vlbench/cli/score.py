"""``vlbench score``: score a predictions file in an official results format, without a model."""

from __future__ import annotations

import os
import sys
from pathlib import Path  # noqa: TC003 (the command line is made from the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from vlbench.cli.options import Bootstrap, Plugin  # noqa: TC001
from vlbench.errors import UsageError
from vlbench.stats import DRAWS

if TYPE_CHECKING:
    from vlbench.result import Result


def score(
    task: Annotated[str, typer.Option(help="Task that scores (vlbench list tasks).")],
    predictions: Annotated[Path, typer.Option(metavar="FILE", help="Predictions in the official results format.")],
    references: Annotated[Path | None, typer.Option(metavar="FILE", help="File of references (captions).")] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder with the dataset, or scenes. Default: $VLBENCH_DATA.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split; default: the first that the data holds.")] = None,
    task_arg: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="For the task.")] = None,
    name: Annotated[str | None, typer.Option(help="What to call the model; default: the name of the file.")] = None,
    plugin: Plugin = None,
    bootstrap: Bootstrap = DRAWS,
    output: Annotated[Path | None, typer.Option(help="Folder to write the result into; default: none.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Score a predictions file in an official results format, without a model."""
    from vlbench.cli.run import check_positive, data_root, key_values
    from vlbench.plugins import load_plugins
    from vlbench.runner.driver import check_output
    from vlbench.runner.progress import StderrReporter
    from vlbench.runner.score import load_truth, score_file

    _check_truth(references, data)
    if bootstrap:
        check_positive("--bootstrap", bootstrap)
    plugins = load_plugins(plugin or ())
    chosen = plugins.task(task).load()(key_values(task_arg, task, [task]))
    if output is not None:
        check_output(output)
    reporter = StderrReporter()
    for error in plugins.errors:
        reporter.warn(error)
    root = None if references is not None else data_root(data)
    dataset = load_truth(chosen, references, root, split)
    command = ("vlbench", *sys.argv[1:])
    result, rows = score_file(
        chosen, dataset, predictions, reporter, name=name, command=command, plugins=plugins, draws=bootstrap
    )
    if output is not None:
        from vlbench.leaderboard.store import write_result

        path = write_result(output, result, rows)
        reporter.say(f"result in {path} (vlbench leaderboard show {output})")
    _show(result, as_json)
    if output is not None:
        plugins.manager.hook.vlbench_task_scored(result=result)


def _check_truth(references: Path | None, data: str | None) -> None:
    if references is not None and data is not None:
        raise UsageError("--references and --data exclude each other; give the one that holds the references")
    # A run without data takes the bundled scenes; predictions of anything else would only fail on its ids.
    if references is None and not (data or os.environ.get("VLBENCH_DATA")):
        raise UsageError("nothing to score against; give --references FILE, or --data ROOT (or --data scenes)")


def _show(result: Result, as_json: bool) -> None:
    if as_json:
        import json

        sys.stdout.write(json.dumps([result.to_json()], indent=2) + "\n")
        return
    from vlbench.leaderboard.table import print_table

    print_table([result])
