"""Distillation: the loss by hand, a teacher that is asked once, and pupils of two kinds of teachers."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.support.checkpoints import clip
from tests.support.nano import write_nano
from vlbench.adapter import LoadOptions
from vlbench.adapters.builtin import Builtin
from vlbench.cli.app import run_app
from vlbench.errors import UnsupportedTask, UsageError
from vlbench.models.config import ModelConfig
from vlbench.train.collate import Draws
from vlbench.train.objectives import distillation_loss
from vlbench.train.recipe import Recipe
from vlbench.train.run import finetune, open_source
from vlbench.train.teacher import Teacher, own_device

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def test_the_loss_by_hand() -> None:
    """Mean of the divergences of rows and of columns, each a sum of p (log p - log q)."""
    similarity, taught = torch.tensor([[1.0, 0.0], [0.5, 2.0]]), torch.tensor([[3.0, -1.0], [0.0, 1.0]])
    by_hand = 0.0
    for q, p in ((similarity, taught), (similarity.T, taught.T)):
        q, p = q.softmax(dim=1), p.softmax(dim=1)
        by_hand += float((p * (p.log() - q.log())).sum()) / len(p) / 2
    assert distillation_loss(similarity, taught).item() == pytest.approx(by_hand, abs=1e-6)
    assert distillation_loss(taught, taught).item() == pytest.approx(0.0, abs=1e-6)


class _Counting(Builtin):
    asked = 0

    def embed_images(self, images: Sequence[Any]) -> torch.Tensor:
        self.asked += len(images)
        return super().embed_images(images)

    def embed_texts(self, texts: Sequence[Any]) -> torch.Tensor:
        self.asked += len(texts)
        return super().embed_texts(texts)


def test_a_teacher_is_asked_once_for_each_image_and_text(tmp_path: Path) -> None:
    adapter = _Counting(LoadOptions(str(write_nano(tmp_path))))
    teacher = Teacher(adapter)
    recipe = Recipe(objectives={"itc": 1.0}, scenes=4, batch_size=4, steps=3)
    draws = Draws(open_source(None, recipe), recipe)
    first = teacher.images([draws[n] for n in range(4)])
    again = teacher.images([draws[n] for n in range(4, 8)])
    assert adapter.asked == 4 and first.shape == (4, 32)
    order = [[draws[n].number for n in range(start, start + 4)] for start in (0, 4)]
    assert torch.equal(first[[order[0].index(number) for number in order[1]]], again)
    texts = teacher.texts(["a red star", "a blue star", "a red star"])
    assert adapter.asked == 6 and torch.equal(texts[0], texts[2])
    assert torch.allclose(texts.norm(dim=1), torch.ones(3))


def test_a_teacher_lies_on_the_device_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert [own_device(name) for name in ("cuda", "cuda:0", "cpu")] == ["cuda:1", "cuda:0", "cpu"]


def _losses(folder: Path) -> list[float]:
    with (folder / "training_log.csv").open(newline="") as file:
        return [float(row["distill"]) for row in csv.DictReader(file)]


@pytest.mark.filterwarnings("ignore")
def test_a_pupil_comes_closer_to_its_teacher_and_has_seen_what_it_saw(tmp_path: Path) -> None:
    """Of a built-in teacher by distillation alone, in late fusion; of CLIP beside the recipe's objectives."""
    (tmp_path / "recipe.yaml").write_text(
        "objectives: {itc: 1}\nmodel: {size: nano, vocabulary: 400, image_size: 32}\nscenes: 16\nbatch_size: 8\n"
        "steps: 60\nlearning_rate: 3.0e-3\n"
    )
    common = ["pretrain", "--recipe", str(tmp_path / "recipe.yaml"), "--device", "cpu"]
    own = ["--teacher", "vlbench-tiny", "--objectives", "distill:2", "--fusion", "late"]
    assert run_app([*common, *own, "--output", str(tmp_path / "late")]) == 0
    losses = _losses(tmp_path / "late")
    assert losses[-1] < losses[0]
    assert Builtin.capabilities(LoadOptions(str(tmp_path / "late"))) == {"embed_images", "embed_texts"}
    of_clip = ["--teacher", str(clip(tmp_path / "clip")), "--steps", "2", "--output", str(tmp_path / "of_clip")]
    assert run_app([*common, *of_clip]) == 0
    assert ModelConfig.read(tmp_path / "of_clip").objectives == ("itc", "distill")
    assert "teacher: " in (tmp_path / "of_clip" / "recipe.yaml").read_text()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--objectives", "distill"), "the objective distill learns from a model: --teacher MODEL"),
        (("--teacher", "WRITER"), "does not embed images and texts"),
        (("--teacher", "vlbench-tinny"), "vlbench-tinny"),
    ],
)
def test_a_teacher_that_cannot_be_is_one_clear_error(
    tmp_path: Path, more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_nano(tmp_path / "writer", ("vqa",))
    more = tuple(part.replace("WRITER", str(tmp_path / "writer")) for part in more)
    assert run_app(["pretrain", *more, "--steps", "1", "--output", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"teacher": "vlbench-tiny"}, "teacher"), ({"init_text": "bert"}, "init_text"), ({}, "distill")],
)
def test_finetuning_takes_no_recipe_of_a_new_model(tmp_path: Path, fields: dict[str, str], named: str) -> None:
    objectives = {"caption": 1.0, **({} if fields else {"distill": 1.0})}
    recipe = Recipe(objectives=objectives, **fields)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"{named} in a recipe is for vlbench pretrain"):
        finetune(tmp_path, ["coco_caption"], None, recipe, tmp_path / "out")


def test_a_floor_is_no_teacher() -> None:
    """Its embeddings are random numbers by request, of which training has none."""
    with pytest.raises(UnsupportedTask, match="--teacher baseline:chance does not embed images and texts"):
        Teacher.load("baseline:chance", "cpu")
