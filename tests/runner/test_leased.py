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

    def receive(self, seconds: float) -> Sequence[tuple[int, Message]]:
        told, self._waiting = self._waiting, []
        return told

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("identities", "kept"),
    [(("one GPU", "one GPU"), True), (("one GPU", "another GPU"), False), (("one GPU", "another", "one GPU"), True)],
)
def test_answers_of_a_successor_that_computes_otherwise_are_not_kept(identities: tuple[str, ...], kept: bool) -> None:
    engine = LeasedEngine(MadeUp(*identities), Adapter, Silent())
    (event,) = engine.run(list(plan([EmbedText("red")], lambda _: 1)))
    assert isinstance(event, BatchDone) and event.cacheable is kept
