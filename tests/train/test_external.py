"""Fine-tuning of external models: what is learned, what is saved, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from tests.support import checkpoints
from tests.support.cli import vlbench
from tests.support.kills import killed_in_step
from vlbench.adapter import LoadOptions
from vlbench.cli.app import run_app
from vlbench.errors import UsageError
from vlbench.plugins import load_plugins
from vlbench.resolve import resolve_model
from vlbench.train.external import finetune_external
from vlbench.train.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _recipe(**values: object) -> Recipe:
    return Recipe(**{"objectives": {"caption": 1.0}, "scenes": 20, "batch_size": 2, "steps": 2, **values})  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore")
def test_two_checkpoints_are_joined_trained_and_evaluated_by_the_adapter(tmp_path: Path) -> None:
    """The encoder's and the decoder's own weights go into the pair, and the result is a folder like any other."""
    from transformers import AutoImageProcessor, AutoTokenizer, VisionEncoderDecoderModel

    whole = checkpoints.vit_gpt2(tmp_path / "whole")
    model = VisionEncoderDecoderModel.from_pretrained(whole)
    for name, half, processor in (
        ("vit", model.encoder, AutoImageProcessor),
        ("gpt2", model.decoder, AutoTokenizer),
    ):
        half.save_pretrained(tmp_path / name)
        processor.from_pretrained(whole).save_pretrained(tmp_path / name)
    pair = f"vision_encoder_decoder:{tmp_path / 'vit'}+{tmp_path / 'gpt2'}"
    said: list[str] = []
    finetune_external(pair, ["captioning", "vqa"], None, _recipe(), tmp_path / "tuned", device="cpu", say=said.append)
    assert "fine-tuning 0.0" in said[0] and any("caption" in line and "vqa" in line for line in said)
    config = json.loads((tmp_path / "tuned" / "config.json").read_text())
    assert config["architectures"] == ["VisionEncoderDecoderModel"] and config["vlbench_trained_on"] == ["scenes"]
    done = vlbench(
        *("run", "--model", tmp_path / "tuned", "--tasks", "coco_caption", "--limit", 2, "--json"),
        *("--task-arg", "meteor=off", "--output", tmp_path / "results"),
    )
    assert done.returncode == 0, done.stderr
    assert "was trained on scenes" in done.stderr
    assert json.loads(done.stdout)[0]["model"]["adapter"] == "vision_encoder_decoder"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "tune", "task", "moves", "stays"),
    [
        (checkpoints.clip, "full", "retrieval", "embeddings", "position_ids"),
        (checkpoints.clip, "head", "retrieval", "text_projection", "self_attn"),
        (checkpoints.clip, "lora", "retrieval", "self_attn", "projection"),
        (lambda f: checkpoints.blip(f, "BlipForImageTextRetrieval"), "lora", "retrieval", "text_encoder", "itm_head"),
        (lambda f: checkpoints.blip(f, "BlipForConditionalGeneration"), "head", "captioning", ".cls.", "vision_model"),
        (checkpoints.vit_gpt2, "lora", "captioning", "crossattention", "lm_head"),
    ],
    ids=["clip-full", "clip-head", "clip-lora", "blip-retrieval-lora", "blip-caption-head", "vit-gpt2-lora"],
)
def test_only_the_chosen_weights_move_and_the_folder_keeps_its_form(
    tmp_path: Path, make: Callable[[Path], Path], tune: str, task: str, moves: str, stays: str
) -> None:
    start = make(tmp_path / "start")
    recipe = _recipe(batch_size=4, learning_rate=1e-2)
    finetune_external(str(start), [task], None, recipe, tmp_path / "tuned", tune=tune, device="cpu")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("start", "tuned"))
    # The adapter takes away the pooler of a ViT, which nothing reads.
    before = {name: weight for name, weight in before.items() if name in after or "encoder.pooler" not in name}
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(moves in name for name in changed)
    assert not any(stays in name for name in changed)
    resolved = resolve_model(str(tmp_path / "tuned"), load_plugins(), {})
    adapter = resolved.adapter(LoadOptions(resolved.checkpoint))
    assert adapter.trained_on == ("scenes",)


@pytest.mark.filterwarnings("ignore")
def test_what_a_model_cannot_learn_is_refused_before_training(tmp_path: Path) -> None:
    folder = checkpoints.vit_gpt2(tmp_path / "whole")
    with pytest.raises(UsageError, match="a VisionEncoderDecoderModel cannot learn retrieval; it learns caption, vqa"):
        finetune_external(str(folder), ["retrieval"], None, _recipe(), tmp_path / "tuned", device="cpu")
    with pytest.raises(UsageError, match="a VisionEncoderDecoderModel cannot learn retrieval; it learns caption, vqa"):
        finetune_external(str(folder), ["vqa", "retrieval"], None, _recipe(), tmp_path / "tuned", device="cpu")
    vilt = checkpoints.vilt(tmp_path / "vilt", "ViltForQuestionAnswering")
    with pytest.raises(
        UsageError, match="a ViltForQuestionAnswering; vlbench fine-tunes VisionEncoderDecoderModel, CLIPModel"
    ):
        finetune_external(str(vilt), ["vqa"], None, _recipe(), tmp_path / "tuned", device="cpu")


@pytest.mark.filterwarnings("ignore")
def test_objectives_that_a_model_does_not_learn_are_named(tmp_path: Path) -> None:
    start, said = checkpoints.clip(tmp_path / "start"), list[str]()
    recipe = _recipe(batch_size=4, steps=1, objectives={"itc": 1.0, "tag": 0.5, "vqa": 1.0})
    finetune_external(str(start), ["retrieval"], None, recipe, tmp_path / "tuned", device="cpu", say=said.append)
    assert [line for line in said if "left out" in line] == [
        "the objective itm is left out: a CLIPModel does not learn it",
        "the objective tag is left out: a CLIPModel does not learn it",
    ]


@pytest.mark.filterwarnings("ignore")
def test_tune_of_the_command_line_reaches_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--tune head`` trained all weights: the verb did not hand the option on."""
    start = checkpoints.clip(tmp_path / "start")
    (tmp_path / "recipe.yaml").write_text(
        "{objectives: {itc: 1}, scenes: 20, batch_size: 4, steps: 2, learning_rate: 0.01}"
    )
    arguments = ["finetune", "--model", start, "--task", "retrieval", "--recipe", tmp_path / "recipe.yaml"]
    arguments += ["--tune", "head", "--device", "cpu", "--data", "scenes", "--output", tmp_path / "tuned"]
    assert run_app(list(map(str, arguments))) == 0, capsys.readouterr().err
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("start", "tuned"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all("projection" in name or name == "logit_scale" for name in changed)


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses of external models look at one process's rows alone, which would be another training."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="external model is fine-tuned in one process, not in 2"):
        finetune_external("clip", ["retrieval"], None, _recipe(), tmp_path / "tuned", device="cpu")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "tune"),
    [
        (checkpoints.vit_gpt2, "full"),
        (checkpoints.vit_gpt2, "lora"),
        (lambda f: checkpoints.blip(f, "BlipForConditionalGeneration"), "full"),
    ],
    ids=["vit-gpt2-full", "vit-gpt2-lora", "blip-full"],
)
def test_a_killed_fine_tuning_goes_on_although_weights_are_tied(
    tmp_path: Path, make: Callable[[Path], Path], tune: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Tied weights are saved once; the trainer missed the other name and broke off."""
    recipe = _recipe(steps=3, save_every=2, learning_rate=1e-2)
    start, said = str(make(tmp_path / "start")), []

    def tuned(name: str) -> dict[str, torch.Tensor]:
        folder = tmp_path / name
        finetune_external(start, ["captioning"], None, recipe, folder, tune=tune, device="cpu", say=said.append)
        return load_file(folder / "model.safetensors")

    with killed_in_step(3):
        tuned("killed")
    resumed = tuned("killed")
    assert any("going on from" in line for line in said)
    assert not [record.message for record in caplog.records if "missing keys" in record.message]
    assert all(torch.equal(resumed[name], weights) for name, weights in tuned("whole").items())
