"""``--eval-tasks``: evaluation during training by the harness itself, on validation splits.

The model is saved as it stands and evaluated as ``vlbench run`` would, so that the numbers are those of that command.
"""

from __future__ import annotations

import contextlib
import csv
import random
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from vlbench.errors import UsageError
from vlbench.runner.options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vlbench.plugins import Plugins

LOG = "evaluation_log.csv"
COLUMNS = ["step", "task", "metric", "value"]
EVERY = 500
VAL_SPLITS = {"flickr30k": "val", "flickr8k": "val", "gqa": "val_balanced"}
"""Splits to choose by, where the default of a dataset's tasks is a test split; others have several, by their files."""
COCO_VAL_SPLITS = ("karpathy-val", "val2014", "val2017")
GENOME_VAL_SPLIT = "densecap-val"


@dataclass(frozen=True)
class EvaluationPlan:
    """Which ``tasks`` after each ``every`` steps, on at most ``limit`` samples of ``data`` (None: the val scenes)."""

    tasks: tuple[str, ...]
    data: Path | str | None = None
    every: int = EVERY
    limit: int | None = None

    def __post_init__(self) -> None:
        """Raise ``UsageError`` for a number below 1."""
        for name, value in (("every", self.every), ("limit", self.limit)):
            if value is not None and value < 1:
                raise UsageError(f"--eval-{name} is {value}; it takes a whole number from 1")


class Score(NamedTuple):
    """A metric of a task at a step."""

    step: int
    task: str
    metric: str
    value: float


class Evaluation:
    """Evaluates what ``save`` writes: a callable that makes a checkpoint folder of the model as it stands."""

    def __init__(self, plan: EvaluationPlan, save: Callable[[Path], None], output: Path, device: str) -> None:
        """Keep ``output``/evaluation_log.csv; the checkpoint lies beside it only while it is evaluated."""
        self._plan, self._save, self._device = plan, save, device
        self._path, self._folder = output / LOG, output / "evaluated"

    def due(self, step: int, steps: int) -> bool:
        """Tell whether step number ``step`` of ``steps`` is to be followed by an evaluation."""
        return step % self._plan.every == 0 or step == steps

    def check(self) -> None:
        """Raise a ``VlbenchError`` for what would be found out only at the first evaluation."""
        from vlbench.runner.driver import prepare
        from vlbench.runner.progress import Silent

        with self._saved() as plugins:
            for tasks, options in self._calls(plugins):
                prepare(str(self._folder), tasks, options, plugins, Silent()).engine.close()

    def begin(self, step: int) -> None:
        """Begin the log; of a run that goes on from ``step`` keep the rows up to there."""
        rows = rows_up_to(self._path, step)
        with self._path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *rows])

    def run(self, step: int, say: Callable[[str], None]) -> dict[str, float]:
        """Evaluate, log, and return the values by ``task/metric``."""
        from vlbench.runner.driver import evaluate

        with self._saved() as plugins:
            results = [
                result
                for tasks, options in self._calls(plugins)
                for result in evaluate(str(self._folder), tasks, options, plugins=plugins).results
            ]
        scores = [
            Score(step, result.task.name, name, metric.value)
            for result in results
            for name, metric in result.metrics.items()
            if metric.value is not None
        ]
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(scores)
        primary = {result.task.name: result.primary_metric for result in results}
        shown = [f"{s.task} {s.metric} {s.value:.4f}" for s in scores if primary[s.task] == s.metric]
        say(f"step {step}  val: {'  '.join(shown)}")
        return {f"{score.task}/{score.metric}": score.value for score in scores}

    @contextlib.contextmanager
    def _saved(self) -> Iterator[Plugins]:
        """Hold the model as a checkpoint folder, and the random numbers that training draws from where they are."""
        from vlbench.plugins import load_plugins

        with undisturbed():
            try:
                self._save(self._folder)
                yield load_plugins()
            finally:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _calls(self, plugins: Plugins) -> Iterator[tuple[list[str], RunOptions]]:
        """Yield tasks that share a split, with the options of their evaluation."""
        from vlbench.data.scenes.cache import ensure

        # Under the names of labelled splits, so that tasks without a Karpathy split have val scenes too.
        data = ensure(labelled="val") if self._plan.data is None else self._plan.data
        by_split: dict[str | None, list[str]] = {}
        for name in self._plan.tasks:
            dataset = str(plugins.task(name).load().dataset)
            split = None if self._plan.data is None else _val_split(dataset, self._plan.data)
            by_split.setdefault(split, []).append(name)
        for split, tasks in by_split.items():
            yield (
                tasks,
                RunOptions(
                    data=data,
                    split=split,
                    limit=self._plan.limit,
                    device=self._device,
                    dtype="float32",
                    bootstrap=0,
                    cache=False,
                    output=self._folder / "results",
                ),
            )


def _val_split(dataset: str, data: Path | str) -> str | None:
    """Return the split of ``data`` to choose by; None for the default of the tasks."""
    from vlbench.data import visual_genome
    from vlbench.data.coco import FILES
    from vlbench.data.roots import open_root

    if dataset not in ("coco", visual_genome.NAME):
        return VAL_SPLITS.get(dataset)
    folder = open_root(data).folder(dataset)
    if dataset == visual_genome.NAME:
        # Without DenseCap's file of splits there is but one, by a hash of the ids.
        return GENOME_VAL_SPLIT if folder.first(*visual_genome.FILES[GENOME_VAL_SPLIT]) else None
    return next((split for split in COCO_VAL_SPLITS if folder.first(*FILES[split])), COCO_VAL_SPLITS[0])


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Put all random generators back to where they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002


def rows_up_to(path: Path, step: int) -> list[list[Any]]:
    """Return the rows up to ``step`` of a log whose rows begin with it; a run that goes on makes later ones again."""
    if not step or not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.reader(file) if row and row[0].isdigit() and int(row[0]) <= step]
