"""The losses of a step by hand, token by token, and in which numbers a contrast is computed."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.support.nano import nano
from vlbench.models.pixels import normalise
from vlbench.train import objectives
from vlbench.train.collate import Collator, Draws
from vlbench.train.examples import ScenesSource
from vlbench.train.objectives import IGNORED
from vlbench.train.recipe import Recipe
from vlbench.train.step import TrainingModel

if TYPE_CHECKING:
    from vlbench.models.model import VisionLanguageModel


def _batch(name: str, **values: Any) -> tuple[VisionLanguageModel, dict[str, Any]]:
    checkpoint = copy.deepcopy(nano())
    recipe = Recipe(objectives={name: 1.0}, scenes=40, batch_size=4, steps=1, **values)
    draws = Draws(ScenesSource(40), recipe)
    collate = Collator(checkpoint.tokenizer, checkpoint.model.config, recipe)
    batch: dict[str, Any] = collate([draws[n] for n in range(4)])["batch"]
    return checkpoint.model, batch


def _logs(logits: torch.Tensor) -> list[float]:
    """Return the logarithms of the softmax, in Python's own numbers."""
    values = [float(value) for value in logits]
    total = math.log(sum(math.exp(value - max(values)) for value in values)) + max(values)
    return [value - total for value in values]


@torch.no_grad()
def test_masked_words_are_the_mean_of_their_surprisals_given_the_image_and_the_rest() -> None:
    model, batch = _batch("mlm")
    wrapped = TrainingModel(model, {"mlm": 1.0})
    loss = float(wrapped(batch)["loss"])
    seen = model.encode_image(normalise(batch["pixels"]))[batch["mlm_image"]]
    logits = model.words(model.fill(batch["mlm_ids"], batch["mlm_lengths"], seen))
    labels = batch["mlm_labels"]
    places = (labels != IGNORED).nonzero().tolist()
    expected = [-_logs(logits[row, n])[int(labels[row, n])] for row, n in places]
    assert len(places) > 4 and loss == pytest.approx(sum(expected) / len(places), abs=1e-5)
    assert wrapped.losses["mlm"] == pytest.approx(loss)


@torch.no_grad()
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_label_smoothing_spreads_its_share_of_a_captions_target_over_all_tokens(smoothing: float) -> None:
    """Szegedy et al. 2016, section 7."""
    model, batch = _batch("caption")
    loss = float(TrainingModel(model, {"caption": 1.0}, smoothing)(batch)["loss"])
    seen = model.encode_image(normalise(batch["pixels"]))[batch["caption_image"]]
    logits = model.words(model.decode(batch["caption_ids"], batch["caption_prefixes"], seen))
    labels = batch["caption_labels"]
    terms = []
    for row, n in (labels != IGNORED).nonzero().tolist():
        logs = _logs(logits[row, n])
        terms.append(-(1 - smoothing) * logs[int(labels[row, n])] - smoothing * sum(logs) / len(logs))
    assert loss == pytest.approx(sum(terms) / len(terms), abs=1e-5)


def test_similarities_are_computed_in_float32_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16 those of the pupil were wrong by up to 0.2, beside exact ones of the teacher."""
    model, batch = _batch("itc")
    batch["active"] = ("itc", "distill")
    teacher = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    batch |= {"teacher_images": teacher, "teacher_texts": teacher}
    given: dict[str, list[torch.dtype]] = {}

    def watched(name: str) -> None:
        function = getattr(objectives, name)

        def call(*arguments: Any) -> Any:
            given[name] = [one.dtype for one in arguments[:2]]
            return function(*arguments)

        monkeypatch.setattr(objectives, name, call)

    for name in ("clip_loss", "distillation_loss"):
        watched(name)
    with torch.autocast("cpu", torch.bfloat16):
        TrainingModel(model, {"itc": 1.0, "distill": 1.0})(batch)["loss"].backward()
    assert given == dict.fromkeys(("clip_loss", "distillation_loss"), [torch.float32, torch.float32])
