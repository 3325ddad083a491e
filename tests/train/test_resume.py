"""An unfinished run is gone on with by the same command alone, whenever it was killed."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file

from tests.support.checkpoints import vit_gpt2
from tests.support.kills import Killed, killed_in_step
from tests.support.nano import nano, write_nano
from vlbench.adapter import LoadOptions
from vlbench.errors import UsageError
from vlbench.models.checkpoint import UNFINISHED, save_checkpoint
from vlbench.plugins import load_plugins
from vlbench.resolve import resolve_model
from vlbench.train.examples import ScenesSource
from vlbench.train.external import save
from vlbench.train.pairs import begin_pair
from vlbench.train.recipe import Recipe
from vlbench.train.run import finetune, pretrain

if TYPE_CHECKING:
    from collections.abc import Callable

RECIPE = Recipe(
    objectives={"itc": 1.0, "caption": 1.0},
    model={"size": "nano", "vocabulary": 400, "image_size": 32},
    scenes=40,
    batch_size=2,
    steps=3,
    save_every=2,
)


@pytest.mark.filterwarnings("ignore")
def test_another_command_does_not_go_on_with_an_unfinished_run(tmp_path: Path) -> None:
    """It loaded the weights and the schedule of the other run and said nothing."""
    with killed_in_step(3):
        pretrain(None, RECIPE, tmp_path, device="cpu")
    others: tuple[tuple[dict[str, Any], str], ...] = (
        (
            {"objectives": {"caption": 1.0}, "seed": 7, "learning_rate": 1e-5},
            r"learning_rate 0.0007, not 1e-05, seed 0, not 7, objectives.itc 1.0, not unset; choose another --output",
        ),
        ({"model": {**RECIPE.model, "fusion": "early"}}, "model.fusion unset, not early"),
        ({"model": {**RECIPE.model, "width": 64}}, "model.width unset, not 64"),
        ({"steps": 2}, "steps 3, not 2"),
        ({"scenes": 41}, "images 40, not 41"),
    )
    for changed, message in others:
        with pytest.raises(UsageError, match=f"unfinished run with .*{message}"):
            pretrain(None, dataclasses.replace(RECIPE, **changed), tmp_path, device="cpu")
    # An earlier version wrote no such file.
    (tmp_path / "run.json").unlink()
    said: list[str] = []
    pretrain(None, RECIPE, tmp_path, device="cpu", say=said.append)
    assert any("going on from" in line for line in said)


@pytest.mark.filterwarnings("ignore")
def test_fine_tuning_does_not_go_on_from_another_model_or_for_another_task(tmp_path: Path) -> None:
    start, other = write_nano(tmp_path / "start"), copy.deepcopy(nano())
    with torch.no_grad():
        other.model.logit_scale += 1
    save_checkpoint(tmp_path / "other", other)
    recipe = dataclasses.replace(RECIPE, objectives={"vqa": 1.0})

    def tuned(start: Path, *tasks: str, **options: Any) -> None:
        finetune(start, tasks, None, recipe, tmp_path / "tuned", device="cpu", **options)

    with killed_in_step(3):
        tuned(start, "vqa")
    with pytest.raises(UsageError, match="model .*start, not .*other, weights sha256:.*, not sha256:"):
        tuned(tmp_path / "other", "vqa")
    with pytest.raises(UsageError, match=r"objectives.vqa 1.0, not unset.*vqa_head generate, not classify"):
        tuned(start, "vqa", vqa_head="classify")
    with pytest.raises(UsageError, match=r"tasks \['vqa'\], not \['vqa', 'captioning'\]"):
        tuned(start, "vqa", "captioning")
    # Another way to the same weights is no other command.
    (tmp_path / "link").symlink_to(start)
    with killed_in_step(3):
        tuned(tmp_path / "link", "vqa")
    about = json.loads((tmp_path / "tuned" / "run.json").read_text())
    assert about["data"] == "scenes-train:40" and about["tasks"] == ["vqa"]


@pytest.mark.filterwarnings("ignore")
def test_a_teacher_whose_weights_changed_under_its_name_is_another(tmp_path: Path) -> None:
    other = copy.deepcopy(nano())
    with torch.no_grad():
        other.model.logit_scale += 1
    teacher = write_nano(tmp_path / "teacher")
    taught = dataclasses.replace(RECIPE, objectives={"itc": 1.0, "distill": 1.0}, teacher=str(teacher))
    with killed_in_step(3):
        pretrain(None, taught, tmp_path / "taught", device="cpu")
    save_checkpoint(teacher, other)
    with pytest.raises(UsageError, match="unfinished run with teacher_weights sha256:.*, not sha256:"):
        pretrain(None, taught, tmp_path / "taught", device="cpu")


def test_a_new_pair_is_made_once_and_nothing_else_gives_way_to_it(tmp_path: Path) -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        return load_file(
            begin_pair("vision_encoder_decoder:tiny", ScenesSource(5), seed, tmp_path / "start") / "model.safetensors"
        )

    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "mine.txt").write_text("not of a pair")
    first, name = weights(0), "decoder.transformer.wte.weight"
    assert (tmp_path / "start" / "mine.txt").exists()
    when = (tmp_path / "start" / "model.safetensors").stat().st_mtime_ns
    assert torch.equal(weights(0)[name], first[name])
    assert (tmp_path / "start" / "model.safetensors").stat().st_mtime_ns == when
    with pytest.raises(UsageError, match="holds a checkpoint of seed 0, not 1; choose another --output"):
        weights(1)
    (tmp_path / "start" / "pair.json").unlink()
    with pytest.raises(UsageError, match="holds a checkpoint of model unknown"):
        weights(0)
    assert (tmp_path / "start" / "mine.txt").exists()


def _built_in(folder: Path) -> None:
    save_checkpoint(folder, nano())


def _external(folder: Path) -> None:
    resolved = resolve_model(str(folder.parent / "start"), load_plugins(), {})
    save(resolved.load(LoadOptions(resolved.checkpoint)), folder)


def _pair(folder: Path) -> None:
    begin_pair("vision_encoder_decoder:tiny", ScenesSource(5), 0, folder)


@pytest.mark.parametrize(
    ("write", "dies"),
    [
        (_built_in, "vlbench.models.tokenizer.TextTokenizer.save"),
        (_external, "transformers.PreTrainedTokenizerBase.save_pretrained"),
        (_pair, "transformers.modeling_utils.safe_save_file"),
    ],
)
def test_a_kill_within_the_last_save_leaves_no_finished_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], dies: str
) -> None:
    """Weights came first, and half of them counted: the same command was refused, and nothing could load them."""
    vit_gpt2(tmp_path / "start")

    def killed(*arguments: object, **_: object) -> None:
        for path in (Path(part) for part in arguments if str(part).endswith(".safetensors")):
            path.write_bytes(b"half")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(dies, killed)
        with pytest.raises(Killed):
            write(tmp_path / "made")
    assert not (tmp_path / "made" / "model.safetensors").exists()
    write(tmp_path / "made")
    assert (tmp_path / "made" / "model.safetensors").exists() and not (tmp_path / "made" / UNFINISHED).exists()
