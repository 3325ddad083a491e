"""Checkpoints that cannot be had, through the real command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.cli import vlbench

if TYPE_CHECKING:
    from pathlib import Path


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
