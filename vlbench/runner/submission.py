"""The file for an evaluation server, beside the result of a split whose answers are not public."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlbench.leaderboard.samples import read_rows
from vlbench.leaderboard.store import samples_path, stem, submission_path, write_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vlbench.result import Result
    from vlbench.runner.progress import Reporter
    from vlbench.runner.rounds import TaskRun
    from vlbench.types import SampleRow


def save_submission(folder: Path, run: TaskRun, result: Result, rows: Sequence[SampleRow], reporter: Reporter) -> None:
    """Write the submission that the task makes of ``rows``, if it makes one, and say where it lies."""
    made = run.task.submission(rows, run.dataset)
    if made is None:
        return
    name, content = made
    path = submission_path(folder, result, name)
    write_file(path, content)
    reporter.say(f"{run.task.name}: no score here; hand {path} to the evaluation server")


def remake_submission(folder: Path, run: TaskRun, result: Result, reporter: Reporter) -> None:
    """Write the submission of a finished result again, from its rows: a reused result says where it lies too."""
    if result.primary is None:
        save_submission(folder, run, result, read_rows(samples_path(folder / f"{stem(result)}.json")), reporter)
