"""Baselines, contamination and published scores through the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import layouts, train_splits
from tests.support.cli import vlbench
from tests.support.nano import write_nano

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Data under test beside the train splits."""
    root = train_splits.everything(tmp_path / "data")
    layouts.coco(root / "coco")
    layouts.vqa(root / "vqa")
    layouts.vcr(root / "vcr")
    return root


def run(data: Path, output: Path, *arguments: object) -> tuple[dict[str, dict[str, Any]], str]:
    done = vlbench("run", "--data", data, "--output", output, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return {result["task"]["name"]: result for result in json.loads(done.stdout)}, done.stderr


def test_a_blind_model_is_run_on_what_it_can_do(data: Path, tmp_path: Path) -> None:
    """Train says black for "What color is the", no for "Is there" (as for "Is"), and no to all else."""
    results, log = run(
        *(data, tmp_path, "--model", "baseline:blind", "--model-arg", f"train={data}"), "--tasks", "vqa,vcr"
    )
    assert results["vqa"]["metrics"]["accuracy"]["value"] == pytest.approx(1 / 3), "the dog that is not there"
    assert results["vcr"]["model"]["trained_on"] == ["coco:karpathy-train", "vqa:train2014", "vcr:train"]
    assert results["vcr"]["samples"]["failed"] == 0 and results["vcr"]["model"]["parameters"] == 0
    assert "warning: baseline:blind was trained on vqa:train2014: not zero-shot on vqa" in log
    shown = vlbench("leaderboard", "show", tmp_path).stdout
    assert "trained on vqa" in " ".join(shown.split()) and "baseline:blind: trained on vcr:train" in shown


def test_chance_does_not_depend_on_batches(data: Path, tmp_path: Path) -> None:
    common = ("--model", "baseline:chance", "--model-arg", f"train={data}", "--tasks", "coco_retrieval,vqa,vcr")
    one, log = run(data, tmp_path / "1", *common, "--batch-size", 1)
    many, _ = run(data, tmp_path / "8", *common, "--batch-size", 8)
    assert "was trained on" not in log
    for task, result in one.items():
        assert result["metrics"] == many[task]["metrics"], task


def test_a_checkpoint_says_itself_what_it_has_seen(data: Path, tmp_path: Path) -> None:
    """A folder given to --model has no registration; its config has what it was trained on."""
    folder = write_nano(tmp_path / "nano")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"trained_on": ["coco:karpathy-train"]}))
    results, log = run(data, tmp_path / "out", "--model", folder, "--tasks", "vqa,vcr", "--device", "cpu")
    assert results["vqa"]["model"]["trained_on"] == ["coco:karpathy-train"]
    assert (
        "warning: " in log
        and "was trained on coco:karpathy-train, which shares images with what is tested: not zero-shot on vqa\n" in log
    )


def test_partial_data_has_no_published_scores_beside_it(data: Path, tmp_path: Path) -> None:
    done = vlbench(
        *("run", "--data", data, "--output", tmp_path, "--model", "baseline:chance", "--tasks", "vcr"),
        *("--model-arg", f"train={data}"),
    )
    assert done.returncode == 0 and "baseline:chance" in done.stdout and "published" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "baseline:change"), "did you mean 'baseline:chance'"),
        (("--model", "baseline:blind", "--model-arg", "train=no/such"), "train=no/such is not a folder"),
        (("--model", "baseline:blind", "--model-arg", "choose=best"), "choose=best is none of"),
        (("--model", "baseline:majority", "--model-arg", "choose=longest"), "unknown --model-arg 'choose'"),
        (("--model", "baseline:majority", "--tasks", "coco_retrieval"), "needs embed_images and embed_texts"),
    ],
)
def test_what_cannot_be_run_is_one_clear_line(
    data: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    tasks = () if "--tasks" in arguments else ("--tasks", "vqa")
    split = ("--split", "val2014") if "coco_retrieval" in arguments else ()
    done = vlbench("run", "--data", data, "--output", tmp_path / "out", *arguments, *tasks, *split)
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("vlbench: ")]
    assert done.returncode == 2 and message in error, done.stderr
