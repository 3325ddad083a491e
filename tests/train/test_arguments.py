"""Arguments of the trainer: parsed, refused, and what accumulation, checkpointing and reports do to a run."""

from __future__ import annotations

import copy
import csv
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from transformers import TrainingArguments

from tests.support.cli import vlbench
from tests.support.nano import nano
from vlbench.errors import UsageError
from vlbench.models.layers import FeedForward
from vlbench.train import trainer
from vlbench.train.arguments import parse_trainer_arguments
from vlbench.train.collate import Collator, Draws
from vlbench.train.examples import ScenesSource
from vlbench.train.recipe import Recipe
from vlbench.train.step import TrainingModel
from vlbench.train.trainer import fit

if TYPE_CHECKING:
    from pathlib import Path


def test_values_take_the_types_of_their_fields() -> None:
    given = ["gradient_accumulation_steps=2", "bf16=true", "fsdp=full_shard auto_wrap", "report_to=tensorboard"]
    assert parse_trainer_arguments([*given, "adam_epsilon=1e-6", "deepspeed=zero.json"]) == {
        "gradient_accumulation_steps": 2,
        "bf16": True,
        "fsdp": "full_shard auto_wrap",
        "report_to": "tensorboard",
        "adam_epsilon": 1e-6,
        "deepspeed": "zero.json",
    }


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("gradient_acumulation_steps=2", "did you mean 'gradient_accumulation_steps'"),
        ("gradient_accumulation_steps=two", "gradient_accumulation_steps: invalid int value: 'two'"),
        ("bf16=maybe", "bf16: .*maybe"),
        ("optim=nothing", "optim: .*nothing"),
        ("seed=3", "'seed' is set by vlbench itself: --seed"),
        ("output_dir=x", "'output_dir' is set by vlbench itself: --output"),
        ("per_device_train_batch_size=3", "set by vlbench itself: --batch-size"),
        ("bf16", "'bf16' is not KEY=VALUE"),
    ],
)
def test_what_cannot_be_taken_is_one_clear_error(pair: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_trainer_arguments([pair])
    assert "\n" not in str(caught.value)


class _Toy(torch.nn.Module):
    """One weight with a loss that is a mean over rows: equal parts of a batch have the mean of its gradients."""

    def __init__(self, dies_at: int = -1) -> None:
        super().__init__()
        self._left = dies_at
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.losses: dict[str, float] = {}

    def forward(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt
        loss = ((batch @ self.weight - 2) ** 2).mean()
        self.losses = {"tag": float(loss.detach())}
        return {"loss": loss}


def _toy(output: Path, dies_at: int = -1, **values: Any) -> tuple[torch.Tensor, list[dict[str, str]]]:
    recipe = Recipe(**{"objectives": {"tag": 1.0}, "scenes": 40, "batch_size": 4, "steps": 2, **values})
    model = _Toy(dies_at)
    fit(model, ScenesSource(40), _rows, recipe, output, device="cpu", say=lambda _: None)
    with (output / "training_log.csv").open(newline="") as file:
        return model.weight.detach(), list(csv.DictReader(file))


def _rows(draws: Any) -> dict[str, Any]:
    return {"batch": torch.from_numpy(np.stack([draw.rng.random(3) for draw in draws])).float()}


@pytest.mark.filterwarnings("ignore")
def test_accumulated_parts_make_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    whole, losses = _toy(tmp_path / "whole")
    parts, again = _toy(tmp_path / "parts", trainer={"gradient_accumulation_steps": 2})
    assert not torch.equal(whole, torch.ones(3))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)
    assert len(losses) == 1 and losses[0]["tag"] == again[0]["tag"]
    with pytest.raises(UsageError, match="3 accumulated parts cannot share batches of 4"):
        _toy(tmp_path / "uneven", trainer={"gradient_accumulation_steps": 3})
    with pytest.raises(UsageError, match="unknown trainer argument 'bf61'; did you mean 'bf16'"):
        _toy(tmp_path / "unknown", trainer={"bf61": True})


@pytest.mark.filterwarnings("ignore")
def test_a_resumed_run_logs_no_step_twice(tmp_path: Path) -> None:
    """Killed in step 50, after step 40 was logged, with its last checkpoint at step 30; and its rows are those of a
    run that was not killed.
    """
    with pytest.raises(KeyboardInterrupt):
        _toy(tmp_path / "killed", dies_at=50, steps=60, save_every=30)
    log = (tmp_path / "killed" / "training_log.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in log[1:]] == ["20", "30", "40"]
    _, rows = _toy(tmp_path / "killed", steps=60, save_every=30)
    _, whole = _toy(tmp_path / "whole", steps=60, save_every=30)
    assert [row["step"] for row in rows] == ["20", "30", "40", "60"]
    assert [(row["step"], row["tag"]) for row in rows] == [(row["step"], row["tag"]) for row in whole]


def test_one_process_trains_on_one_gpu_of_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer would take a batch for each, and cut it where its rows name images by their place."""
    made = TrainingArguments.__post_init__

    def several(arguments: TrainingArguments) -> None:
        made(arguments)
        arguments._n_gpu = 2

    monkeypatch.setattr(TrainingArguments, "__post_init__", several)
    arguments = trainer._arguments(Recipe(objectives={"itc": 1.0}, batch_size=6), tmp_path, "cpu")
    assert arguments.n_gpu == 1 and arguments.train_batch_size == 6


def test_checkpointed_layers_run_twice_and_change_no_gradient() -> None:
    model = copy.deepcopy(nano(("caption",)).model).train()
    recipe = Recipe(objectives={"caption": 1.0}, scenes=40, batch_size=2, steps=1)
    draws = Draws(ScenesSource(40), recipe)
    batch = Collator(nano(("caption",)).tokenizer, model.config, recipe)([draws[0], draws[1]])["batch"]
    wrapped = TrainingModel(model, recipe.objectives)
    calls: list[object] = []
    for layer in model.modules():
        if isinstance(layer, FeedForward):
            # Before, not after: computing again stops within a layer, as soon as it has what was asked for.
            layer.register_forward_pre_hook(lambda *_: calls.append(None))
    gradients = []
    for _ in range(2):
        model.zero_grad()
        wrapped(batch)["loss"].backward()
        gradients.append([weight.grad.clone() for weight in model.parameters() if weight.grad is not None])
        if len(gradients) == 1:
            once = len(calls)
            wrapped.activation_checkpointing_enable()
    assert len(calls) == 3 * once > 0
    assert all(torch.equal(left, right) for left, right in zip(*gradients, strict=True))


def test_the_command_line_takes_and_refuses_them(tmp_path: Path) -> None:
    refused = vlbench("pretrain", "--output", tmp_path / "out", "--trainer-arg", "bf61=true")
    assert refused.returncode == 2
    assert "unknown trainer argument 'bf61'; did you mean 'bf16'" in refused.stderr
