"""From rows to a result, and from a run's identity to a result that is already there."""

from __future__ import annotations

import dataclasses
import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vlbench.errors import DataError
from vlbench.leaderboard.store import stem
from vlbench.result import ModelInfo, Result, SampleCounts, TaskInfo, read_result
from vlbench.runner.manifest import Counters, environment
from vlbench.stats import DRAWS
from vlbench.stats.bootstrap import with_intervals
from vlbench.types import content_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.adapter import Adapter
    from vlbench.resolve import ResolvedModel
    from vlbench.runner.options import RunOptions
    from vlbench.runner.rounds import TaskRun
    from vlbench.types import SampleRow

FAILURES_LISTED = 100


@dataclass(frozen=True)
class Finished:
    """What identifies the results of a run, besides the tasks."""

    resolved: ResolvedModel
    adapter: Adapter
    fingerprint: str
    options: RunOptions

    def settings(self) -> Mapping[str, Any]:
        """Return what may change the last digits of a number and is not in the signature."""
        return {
            "batch_size": self.options.batch_size or "auto",
            "device": self.adapter.device.partition(":")[0],
            "seed": self.options.seed,
            "model_arguments": {
                name: value
                for name, value in sorted(self.resolved.arguments.items())
                if name not in self.adapter.neutral_arguments
            },
        }

    def identity(self, runs: Sequence[TaskRun]) -> str:
        """Return the digest of all that answers to ``runs`` depend on, by which a journal belongs to a run."""
        signatures = sorted(run.signature for run in runs)
        return content_key(
            self.fingerprint, self.settings(), self.adapter.dtype, self.adapter.preprocessing(), signatures
        )

    def model_info(self) -> ModelInfo:
        """Describe the model as loaded."""
        return ModelInfo(
            name=self.resolved.name,
            adapter=self.resolved.adapter_name,
            checkpoint=self.resolved.checkpoint,
            fingerprint=self.fingerprint,
            parameters=self.adapter.parameters(),
            dtype=self.adapter.dtype,
            preprocessing="sha256:" + hashlib.sha256(self.adapter.preprocessing().encode()).hexdigest(),
            random_weights=self.adapter.random_weights,
            trained_on=trained_on(self.resolved, self.adapter),
            provenance=self.adapter.provenance,
            revision=self.options.revision,
        )

    def result(self, run: TaskRun) -> Result:
        """Return the result of ``run`` as far as it is known before anything is computed."""
        known = open_result(run, self.model_info(), self.settings(), self.adapter.device, self.options.command)
        settings = known.settings
        if self.options.bootstrap != DRAWS:
            # A result without intervals must not be taken for one with them.
            settings = {**settings, "bootstrap": self.options.bootstrap}
        return dataclasses.replace(known, settings=settings, notes=tuple(self.adapter.notes()))

    def find(self, run: TaskRun) -> Result | None:
        """Return the stored result of the very same evaluation, if no sample failed and no metric is to be retried."""
        path = self.options.output / f"{stem(self.result(run))}.json"
        if not path.is_file():
            return None
        try:
            result = read_result(path)
        except DataError as error:
            raise DataError(f"{error}; remove it, and the same command makes it again") from error
        return result if result.samples.failed == 0 and not result.unfinished else None


def trained_on(resolved: ResolvedModel, adapter: Adapter) -> tuple[str, ...]:
    """Return the datasets that the model has seen: those of its registration and those of its checkpoint."""
    return tuple(dict.fromkeys((*resolved.trained_on, *adapter.trained_on)))


def open_result(
    run: TaskRun, model: ModelInfo, settings: Mapping[str, Any], device: str, command: tuple[str, ...]
) -> Result:
    """Return a result without scores: all that identifies it is there before anything is computed.

    The arguments of the task are added to ``settings``: not all of them are in the signature, and a result without
    METEOR must not be taken for one with it. So is the revision of data that has one: the fingerprint does not see the
    images, and another revision may have others.
    """
    dataset = run.dataset
    return Result(
        run_id=uuid.uuid4().hex,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        model=model,
        task=TaskInfo(
            name=run.task.name,
            version=run.task.version,
            dataset=dataset.name,
            split=dataset.split,
            protocol=run.protocol.name,
            prompt=run.protocol.prompt,
            fingerprint=dataset.fingerprint,
            counts=dict(dataset.counts),
            partial=dataset.partial or run.limit is not None,
            limit=run.limit,
        ),
        signature=run.signature,
        samples=SampleCounts(0, 0, 0),
        primary_metric=run.task.primary_metric,
        metrics={},
        cost={},
        environment=environment(device),
        command=command,
        settings={
            **settings,
            "task_arguments": dict(sorted(run.task.arguments.items())),
            **({"data": dataset.origin} if dataset.origin else {}),
        },
    )


def build_result(
    result: Result, run: TaskRun, rows: Sequence[SampleRow], counters: Counters, draws: int = DRAWS, seed: int = 0
) -> Result:
    """Aggregate ``rows`` into ``result``, which ``open_result`` made; intervals come of ``draws`` by ``seed``."""
    failed = [row for row in rows if row.status != "ok"]
    return dataclasses.replace(
        result,
        samples=SampleCounts(
            attempted=len(rows),
            scored=len(rows) - len(failed),
            failed=len(failed),
            failures=tuple(f"{row.sample_id}: {row.reason}" for row in failed[:FAILURES_LISTED]),
        ),
        metrics=with_intervals(rows, run.task.aggregate(rows, run.dataset), draws, f"{seed}|{result.signature}"),
        cost=counters.cost(len(rows)),
        truncated_fraction=run.truncated_fraction,
        notes=(*run.task.notes(run.dataset, run.limit), *result.notes),
    )
