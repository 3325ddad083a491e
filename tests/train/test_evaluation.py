"""Evaluation during training: the numbers of ``vlbench run``, and weights that know nothing of it."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from tests.support.checkpoints import clip
from vlbench.cli.app import run_app
from vlbench.data.scenes.cache import ensure
from vlbench.errors import UsageError
from vlbench.runner.progress import Silent
from vlbench.train.evaluation import EvaluationPlan, _val_split
from vlbench.train.recipe import Recipe
from vlbench.train.trainer import _Log

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RECIPE = (
    "objectives: {itc: 1, caption: 1, vqa: 1}\nscenes: 40\nbatch_size: 4\nsteps: 5\n"
    "model: {size: nano, vocabulary: 400, image_size: 32, dropout: 0.2}\n"
)
TASKS = ("--eval-tasks", "coco_retrieval,vqa", "--eval-every", "3", "--eval-limit", "3")


def _pretrain(folder: Path, name: str, *more: str) -> Path:
    (folder / "recipe.yaml").write_text(RECIPE)
    line = ["pretrain", "--recipe", str(folder / "recipe.yaml"), "--device", "cpu", "--output", str(folder / name)]
    assert run_app([*line, *more]) == 0
    return folder / name


def _rows(folder: Path) -> list[Mapping[str, str]]:
    with (folder / "evaluation_log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.filterwarnings("ignore")
def test_evaluation_has_the_numbers_of_run_and_leaves_the_weights_as_they_are(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With dropout, which draws from the global random numbers."""
    watched = _pretrain(tmp_path, "watched", *TASKS, "--trainer-arg", "report_to=tensorboard")
    assert "step 3  val: coco_retrieval text_to_image_recall@1 0." in capfd.readouterr().err
    plain = _pretrain(tmp_path, "plain")
    weights = [load_file(folder / "model.safetensors") for folder in (watched, plain)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    rows = _rows(watched)
    assert [*dict.fromkeys(row["step"] for row in rows)] == ["3", "5"]
    assert not (watched / "evaluated").exists()

    data = ["--data", str(ensure(labelled="val")), "--limit", "3", "--device", "cpu", "--output", str(tmp_path / "out")]
    assert run_app(["run", "--model", str(watched), "--tasks", "coco_retrieval,vqa", *data, "--json"]) == 0
    results = json.loads(capfd.readouterr().out)
    expected = {
        (result["task"]["name"], name): metric["value"]
        for result in results
        for name, metric in result["metrics"].items()
        if metric["value"] is not None
    }
    assert {(row["task"], row["metric"]): float(row["value"]) for row in rows if row["step"] == "5"} == expected
    assert len(results) == 2

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next((watched / "trainer" / "runs").rglob("events.*")).parent))
    events.Reload()
    assert [event.step for event in events.Scalars("eval/vqa/accuracy")] == [3, 5]


@pytest.mark.filterwarnings("ignore")
def test_an_external_model_is_evaluated_too(tmp_path: Path) -> None:
    model, out = clip(tmp_path / "clip"), tmp_path / "out"
    line = ["finetune", "--model", str(model), "--task", "retrieval", "--steps", "2", "--batch-size", "4"]
    line += ["--eval-tasks", "flickr30k_retrieval", "--eval-limit", "2", "--device", "cpu", "--output", str(out)]
    assert run_app(line) == 0
    assert {(row["step"], row["task"]) for row in _rows(out)} == {("2", "flickr30k_retrieval")}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--eval-tasks", "vqq"), "unknown task 'vqq'; did you mean 'vqa'"),
        (("--eval-tasks", "coco_caption", "--objectives", "itm"), "coco_caption"),
        (("--eval-tasks", ","), "--eval-tasks is empty"),
        (("--eval-tasks", "vqa", "--eval-every", "0"), "--eval-every is 0; it takes a whole number from 1"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_evaluated_is_refused_before_the_training(
    tmp_path: Path, more: tuple[str, ...], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    line = ["pretrain", "--recipe", str(tmp_path / "recipe.yaml"), "--device", "cpu", "--output", str(tmp_path / "out")]
    assert run_app([*line, *more]) == 2
    said = capfd.readouterr().err
    assert message in said and "step" not in said.replace(message, "")


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="--eval-limit is 0"):
        EvaluationPlan(("vqa",), limit=0)


def test_a_folder_without_karpathys_splits_is_evaluated_on_its_validation_split(tmp_path: Path) -> None:
    """One of COCO 2017 was refused: it has no split karpathy-val, and there is no --eval-split."""
    assert _val_split("flickr30k", tmp_path) == "val" and _val_split("vqa", tmp_path) is None
    (tmp_path / "annotations").mkdir()
    for file, split in (("captions_val2017.json", "val2017"), ("coco_karpathy_val.json", "karpathy-val")):
        (tmp_path / "annotations" / file).write_text("[]")
        assert _val_split("coco", tmp_path) == split


def test_no_test_split_is_chosen_by_where_there_is_another(tmp_path: Path) -> None:
    """Those of GQA and of Visual Genome, which are the defaults of their tasks, were."""
    assert _val_split("gqa", tmp_path) == "val_balanced"
    (tmp_path / "visual_genome").mkdir()
    assert _val_split("visual_genome", tmp_path) is None
    (tmp_path / "visual_genome" / "densecap_splits.json").write_text("{}")
    assert _val_split("visual_genome", tmp_path) == "densecap-val"


def test_the_speed_in_the_log_leaves_evaluations_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of a second each, and a minute of evaluation between them: four examples a second."""
    now = [100.0]
    monkeypatch.setattr("vlbench.train.trainer.time.monotonic", lambda: now[0])
    model = SimpleNamespace(losses={"itc": 1.0})
    recipe = Recipe({"itc": 1.0}, batch_size=4, steps=3)
    log = _Log(tmp_path / "log.csv", recipe, model, lambda _: None, Silent())
    rates = {"lr_scheduler": SimpleNamespace(get_last_lr=lambda: [1e-3])}
    log.on_train_begin(None, SimpleNamespace(global_step=0), None)
    for step in (1, 2, 3):
        log.on_step_end(None, SimpleNamespace(global_step=step), None, **rates)
        if step == 2:
            now[0] += 60.0
            log.on_evaluate(None, None, None)
        now[0] += 1.0
    with (tmp_path / "log.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["step"], row["examples_per_second"]) == ("3", "4.0")
