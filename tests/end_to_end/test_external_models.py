"""Checkpoints of external libraries, given as local folders, through the real command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support import checkpoints
from tests.support.cli import vlbench

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RETRIEVAL = ("coco_retrieval", "flickr30k_retrieval", "vqa", "vcr")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "adapter", "tasks"),
    [
        (checkpoints.clip, "clip", RETRIEVAL),
        (checkpoints.vit_gpt2, "vision_encoder_decoder", ("coco_caption", "vqa", "vcr")),
        (lambda f: checkpoints.blip(f, "BlipForImageTextRetrieval"), "blip", RETRIEVAL),
        (lambda f: checkpoints.blip(f, "BlipForQuestionAnswering"), "blip", ("coco_caption", "vqa", "vcr")),
        (lambda f: checkpoints.vilt(f, "ViltForImageAndTextRetrieval"), "vilt", RETRIEVAL),
        (lambda f: checkpoints.vilt(f, "ViltForQuestionAnswering"), "vilt", ("coco_caption", "vqa")),
        (checkpoints.llava, "chat", ("coco_caption", "vqa", "vcr")),
    ],
    ids=["clip", "vit-gpt2", "blip-retrieval", "blip-questions", "vilt-retrieval", "vilt-questions", "llava"],
)
def test_a_folder_runs_every_task_that_it_can(
    tmp_path: Path, make: Callable[[Path], Path], adapter: str, tasks: tuple[str, ...]
) -> None:
    folder = make(tmp_path / "checkpoint")
    done = vlbench(
        *("run", "--model", folder, "--tasks", "all", "--limit", 4, "--task-arg", "coco_caption:meteor=off"),
        *("--output", tmp_path / "results", "--json"),
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert {result["task"]["name"] for result in results} == set(tasks)
    assert all(result["model"]["adapter"] == adapter for result in results)
    assert all(result["samples"]["failed"] == 0 for result in results)


def test_a_folder_that_nobody_knows_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    done = vlbench("run", "--model", tmp_path / "model", "--output", tmp_path / "results")
    assert done.returncode != 0
    assert "no adapter knows the checkpoint" in done.stderr and "Traceback" not in done.stderr


def test_a_hub_that_does_not_answer_is_one_clear_error(tmp_path: Path) -> None:
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hub")}
    done = vlbench("run", "--model", "openai/clip-vit-base-patch32", "--output", tmp_path, **environment)
    assert done.returncode != 0
    assert "is not, or not wholly, in the cache" in done.stderr
    assert "Traceback" not in done.stderr
