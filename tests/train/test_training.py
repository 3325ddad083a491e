"""Training end to end: a nano model learns, resumes to the same weights, and is refused what makes no sense."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from tests.support.cli import here, vlbench
from tests.support.kills import killed_in_step
from tests.support.layouts import write
from tests.support.nano import write_nano
from vlbench.cli.app import run_app
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
        ("objectives: {itc: 0, caption: 1}", r"objectives.itc is 0; it takes a number above 0"),
        ("objectives: {itc: .nan}", "objectives.itc is nan; it takes a number above 0"),
        ("objectives: {itc: .inf}", "objectives.itc is inf; it takes a number above 0"),
        ("objectives: [itc, caption]", r"objectives is \['itc', 'caption'\]; it takes a mapping"),
        ("steps: 2", "a recipe needs objectives, such as {itc: 1}"),
        ("objectives: {itc: 1}\nevery: {itc: 0}", "every.itc is 0; it takes a whole number from 1"),
        ("objectives: {itc: 1}\nlabel_smoothing: 2", "label_smoothing is 2; it takes a number from 0 to 1"),
        ("objectives: {itc: 1}\nsteps: 2.5", "steps is 2.5; it takes a whole number from 1"),
        ("objectives: {itc: 1}\nsteps: many", "steps is 'many'; it takes a whole number from 1"),
        ("objectives: {itc: 1}\nbetas: 0.9", r"betas is 0.9; it takes two numbers, such as \[0.9, 0.98\]"),
        ("objectives: {itc: 1}\nmodel: nano", "model is 'nano'; it takes a mapping"),
        ("objectives: {itc: 1}\nmodel: {image_epsilon: 0}", "model.image_epsilon is 0; it takes a number above 0"),
        ("objectives: {itc: 1}\nmodel: {dropout: 1}", "model.dropout is 1; it takes a number from 0 to 1"),
        ("objectives: {itc: 1}\ntrainer: {run_name: 2024-01-01}", r"trainer.run_name is datetime.date\(2024, 1, 1\)"),
        ("objectives: {itc: 1}\nwarmup: 3", "warmup is 3; it takes a number from 0 to 1"),
        ("objectives: {itc: 1}\nlearning_rate: -1", "learning_rate is -1; it takes a number above 0"),
        ("objectives: {itc: 1}\nseed: -1", "seed is -1; it takes a whole number from 0 to 4294967295"),
        ("objectives: {itc: 1}\nteacher: 3", "teacher is 3; it takes a text"),
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


def test_numbers_that_yaml_reads_as_texts_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "{objectives: {itc: 1}, learning_rate: 5e-4, steps: 1e3, betas: [0.9, 0.99], model: {text_epsilon: 1e-12}}"
    )
    recipe = read_recipe(str(path), {})
    assert (recipe.learning_rate, recipe.steps, recipe.betas, recipe.model) == (
        5e-4,
        1000,
        (0.9, 0.99),
        {"text_epsilon": 1e-12},
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"class_token": "no"}, "class_token is 'no'; it takes true or false"),
        ({"vision_layers": "two"}, "vision_layers is 'two'; it takes a whole number from 0"),
        ({"text_layers": -1}, "text_layers is -1; it takes a whole number from 0"),
        ({"heads": 5, "width": 30}, "width 30 is not a multiple of 4 and of its 5 heads"),
        ({"vocabulary": "all"}, "model.vocabulary is 'all'; it takes a whole number from 1"),
        ({"stem": [8, "x"]}, r"stem is \(8, 'x'\); it takes a list of channels"),
        ({"image_size": 4}, "image_size 4 is not a multiple of 8, the stride of its stem"),
        ({"image_size": 20}, "image_size 20 is not a multiple of 8, the stride of its stem"),
        ({"stem": [50]}, "the recipe's model cannot be: num_channels .50. must be divisible"),
        ({"dropout": 3}, "model.dropout is 3; it takes a number from 0 to 1"),
    ],
)
def test_a_model_that_cannot_be_is_one_clear_error(model: Mapping[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        recipe = _recipe(model={**NANO, **model}, scenes=2)
        new_checkpoint(open_source(None, recipe), recipe)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pretrain --batch-size 1 --objectives itc", "itc: the images of a batch are compared"),
        ("pretrain --batch-size 2 --objectives itm --trainer-arg gradient_accumulation_steps=2", "--batch-size 4 or"),
        ("pretrain --eval-every 3", "--eval-every is for --eval-tasks, which is not given"),
        ("finetune --model vlbench-tiny --task vqa --eval-limit 3", "--eval-limit is for --eval-tasks"),
        ("finetune --model vlbench-tiny --task captioning --vqa-head classify", "is for the task vqa, which --task"),
        (
            "finetune --model vlbench-tiny --task captioning --objectives caption:1,vqa:1",
            "--objectives vqa: --task captioning learns by caption, and beside it tag, mlm; leave it out",
        ),
        ("finetune --model vlbench-tiny --task vqa --objectives answer:1", "--objectives answer: --task vqa learns by"),
        ("finetune --model some/model --task captioning --objectives tag:1", "learns by caption; leave it out"),
        ("pretrain --learning-rate -1", "learning_rate is -1.0; it takes a number above 0"),
    ],
)
def test_options_that_would_do_nothing_are_refused_before_training(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "recipe.yaml").write_text(
        "{objectives: {itc: 1}, scenes: 4, steps: 1, model: {size: nano, vocabulary: 400, image_size: 32}}"
    )
    done = here(*line.split(), "--recipe", tmp_path / "recipe.yaml", "--device", "cpu", "--output", tmp_path / "made")
    assert done.code == 2 and message in done.err and done.err.count("\n") == done.err.count("pretraining") + 1


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("terminal", [True, False])
def test_steps_are_a_bar_on_a_terminal_and_plain_lines_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    (tmp_path / "recipe.yaml").write_text(
        "{objectives: {tag: 1}, scenes: 4, steps: 2, batch_size: 2, "
        "model: {size: nano, vocabulary: 400, image_size: 32}}"
    )
    shown = _Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    line = ["pretrain", "--recipe", tmp_path / "recipe.yaml", "--device", "cpu", "--output", tmp_path / "made"]
    assert run_app(list(map(str, line))) == 0
    text = shown.getvalue()
    assert "step 2/2  tag " in text and "checkpoint in" in text
    assert ("\x1b[" in text and "steps" in text) == terminal


def test_objectives_that_two_towers_cannot_learn_are_not_dropped(tmp_path: Path) -> None:
    start = write_nano(tmp_path / "late", ("itc",), "late")
    line = ["--model", start, "--task", "retrieval", "--objectives", "itc:1,itm:1", "--output", tmp_path / "made"]
    done = here("finetune", *line)
    assert done.code == 2 and "--objectives itm: --task retrieval learns by itc, and beside it tag;" in done.err


def test_a_gpu_that_is_not_there_is_not_replaced_by_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = here("pretrain", "--device", "cuda", "--output", tmp_path / "made")
    assert done.code == 2 and "finds no GPU here; take --device cpu or auto" in done.err
    with pytest.raises(UsageError, match="finds no GPU"):
        pretrain(None, _recipe(), tmp_path / "made", device="cuda")


def test_flickr30k_is_learned_from_its_own_captions(tmp_path: Path) -> None:
    """COCO's were read for ``--task flickr30k_retrieval``, or missed."""
    from PIL import Image

    sentence = {"raw": "a dog", "sentid": 0, "imgid": 0}
    row = {"filename": "7.jpg", "imgid": 0, "sentids": [0], "sentences": [sentence], "split": "train"}
    folder = tmp_path / "flickr30k"
    write(folder / "dataset_flickr30k.json", {"dataset": "flickr30k", "images": [row]})
    (folder / "flickr30k-images").mkdir()
    Image.new("RGB", (20, 20)).save(folder / "flickr30k-images" / "7.jpg")
    source = open_source(tmp_path, _recipe(objectives={"itc": 1.0}), ["flickr30k_retrieval"])
    assert source.trained_on == ("flickr30k:train",) and source.example(0).captions == ("a dog",)


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
