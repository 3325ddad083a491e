"""The engine of several workers, over a crew that is made up: whose answers may be kept for later runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vlbench.adapter import Adapter
from vlbench.runner.engine import BatchDone
from vlbench.runner.leased import LeasedEngine
from vlbench.runner.plan import plan
from vlbench.runner.progress import Silent
from vlbench.runner.worker import Answered, Died, Ended, Joined, Message
from vlbench.types import EmbedText, Generated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.runner.plan import Batch

FACTS = {
    **{"device": "cuda", "dtype": "float32", "logit_scale": 1.0, "random_weights": False, "trained_on": ()},
    **{"batch_sizes": {}, "fingerprint": "sha256:0", "preprocessing": "none", "parameters": 1, "notes": ()},
}


class MadeUp:
    """One worker, whose process is replaced when it got its first lease; ``identities`` are those of its processes."""

    size = 1

    def __init__(self, *identities: str | None) -> None:
        self._identities = list(identities)
        self._waiting: list[tuple[int, Message]] = []

    def start(self, worker: int) -> None:
        facts = {**FACTS, "cache_identity": self._identities.pop(0)}
        self._waiting.append((worker, Joined(facts)))

    def send(self, worker: int, batches: Sequence[Batch]) -> None:
        if self._identities:
            self._waiting.append((worker, Died("the worker is gone")))
            return
        answers = [Answered(batch.key, [Generated("x")], 0.0, 0.0, {}) for batch in batches]
        self._waiting += [(worker, message) for message in (*answers, Ended())]

    def go_on(self, worker: int) -> None:
        pass

    def receive(self, seconds: float) -> Sequence[tuple[int, Message]]:
        told, self._waiting = self._waiting, []
        return told

    def close(self) -> None:
        pass


class Waiting(MadeUp):
    """One worker that computes a batch when it is told to go on; ``durable`` is what the driver has written down."""

    def __init__(self) -> None:
        super().__init__("one GPU")
        self._lease: list[Batch] = []
        self.durable: list[str] = []
        self.found: list[list[str]] = []

    def send(self, worker: int, batches: Sequence[Batch]) -> None:
        self._lease = list(batches)
        self._answer(worker)

    def go_on(self, worker: int) -> None:
        self.found.append(list(self.durable))
        self._answer(worker)

    def _answer(self, worker: int) -> None:
        told = Answered(self._lease.pop(0).key, [Generated("x")], 0.0, 0.0, {}) if self._lease else Ended()
        self._waiting.append((worker, told))


@pytest.mark.parametrize(
    ("identities", "kept"),
    [(("one GPU", "one GPU"), True), (("one GPU", "another GPU"), False), (("one GPU", "another", "one GPU"), True)],
)
def test_answers_of_a_successor_that_computes_otherwise_are_not_kept(identities: tuple[str, ...], kept: bool) -> None:
    engine = LeasedEngine(MadeUp(*identities), Adapter, Silent())
    (event,) = engine.run(list(plan([EmbedText("red")], lambda _: 1)))
    assert isinstance(event, BatchDone) and event.cacheable is kept


def test_a_worker_goes_on_only_when_its_answer_was_written_down() -> None:
    crew = Waiting()
    engine = LeasedEngine(crew, Adapter, Silent())
    batches = list(plan([EmbedText(word) for word in ("red", "green", "blue")], lambda _: 1))
    for event in engine.run(batches):
        crew.durable.append(event.batch.key)
    keys = crew.durable
    assert sorted(keys) == sorted(batch.key for batch in batches)
    assert crew.found == [keys[:1], keys[:2], keys]
