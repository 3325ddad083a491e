"""Batch sizes: they grow while it pays and fits, back off, are remembered, and never change within a run."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import torch

from tests.support.colours import Colours
from vlbench.adapter import LoadOptions
from vlbench.runner.engine import LocalEngine
from vlbench.runner.growth import MOST, WORTH, Growth, fitting, growth
from vlbench.runner.journal import Journal
from vlbench.runner.plan import Batch, plan
from vlbench.runner.progress import Silent
from vlbench.runner.rounds import Execution
from vlbench.transfer import to_device
from vlbench.types import EmbedText

if TYPE_CHECKING:
    from pathlib import Path

START = 2
HEADER = {"batch_sizes": {"embed_texts": START}}
TEXTS = [EmbedText(f"red {i:04}") for i in range(WORTH * START)]


@pytest.mark.parametrize(
    ("seconds", "size"),
    [
        ({4: 1.0, 8: 1.0, 16: 1.0, 32: 1.0, 64: 1.0}, 4 * MOST),
        ({4: 1.0, 8: 1.2, 16: 2.3, 32: 1.0}, 8),  # 4, 6.7 and 7.0 requests a second: the last step gains less than 5 %
        ({4: 1.0, 8: 1.2, 16: None}, 8),
        ({4: None}, 4),
    ],
)
def test_sizes_grow_while_it_pays_and_fits(seconds: dict[int, float | None], size: int) -> None:
    assert fitting(seconds.__getitem__, 4) == size


def _engine(memory: int) -> LocalEngine:
    return LocalEngine(Colours(LoadOptions(arguments={"memory": str(memory)})), workers=1)


def test_an_engine_tells_what_fits() -> None:
    with closing(_engine(3)) as engine:
        small, large = (engine.seconds(Batch("embed_texts", tuple(TEXTS[:n]))) for n in (3, 4))
    assert small is not None and small >= 0 and large is None


def test_what_was_tried_is_frozen_for_the_run_and_remembered_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def seconds(self: LocalEngine, batch: Batch) -> float | None:
        tried.append(len(batch.requests))
        return 1.0 if len(batch.requests) <= 8 else None

    monkeypatch.setattr(LocalEngine, "seconds", seconds)
    memory = tmp_path / "sizes" / "model.json"
    with closing(_engine(6)) as engine, closing(Journal(tmp_path / "one", HEADER)) as journal:
        first = Growth(engine, memory)
        assert first.sizes(TEXTS[:-1], journal) == {"embed_texts": START}, "too few to be worth it, and frozen so"
        assert first.sizes(TEXTS, journal) == {"embed_texts": START} and tried == []
    with closing(_engine(6)) as engine, closing(Journal(tmp_path / "two", HEADER)) as journal:
        execution = Execution(engine, journal, Silent(), 1.0, growth=Growth(engine, memory))
        execution._compute(TEXTS)
        assert tried == [2, 2, 4, 8, 16]
        counted = execution.counters
        assert (counted.requests_computed, counted.batches_split) == (len(TEXTS), len(TEXTS) // 8)
        assert Growth(engine, memory).sizes(TEXTS, journal) == {"embed_texts": 8}, "this run goes on as it began"
    with closing(_engine(6)) as engine, closing(Journal(tmp_path / "three", HEADER)) as journal:
        assert Growth(engine, memory).sizes(TEXTS[:1], journal) == {"embed_texts": 4}, "eight did not fit"
        memory.write_text("[damaged")
        assert Growth(engine, memory).sizes(TEXTS[:1], journal) == {"embed_texts": 4}
    assert tried == [2, 2, 4, 8, 16]


def test_a_resumed_run_makes_the_batches_of_its_journal(tmp_path: Path) -> None:
    with closing(_engine(0)) as engine:
        with closing(Journal(tmp_path / "one", HEADER)) as journal:
            journal.freeze_batch_size("embed_texts", 16)
            (first, *_) = plan(TEXTS, lambda _: 16)
            journal.finished(first, next(event.responses for event in engine.run([first])))  # type: ignore[union-attr]
        with closing(Journal(tmp_path / "one", HEADER)) as journal:
            execution = Execution(engine, journal, Silent(), 1.0, growth=Growth(engine, tmp_path / "none.json"))
            execution._compute(TEXTS)
    assert (execution.counters.requests_replayed, execution.counters.batches_computed) == (16, 3)


def test_no_growth_where_a_size_was_asked_for_or_on_a_cpu() -> None:
    with closing(_engine(0)) as engine:
        assert growth(engine, Colours(), "sha256:0", None) is None
        assert growth(engine, Colours(LoadOptions(device="cuda", dtype="float32")), "sha256:0", 8) is None


def test_copies_to_a_device_are_those_of_torch() -> None:
    pixels = torch.linspace(-2, 2, 97).reshape(1, 97)
    for dtype in ("float32", "bfloat16", "float16"):
        assert torch.equal(to_device(pixels, "cpu", dtype), pixels.to("cpu", getattr(torch, dtype)))
