"""The contract that every task keeps, as a test class.

::

    from vlbench.testing import TaskContract

    class TestMyTask(TaskContract):
        @pytest.fixture
        def task(self):
            return MyTask()

        @pytest.fixture
        def root(self, tmp_path):
            ...  # write a small dataset in its official layout
            return DataRoot(tmp_path)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from vlbench.adapter import CAPABILITIES
from vlbench.errors import UnsupportedTask, UsageError
from vlbench.leaderboard.site_truth import Truths
from vlbench.runner.manifest import signature
from vlbench.types import (
    ChoiceScores,
    Choose,
    Embedding,
    EmbedImage,
    EmbedText,
    Failure,
    Generated,
    LogProbability,
    Match,
    MatchScore,
    Request,
    Response,
    SampleRow,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from vlbench.data.source import DataRoot
    from vlbench.task import Protocol, Task
    from vlbench.types import Dataset

EVERYTHING = frozenset(CAPABILITIES)


def arbitrary(request: Request) -> Response:
    """Answer any request with numbers that depend on its content alone."""
    seed = int(request.key[:12], 16)
    random = np.random.default_rng(seed)
    match request:
        case EmbedImage() | EmbedText():
            return Embedding(random.standard_normal(8).astype(np.float32))
        case Match():
            return MatchScore(float(random.standard_normal()))
        case Choose():
            return ChoiceScores(tuple(float(s) for s in random.standard_normal(len(request.choices))))
        case _ if request.capability == "generate":
            return Generated(f"answer {seed % 7}")
        case _:
            return LogProbability(-float(random.random()), 2)


def drive(
    task: Task[Any], dataset: Dataset[Any], protocol: Protocol, answer: Callable[[Request], Response]
) -> list[SampleRow]:
    """Drive a task's rounds to the end with ``answer``."""
    rounds = task.rounds(dataset, protocol)
    requests = next(rounds)
    while True:
        try:
            requests = rounds.send({request.key: answer(request) for request in requests})
        except StopIteration as stop:
            return list(stop.value)


class TaskContract:
    """Subclass it in a test module and override the fixtures ``task`` and ``root``."""

    @pytest.fixture
    def task(self) -> Task[Any]:
        """Return the task under test."""
        raise NotImplementedError("override the fixture `task`")

    @pytest.fixture
    def root(self) -> DataRoot:
        """Return a data root with a small dataset in the official layout."""
        raise NotImplementedError("override the fixture `root`")

    @pytest.fixture
    def protocol(self, task: Task[Any]) -> Protocol:
        """Return the protocol for a model that can do everything."""
        return task.protocol(EVERYTHING)

    @pytest.fixture
    def dataset(self, task: Task[Any], root: DataRoot, protocol: Protocol) -> Dataset[Any]:
        """Return the loaded dataset."""
        return task.load(root, None, None)

    def test_a_model_that_can_do_nothing_is_refused(self, task: Task[Any]) -> None:
        """With the class of error that `--tasks all` understands."""
        with pytest.raises(UnsupportedTask):
            task.protocol(frozenset())

    def test_an_unknown_argument_is_refused(self, task: Task[Any]) -> None:
        """A misspelt --task-arg is an error, not a silent default."""
        with pytest.raises(UsageError, match="no_such_argument"):
            type(task)({"no_such_argument": "1"})

    def test_rows_are_complete_and_deterministic(
        self, task: Task[Any], dataset: Dataset[Any], protocol: Protocol
    ) -> None:
        """Each row has an id of its own, and the same answers give the same rows."""
        rows = drive(task, dataset, protocol, arbitrary)
        assert rows and len({row.sample_id for row in rows}) == len(rows)
        assert {row.status for row in rows} == {"ok"}
        again = drive(task, dataset, protocol, arbitrary)
        assert [(r.sample_id, dict(r.scores)) for r in again] == [(r.sample_id, dict(r.scores)) for r in rows]

    def test_metrics_have_the_primary_and_a_value_or_a_reason(
        self, task: Task[Any], dataset: Dataset[Any], protocol: Protocol
    ) -> None:
        """Never NaN, never a bare None."""
        metrics = task.aggregate(drive(task, dataset, protocol, arbitrary), dataset)
        assert task.primary_metric in metrics
        for name, metric in metrics.items():
            assert (metric.value is None) == (metric.reason is not None), name
            assert metric.value is None or metric.value == metric.value, name

    def test_a_site_shows_every_sample_or_none(
        self, task: Task[Any], dataset: Dataset[Any], protocol: Protocol
    ) -> None:
        """What a row is about is found by its id, and a response points into the choices that are shown."""
        views = dict(task.views(dataset))
        rows = drive(task, dataset, protocol, arbitrary)
        assert not views or {row.sample_id for row in rows} <= views.keys()
        truths = Truths(views)
        for row in rows if views else ():
            shown = truths.answer(row.sample_id, row.response)
            assert not views[row.sample_id].choices or shown != row.response

    def test_a_submission_stands_in_for_a_score(
        self, task: Task[Any], dataset: Dataset[Any], protocol: Protocol
    ) -> None:
        """A file for an evaluation server is made only where there is nothing to score against."""
        rows = drive(task, dataset, protocol, arbitrary)
        made = task.submission(rows, dataset)
        if made is not None:
            name, content = made
            assert name and content and "/" not in name
            assert task.aggregate(rows, dataset)[task.primary_metric].value is None

    def test_failures_count_as_wrong(self, task: Task[Any], dataset: Dataset[Any], protocol: Protocol) -> None:
        """All requests fail: every row is failed with its reason, and the primary metric is the worst."""
        rows = drive(task, dataset, protocol, lambda _: Failure("broken"))
        assert {row.status for row in rows} == {"failed"} and all("broken" in row.reason for row in rows)
        assert task.aggregate(rows, dataset)[task.primary_metric].value == 0.0

    def test_limit_takes_the_first_samples_and_shows(
        self, task: Task[Any], root: DataRoot, dataset: Dataset[Any], protocol: Protocol
    ) -> None:
        """A partial run can never look like a full one."""
        few = task.load(root, None, 1)
        assert few.samples == dataset.samples[:1]
        assert signature(task, few, protocol, 1) != signature(task, dataset, protocol, None)

    def test_the_signature_does_not_change_between_loads(
        self, task: Task[Any], root: DataRoot, dataset: Dataset[Any], protocol: Protocol
    ) -> None:
        """Loading twice gives the same fingerprint."""
        again = task.load(root, None, None)
        assert signature(task, again, protocol, None) == signature(task, dataset, protocol, None)
