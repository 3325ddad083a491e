"""Scoring a predictions file in an official results format: a result without a model.

The result is an ordinary one. Its "model" is the file: named after it, fingerprinted over its bytes, with no
parameters and the provenance ``predictions``. Nobody knows how the predictions were made, so the protocol is
``predictions`` and the prompt ``unknown``: the signature never equals that of a run, and a table never puts both into
one column.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlbench.data.source import LocalFolder
from vlbench.errors import DataError, UsageError
from vlbench.plugins import load_plugins
from vlbench.result import ModelInfo
from vlbench.runner.devices import pick_device
from vlbench.runner.driver import load_dataset, missing_images, open_run
from vlbench.runner.results import build_result, open_result
from vlbench.runner.scoring import attach_scoring_models, score_rows
from vlbench.stats import DRAWS
from vlbench.task import Task
from vlbench.types import content_key

if TYPE_CHECKING:
    from vlbench.plugins import Plugins
    from vlbench.result import Result
    from vlbench.runner.progress import Reporter
    from vlbench.types import Dataset, SampleRow

PREDICTIONS = "predictions"


def load_truth(task: Task[Any], references: Path | None, data: Path | str | None, split: str | None) -> Dataset[Any]:
    """Return what ``task`` scores against: one file of references, else a data root (None: the bundled scenes).

    Raises ``UsageError`` where the task has no results format, and ``DataError`` where the truth cannot be read.
    """
    if type(task).predictions is Task.predictions:
        raise UsageError(f"{task.name} has no official results format that can be scored")
    if references is not None:
        return task.load_references(references, split)
    return load_dataset(task, data, split, None)


def score_file(
    task: Task[Any],
    dataset: Dataset[Any],
    predictions: Path,
    reporter: Reporter,
    *,
    name: str | None = None,
    command: tuple[str, ...] = (),
    plugins: Plugins | None = None,
    draws: int = DRAWS,
) -> tuple[Result, list[SampleRow]]:
    """Score the file ``predictions`` by the task's own rules; return the result and one row a sample.

    Some formats are a folder of files. Raises ``DataError`` where a file cannot be read or its ids are not exactly
    those of ``dataset``, ``UsageError`` where the task has no results format. A task with a scoring model finds it in
    ``plugins`` (None: those that are installed) and needs the images at hand; what that model computed is in the
    result's cost. ``draws`` are those behind the intervals.
    """
    started = time.perf_counter()
    answers = task.predictions(predictions, dataset)
    run = open_run(task, task.predictions_protocol(), dataset, None, reporter)
    if task.scoring_model() is not None:
        line = missing_images([run])
        if line:
            raise DataError(f"{line}; {task.scoring_model()} looks at them to score: give --data with the images")
        attach_scoring_models([run], plugins or load_plugins(), pick_device("auto"), seed=0)
    rows = task.score_predictions(answers, dataset)
    with tempfile.TemporaryDirectory() as place:
        scored = score_rows([run], {task.name: rows}, Path(place) / "journal.records", reporter)
    counters = dataclasses.replace(scored.counters, wall_seconds=time.perf_counter() - started)
    settings = {} if draws == DRAWS else {"bootstrap": draws}
    result = open_result(run, describe(predictions, name), settings, "cpu", command)
    rows = scored.rows.get(task.name, rows)
    return build_result(result, run, rows, counters, draws), rows


def describe(predictions: Path, name: str | None = None) -> ModelInfo:
    """Return the model that a predictions file stands for: all that is known of it are its bytes."""
    return ModelInfo(
        name=name or predictions.stem,
        adapter=PREDICTIONS,
        checkpoint=str(predictions),
        fingerprint=f"sha256:{_digest(predictions)}",
        parameters=0,
        dtype="unknown",
        preprocessing="unknown",
        provenance=PREDICTIONS,
    )


def _digest(path: Path) -> str:
    """Return the digest of a file; some official formats are a folder of several, which counts with their names."""
    if not path.is_dir():
        return LocalFolder(path.parent).digest(path.name)
    folder = LocalFolder(path)
    return content_key({name: folder.digest(name) for name in folder.listing() if not name.endswith("/")})
