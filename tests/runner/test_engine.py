"""The engine: failures of one item, out of memory, contract breaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from tests.support.colours import Colours
from vlbench.adapter import LoadOptions
from vlbench.data.source import LocalFolder
from vlbench.errors import EvaluationFailed
from vlbench.runner.engine import BatchDone, BatchSplit, LocalEngine
from vlbench.runner.plan import plan
from vlbench.types import (
    Decoding,
    Embedding,
    EmbedImage,
    EmbedText,
    Failure,
    Generate,
    Generated,
    ImageRef,
    Request,
    Response,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def _run(
    requests: Sequence[Request], size: int = 4, **arguments: str
) -> tuple[dict[str, Response], list[Any], Colours]:
    adapter = Colours(LoadOptions(arguments=arguments))
    engine = LocalEngine(adapter, workers=2)
    answers: dict[str, Response] = {}
    events = list(engine.run(plan(requests, lambda _: size)))
    engine.close()
    for event in events:
        if isinstance(event, BatchDone):
            answers.update({r.key: a for r, a in zip(event.batch.requests, event.responses, strict=True)})
    return answers, events, adapter


def test_a_truncated_jpeg_and_a_missing_file_fail_alone(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "good.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "good.jpg").read_bytes()[:300])
    folder = LocalFolder(tmp_path)
    requests = [EmbedImage(ImageRef(folder, name)) for name in ("good.jpg", "cut.jpg", "gone.jpg")]
    answers, _, _ = _run(requests)
    good, cut, gone = (answers[request.key] for request in requests)
    assert isinstance(good, Embedding)
    assert isinstance(cut, Failure) and "cut.jpg" in cut.reason
    assert isinstance(gone, Failure) and "gone.jpg" in gone.reason


def test_a_decoder_that_crashes_fails_its_image_alone(tmp_path: Path) -> None:
    class Crashes(ImageFile.ImageFile):
        format = "CRASHES"

        def _open(self) -> None:
            self._size, self._mode = (4, 4), "RGB"

        def load(self) -> None:
            raise IndexError

    Image.register_open("CRASHES", Crashes, lambda start: start.startswith(b"CRASH"))
    (tmp_path / "bad.crash").write_bytes(b"CRASH" * 100)
    Image.new("RGB", (64, 64), "red").save(tmp_path / "good.png")
    requests = [EmbedImage(ImageRef(LocalFolder(tmp_path), name)) for name in ("bad.crash", "good.png")]
    answers, _, _ = _run(requests)
    bad, good = (answers[request.key] for request in requests)
    assert isinstance(bad, Failure) and "bad.crash cannot be decoded (IndexError)" in bad.reason
    assert isinstance(good, Embedding)


def test_a_request_that_takes_too_much_memory_to_prepare_fails_alone() -> None:
    class Large(Colours):
        def prepare_text(self, text: str) -> str:
            if "bad" in text:
                raise MemoryError
            return text

    requests = [EmbedText(text) for text in ("red", "bad")]
    (event,) = LocalEngine(Large(), workers=1).run(plan(requests, lambda _: 2))
    assert isinstance(event, BatchDone)
    shown = {r.key: a for r, a in zip(event.batch.requests, event.responses, strict=True)}
    failure = shown[requests[1].key]
    assert isinstance(failure, Failure) and "more memory than there is" in failure.reason
    assert isinstance(shown[requests[0].key], Embedding)


def test_out_of_memory_halves_the_batch_until_it_fits() -> None:
    requests = [EmbedText("red " * n) for n in range(1, 9)]
    answers, events, adapter = _run(requests, size=8, memory="3")
    assert [len(e.batch.requests) for e in events if isinstance(e, BatchSplit)] == [8, 4, 4]
    assert [len(e.batch.requests) for e in events if isinstance(e, BatchDone)] == [2, 2, 2, 2]
    assert len(answers) == 8 and all(isinstance(a, Embedding) for a in answers.values())
    assert [n for _, n in adapter.calls] == [8, 4, 2, 2, 4, 2, 2]


def test_a_request_that_never_fits_ends_the_run_with_advice() -> None:
    class Full(Colours):
        def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
            raise MemoryError

    engine = LocalEngine(Full(), workers=1)
    with pytest.raises(EvaluationFailed, match="does not fit into memory"):
        list(engine.run(plan([EmbedText("a"), EmbedText("b")], lambda _: 2)))


def test_nan_fails_its_item_and_no_other() -> None:
    requests = [EmbedText(text) for text in ("red", "bad blue", "green")]
    answers, _, _ = _run(requests, nan_for="bad")
    assert [isinstance(answers[r.key], Failure) for r in requests] == [False, True, False]


def test_an_error_that_one_item_provokes_fails_that_item_alone() -> None:
    requests = [EmbedText(text) for text in ("red", "bad blue", "green")]
    answers, _, _ = _run(requests, raise_for="bad")
    failure = answers[requests[1].key]
    assert isinstance(failure, Failure) and failure.reason == "RuntimeError: this text provokes an error"
    assert [isinstance(answers[r.key], Embedding) for r in requests] == [True, False, True]


def test_a_failure_that_the_adapter_returns_fails_its_item_and_asks_nothing_again() -> None:
    class Refuses(Colours):
        def generate(self, items: Sequence[Any]) -> list[str | Failure]:
            self.calls.append(("generate", len(items)))
            return [Failure("refused") if "bad" in item.request.prompt else item.request.prompt for item in items]

    adapter = Refuses()
    requests = [Generate((), prompt, Decoding()) for prompt in ("red", "bad", "green")]
    (event,) = LocalEngine(adapter, workers=1).run(plan(requests, lambda _: 4))
    assert isinstance(event, BatchDone) and adapter.calls == [("generate", 3)]
    shown = {r.prompt: a for r, a in zip(event.batch.requests, event.responses, strict=True) if isinstance(r, Generate)}
    assert isinstance(shown["bad"], Failure) and shown["bad"].reason == "refused"
    assert isinstance(shown["red"], Generated) and shown["red"].text == "red"


def test_a_model_that_answers_nothing_ends_the_run() -> None:
    with pytest.raises(EvaluationFailed, match="embed_texts failed: RuntimeError: this text provokes an error"):
        _run([EmbedText("red"), EmbedText("blue")], raise_for="e")


def test_a_wrong_number_of_answers_and_a_wrong_shape_are_named() -> None:
    class Short(Colours):
        def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
            return np.zeros((1, 3))

    class Flat(Colours):
        def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
            return np.zeros(len(texts))

    batches = plan([EmbedText("a"), EmbedText("b")], lambda _: 2)
    with pytest.raises(EvaluationFailed, match="returned 1 answers for 2 requests"):
        list(LocalEngine(Short(), workers=1).run(batches))
    with pytest.raises(EvaluationFailed, match=r"returned shape \(2,\)"):
        list(LocalEngine(Flat(), workers=1).run(batches))


def test_equal_images_are_decoded_once(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    folder = LocalFolder(tmp_path)
    first, second = (EmbedImage(ImageRef(folder, name)) for name in ("a.png", "b.png"))
    assert first.key == second.key
    assert len(plan([first, second], lambda _: 4)[0].requests) == 1
