"""The rounds of all tasks of a run, driven together over one plan, one engine and one journal."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlbench.capabilities import Expander
from vlbench.runner.engine import BatchDone, BatchSplit, Engine
from vlbench.runner.interrupts import deferred
from vlbench.runner.manifest import Counters
from vlbench.runner.plan import Batch, plan
from vlbench.runner.profile import span
from vlbench.spill import Spill
from vlbench.types import Embedding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.runner.cache import ModelCache
    from vlbench.runner.growth import Growth
    from vlbench.runner.journal import Journal
    from vlbench.runner.progress import Reporter
    from vlbench.runner.scoring import ScoringModel
    from vlbench.task import Protocol, Rounds, Task
    from vlbench.types import Dataset, Request, Response, SampleRow

HASH_THREADS = 8
TRUNCATION_WARNING = 0.01
"""Share of requests with a text that was cut above which a run warns."""


@dataclass
class TaskRun:
    """One task under way: its data, its protocol, and how many of its requests had their text cut.

    ``scorer`` is the second model that helps to score, where the task has one.
    """

    task: Task[Any]
    protocol: Protocol
    dataset: Dataset[Any]
    signature: str
    limit: int | None
    scorer: ScoringModel | None = None
    asked: int = 0
    truncated: int = 0

    @property
    def truncated_fraction(self) -> float:
        """Share of the task's requests whose text the model did not see whole."""
        return self.truncated / self.asked if self.asked else 0.0

    def warn_of_truncation(self, who: str, reporter: Reporter) -> None:
        """Warn where ``who``, the model or one that helps to score, did not see many of its texts whole."""
        if self.truncated_fraction > TRUNCATION_WARNING:
            share = f"{self.truncated_fraction:.1%}"
            reporter.warn(f"{self.task.name}: {who} did not see the whole text in {share}")


class Execution:
    """Runs the tasks' generators in step: equal requests of different tasks are made once."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        reporter: Reporter,
        logit_scale: float,
        cache: ModelCache | None = None,
        growth: Growth | None = None,
    ) -> None:
        """Start with no answers; ``counters`` tell afterwards what was computed, replayed and cached."""
        self._cache = cache
        self._growth = growth
        self._engine = engine
        self._journal = journal
        self._reporter = reporter
        self._logit_scale = logit_scale
        self._answers: dict[str, Response] = {}
        self._spill = Spill()
        self.counters = Counters(journal_records_dropped=journal.dropped)
        if journal.dropped:
            reporter.warn(f"{journal.dropped} corrupt journal records dropped; their batches run again")

    def run(self, runs: Sequence[TaskRun]) -> dict[str, list[SampleRow]]:
        """Return the rows of each task, by its name."""
        return self.drive([(run, run.task.rounds(run.dataset, run.protocol)) for run in runs])

    def drive(self, pairs: Sequence[tuple[TaskRun, Rounds]]) -> dict[str, list[SampleRow]]:
        """Drive generators of tasks to their ends; return their rows, by the name of the task."""
        rows: dict[str, list[SampleRow]] = {}
        asking = [(run, rounds, next(rounds)) for run, rounds in pairs]
        while asking:
            self._compute(self._native(asking))
            still: list[tuple[TaskRun, Rounds, Sequence[Request]]] = []
            for run, rounds, requests in asking:
                try:
                    with span("score", task=run.task.name):
                        still.append((run, rounds, rounds.send(self._combined(run, requests))))
                except StopIteration as stop:
                    rows[run.task.name] = stop.value
            asking = still
        return rows

    def _native(self, asking: Sequence[tuple[TaskRun, Rounds, Sequence[Request]]]) -> list[Request]:
        """Return the native requests that have no answer yet, with the images hashed in parallel."""
        native: list[Request] = []
        for run, _, requests in asking:
            expander = Expander(run.protocol, self._logit_scale)
            for request in requests:
                native.extend(expander.expand(request))
        images = {id(image): image for request in native for image in request.image_refs}
        with span("hash images", images=len(images)), ThreadPoolExecutor(HASH_THREADS) as pool:
            list(pool.map(lambda image: image.key, images.values()))
        return [request for request in native if request.key not in self._answers]

    def _compute(self, requests: Sequence[Request]) -> None:
        """Answer ``requests`` from the journal or the engine; every batch is durable before the next is taken."""
        sizes: Mapping[str, int] = self._journal.header["batch_sizes"]
        if self._growth is not None:
            sizes = self._growth.sizes(requests, self._journal)
        with span("plan", requests=len(requests)):
            planned = [part for batch in plan(requests, sizes.__getitem__) for part in self._journal.resolve(batch)]
        todo: list[Batch] = []
        for batch in planned:
            stored = self._journal.responses(batch)
            if stored is not None:
                self._take(batch, stored)
                self.counters.batches_replayed += 1
                self.counters.requests_replayed += len(stored)
            elif not self._take_cached(batch):
                todo.append(batch)
        total = sum(len(batch.requests) for batch in planned)
        self._reporter.start(total, total - sum(len(batch.requests) for batch in todo))
        with deferred(self._reporter.say) as interrupted:
            for event in self._engine.run(todo):
                self._record(event)
                if interrupted.asked:
                    raise KeyboardInterrupt
        self._reporter.stop()

    def _record(self, event: BatchDone | BatchSplit) -> None:
        """Make an event durable, then count it."""
        if not isinstance(event, BatchDone):
            self._journal.split(event.batch)
            if self._growth is not None:
                self._growth.back_off(event.batch)
            self.counters.batches_split += 1
            return
        with span("journal"):
            self._journal.finished(event.batch, event.responses)
        if self._cache is not None and event.cacheable:
            with span("keep in cache"):
                self._cache.put(event.batch, event.responses)
        self._take(event.batch, event.responses)
        self.counters.batches_computed += 1
        self.counters.requests_computed += len(event.responses)
        self.counters.wait_seconds += event.wait_seconds
        self.counters.device_seconds += event.device_seconds
        self._reporter.advance(len(event.responses))

    def _take_cached(self, batch: Batch) -> bool:
        """Take the answers of an earlier run to the very same batch, if there are any; they need no journal."""
        cached = None if self._cache is None else self._cache.get(batch)
        if cached is None:
            return False
        self._take(batch, cached)
        self.counters.batches_cached += 1
        self.counters.requests_cached += len(cached)
        return True

    def _take(self, batch: Batch, responses: Sequence[Response]) -> None:
        for request, response in zip(batch.requests, responses, strict=True):
            if isinstance(response, Embedding):
                response = dataclasses.replace(response, vector=self._spill.keep(response.vector))
            self._answers[request.key] = response

    def _combined(self, run: TaskRun, requests: Sequence[Request]) -> dict[str, Response]:
        """Return the responses to a task's own requests, by key."""
        expander = Expander(run.protocol, self._logit_scale)
        combined: dict[str, Response] = {}
        for request in requests:
            if request.key in combined:
                continue
            parts = [self._answers[part.key] for part in expander.expand(request)]
            combined[request.key] = expander.combine(request, parts)
        texts = [combined[request.key] for request in requests if request.length]
        run.asked += len(texts)
        run.truncated += sum(response.truncated for response in texts)
        return combined
