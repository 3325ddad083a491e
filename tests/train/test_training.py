"""Training end to end: a nano model learns, resumes to the same weights, and is refused what makes no sense."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from tests.support.cli import vlbench
from tests.support.kills import killed_in_step
from vlbench.errors import UsageError
from vlbench.train.collate import Collator, Draws
from vlbench.train.recipe import Recipe, available, objectives_of, parse_objectives, read_recipe
from vlbench.train.run import new_checkpoint, open_source, pretrain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NANO: Mapping[str, object] = {"size": "nano", "vocabulary": 400, "image_size": 32}
EVERYTHING = dict.fromkeys(("itc", "itm", "mlm", "caption", "tag", "vqa", "vcr"), 1.0)


def _recipe(**values: object) -> Recipe:
    return Recipe(**{"objectives": EVERYTHING, "model": NANO, "scenes": 40, "batch_size": 4, "steps": 6, **values})  # type: ignore[arg-type]


def _losses(folder: Path) -> list[dict[str, str]]:
    with (folder / "training_log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.filterwarnings("ignore")
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    recipe = _recipe(save_every=3)
    pretrain(None, recipe, tmp_path / "whole", device="cpu")
    with killed_in_step(4):
        pretrain(None, recipe, tmp_path / "killed", device="cpu")
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    said: list[str] = []
    pretrain(None, recipe, tmp_path / "killed", device="cpu", say=said.append)
    assert any("going on from" in line for line in said)
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.filterwarnings("ignore")
def test_a_nano_model_learns_its_tags(tmp_path: Path) -> None:
    recipe = _recipe(objectives={"tag": 1.0}, steps=150, batch_size=8, learning_rate=3e-3)
    pretrain(None, recipe, tmp_path, device="cpu")
    losses = [float(row["tag"]) for row in _losses(tmp_path)]
    assert losses[-1] < 0.9 * losses[0]
    assert (tmp_path / "recipe.yaml").read_text().startswith("objectives:\n  tag: 1.0\n")


def test_batches_depend_on_seed_and_step_alone() -> None:
    recipe = _recipe()
    source = open_source(None, recipe)
    checkpoint = new_checkpoint(source, recipe)
    collate = Collator(checkpoint.tokenizer, checkpoint.model.config, recipe)
    first, second = Draws(source, recipe), Draws(source, recipe)
    batch = collate([first[n] for n in range(8, 12)])["batch"]
    again = collate([second[n] for n in (8, 9, 10, 11)])["batch"]
    other = collate([first[n] for n in range(12, 16)])["batch"]
    for name, value in batch.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, again[name]), name
    assert not torch.equal(batch["pixels"], other["pixels"])


def test_objectives_take_turns_after_the_tags() -> None:
    recipe = Recipe(
        objectives={"itc": 1, "itm": 1, "mlm": 1, "tag": 1}, every={"itm": 2, "mlm": 2}, tag_first=0.2, steps=10
    )
    assert [recipe.active(step) for step in (0, 1, 2, 3)] == [
        ("tag",),
        ("tag",),
        ("itc", "itm", "tag"),
        ("itc", "mlm", "tag"),
    ]


@pytest.mark.parametrize("name", available())
def test_the_recipes_that_ship_are_read_and_written_back(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(name, {})
    recipe.save(tmp_path / "again.yaml")
    assert read_recipe(str(tmp_path / "again.yaml"), {}) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objectives: {itx: 1}", "unknown objective 'itx'; did you mean 'itm' or 'itc'"),
        ("objectives: {itc: 0}", "no objective has a weight above 0"),
        ("objectives: {itc: 1}\nstep: 3", "unknown key 'step'; did you mean 'steps'"),
        ("objectives: {itc: 1}\nsteps: 0", "steps is 0; it takes a whole number from 1"),
        ("- 1", "is not a YAML mapping"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_wrong_recipe_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_recipe(str(path), {})


def test_names_that_nothing_trains_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown recipe 'scenes-pretrian'; did you mean 'scenes-pretrain'"):
        read_recipe("scenes-pretrian", {})
    with pytest.raises(UsageError, match="cannot fine-tune for 'vqq'; did you mean 'vqa'"):
        objectives_of(["vqq"])
    with pytest.raises(UsageError, match="'much' is not a number"):
        parse_objectives("itc:much")


@pytest.mark.slow
def test_pretrain_finetune_and_run_on_official_layouts(tmp_path: Path) -> None:
    """The whole way of a user: data on disk, a new model, two more tasks, numbers."""
    (tmp_path / "recipe.yaml").write_text(
        "objectives: {itc: 1, caption: 1}\nmodel: {size: nano, vocabulary: 400, image_size: 32}\n"
        "batch_size: 4\nsteps: 4\n"
    )
    root, made, tuned = tmp_path / "data", tmp_path / "made", tmp_path / "tuned"
    common = ("--data", root, "--recipe", tmp_path / "recipe.yaml", "--device", "cpu")
    steps = (
        ("data", "make-scenes", root, "--train", 12),
        ("pretrain", *common, "--output", made),
        ("finetune", "--model", made, "--task", "vqa,vcr", *common, "--output", tuned),
        ("run", "--model", tuned, "--tasks", "vqa,vcr", "--data", root, "--limit", 3, "--output", tmp_path / "results"),
    )
    for step in steps:
        done = vlbench(*step)
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "results").glob("*.json"))) == 2
    again = vlbench(*steps[1])
    assert again.returncode == 2 and "holds a finished checkpoint already" in again.stderr


def test_a_model_trained_on_a_folder_names_its_datasets_not_the_folder(tmp_path: Path) -> None:
    """The folder's path once stood in results, and no table could tell that the model had seen COCO."""
    from vlbench.data.scenes.write import write_official
    from vlbench.data.source import DataRoot
    from vlbench.train.examples import FolderSource, ScenesSource

    write_official(tmp_path / "data", splits=("train",), train_count=2)
    root = DataRoot(tmp_path / "data")
    assert FolderSource(root, ("itc", "vqa", "vcr")).trained_on == ("coco:karpathy-train", "vqa:train2014", "vcr:train")
    assert FolderSource(root, ("vcr",)).trained_on == ("vcr:train",)
    assert ScenesSource(7).trained_on == ("scenes",)
