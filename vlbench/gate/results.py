"""What is checked: results that lie in files, or those of a model that is evaluated now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlbench.errors import EvaluationFailed, ModelError, UnsupportedTask, UsageError, VlbenchError
from vlbench.gate.baseline import Scored
from vlbench.leaderboard.samples import read_rows
from vlbench.leaderboard.store import find_results, result_files, samples_path, stem
from vlbench.runner.driver import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from vlbench.gate.baseline import Baseline
    from vlbench.plugins import Plugins
    from vlbench.runner.driver import RunReport
    from vlbench.runner.options import RunOptions
    from vlbench.runner.progress import Reporter


def read_scored(paths: Sequence[Path]) -> dict[str, Scored]:
    """Return the results of files and folders by task; raises ``UsageError`` where a task has more than one."""
    found: dict[str, tuple[Path, Scored]] = {}
    for file, result in find_results(paths):
        task = result.task.name
        if task in found:
            raise UsageError(f"there are several results of {task}; name one of the files: {found[task][0]}, {file}")
        found[task] = file, Scored(result, read_rows(samples_path(file)))
    return {task: scored for task, (_, scored) in found.items()}


def of_tasks(paths: Sequence[Path], wanted: Sequence[str], baselines: Iterable[str]) -> dict[str, Scored | str]:
    """Return the results of ``wanted``; a task without one has the reason in its place.

    Without ``wanted`` they are those that are there, and those that have a baseline: an evaluation that broke off
    leaves fewer results than it should, or none.
    """
    there = [path for path in paths if result_files(path)]
    found = read_scored(there) if there else {}
    empty = [str(path) for path in paths if path not in there]
    where = f" (there is none in {', '.join(empty)})" if empty else ""
    named = wanted or dict.fromkeys([*found, *baselines])
    return {task: found.get(task, f"no result of {task} was given{where}") for task in named}


def evaluated(
    model: str,
    tasks: Sequence[str],
    options: RunOptions,
    plugins: Plugins,
    reporter: Reporter,
    baselines: Mapping[str, Baseline],
) -> dict[str, Scored | str]:
    """Evaluate ``model`` and return its results by task; where the model could not be evaluated, the reason.

    So it is with a task of ``all`` that the model cannot do and that has one of ``baselines``: some model could.
    """
    try:
        report = evaluate(model, tasks, options, plugins=plugins, reporter=reporter)
    except Exception as error:
        return dict.fromkeys(tasks, why_failed(error))
    return of_report(report, options.output, baselines)


def why_failed(error: Exception) -> str:
    """Return why the model under test failed: it cannot be loaded, cannot do the task, or broke off.

    Raises ``error`` again where names, options or data are to blame: the user has to mend those, whatever the model.
    """
    if isinstance(error, (EvaluationFailed, ModelError, UnsupportedTask)):
        return str(error)
    if isinstance(error, VlbenchError):
        raise error
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def of_report(report: RunReport, output: Path, baselines: Mapping[str, Baseline]) -> dict[str, Scored | str]:
    """Return the results of a run into ``output`` by task; of a task that has a baseline and could not run, why."""
    found: dict[str, Scored | str] = {
        result.task.name: Scored(result, read_rows(samples_path(output / f"{stem(result)}.json")))
        for result in report.results
    }
    return found | {task: reason for task, reason in report.unsupported.items() if task in baselines}
