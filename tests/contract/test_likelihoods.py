"""Likelihoods of choices: an image is encoded once for all of them, a missing one is grey, a cut text is counted."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from tests.support import checkpoints, dual_encoders
from vlbench.adapter import Adapter, LoadOptions
from vlbench.adapters.blip import CAPTION, QUESTIONS, Blip
from vlbench.adapters.blip2 import WRITING, Blip2
from vlbench.adapters.builtin import Builtin
from vlbench.adapters.chat import Chat
from vlbench.adapters.open_clip import OpenCLIP
from vlbench.adapters.vision_encoder_decoder import VisionEncoderDecoder
from vlbench.capabilities import Expander
from vlbench.runner.engine import BatchDone, LocalEngine
from vlbench.runner.plan import plan
from vlbench.task import Protocol
from vlbench.testing.adapters import answer, numbers
from vlbench.testing.samples import pictures
from vlbench.types import ChoiceScores, Choose, LogLikelihood

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHOICES = ("yes", "no", "a large green square", "there is a red star")
LONG = "is there a red star ? " * 120


class Writer(NamedTuple):
    """A family that writes: its adapter, its small checkpoint, where it encodes images, and whether it cuts a text."""

    kind: type[Adapter]
    make: Callable[[Path], Path] | None
    tower: str
    cuts: bool = True


WRITERS = {
    "blip-caption": Writer(Blip, lambda folder: checkpoints.blip(folder, CAPTION), "vision_model"),
    "blip-questions": Writer(Blip, lambda folder: checkpoints.blip(folder, QUESTIONS), "vision_model"),
    "blip2-opt": Writer(Blip2, lambda folder: checkpoints.blip2(folder, WRITING), "vision_model"),
    "blip2-t5": Writer(Blip2, lambda folder: checkpoints.blip2(folder, WRITING, "t5"), "vision_model"),
    "vit-gpt2": Writer(VisionEncoderDecoder, checkpoints.vit_gpt2, "encoder"),
    "coca": Writer(OpenCLIP, dual_encoders.coca, "visual"),
    "llava": Writer(Chat, checkpoints.llava, "model.vision_tower", cuts=False),
    "builtin": Writer(Builtin, None, "image_encoder"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_choices_share_what_the_model_sees(tmp_path: Path, name: str) -> None:
    kind, make, tower, cuts = WRITERS[name]
    adapter = kind(LoadOptions("vlbench-tiny" if make is None else str(make(tmp_path / "model"))))
    encoded: list[int] = []

    def count(module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        encoded.append(len(next(value for value in (*positional, *named.values()) if hasattr(value, "shape"))))

    handle = adapter.model.get_submodule(tower).register_forward_pre_hook(count, with_kwargs=True)
    images = pictures(tmp_path)[:2]
    asked = [Choose((image,), "is there a red star?", CHOICES) for image in images]
    expander = Expander(Protocol("choose", routes={"choose": "likelihood-less-blind"}), 1.0)
    native = [request for choose in asked for request in expander.expand(choose)]
    responses: dict[str, Any] = {}
    with contextlib.closing(LocalEngine(adapter, 1)) as engine:
        for done in engine.run(plan((request for request in native if request.image_refs), lambda _: 8)):
            assert isinstance(done, BatchDone)
            responses |= {r.key: response for r, response in zip(done.batch.requests, done.responses, strict=True)}
    assert sum(encoded) == 2
    handle.remove()

    blind = [request for request in native if not request.image_refs]
    responses |= {request.key: response for request, response in zip(blind, answer(adapter, blind), strict=True)}
    for choose in asked:
        got = expander.combine(choose, [responses[request.key] for request in expander.expand(choose)])
        assert isinstance(got, ChoiceScores)
        pairs = [
            [responses[LogLikelihood(seen, choose.prompt, choice).key].total for seen in (choose.images, ())]
            for choice in CHOICES
        ]
        assert got.scores == pytest.approx([seen - unseen for seen, unseen in pairs])
        assert not got.truncated and np.abs(got.scores).max() > 0

    long = LogLikelihood((images[0],), LONG, "yes")
    (response,) = answer(adapter, [long])
    assert response.truncated is adapter.truncates(long) is cuts and np.isfinite(np.asarray(numbers(response))).all()
