"""The main job: `vlbench run` with nothing said, and the README's own model."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.support.cli import ROOT, vlbench
from vlbench.leaderboard.store import find_results

# A little below what docs/training.md says the bundled weights reach, so that a loss of quality fails.
REACHED = {
    "coco_retrieval": {"image_to_text_recall@1": 0.995, "text_to_image_recall@1": 0.995},
    "coco_caption": {"CIDEr": 4.9},
    "vqa": {"accuracy": 0.99, "accuracy/question_type/is the": 0.98, "accuracy/question_type/how many": 0.98},
    "vcr": {"q_to_a": 0.94, "qa_to_r": 0.99, "q_to_ar": 0.94},
}


@pytest.fixture
def main_job(tmp_path: Path) -> Path:
    """Folder of the results of the main job: what the build made already, or made here."""
    made = os.environ.get("VLBENCH_MAIN_JOB")
    if made:
        return Path(made)
    # The second gallery has the same pictures, and METEOR tests of its own: both take their time.
    quick = ("--task-arg", "flickr30k_retrieval:rerank=0", "--task-arg", "coco_caption:meteor=off")
    done = vlbench("run", *quick, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


@pytest.mark.slow
def test_run_evaluates_the_bundled_model_on_all_five_tasks(main_job: Path) -> None:
    found = [result for _, result in find_results([main_job])]
    results = {result.task.name: result for result in found}
    assert set(results) == {*REACHED, "flickr30k_retrieval"} and len(found) == len(results)
    assert all(result.model.name == "vlbench-tiny" and result.samples.failed == 0 for result in found)
    for task, reached in REACHED.items():
        for metric, least in reached.items():
            assert (results[task].metrics[metric].value or 0.0) >= least, (task, metric)
    shown = vlbench("leaderboard", "show", main_job)
    assert shown.returncode == 0 and "vlbench-tiny" in shown.stdout


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
def test_the_model_of_the_readme_runs(tmp_path: Path) -> None:
    (source,) = [block for block in _blocks("python") if "vlbench_register_models" in block]
    plugin = tmp_path / "my_model.py"
    plugin.write_text(source)
    done = vlbench(
        *("run", "--plugin", plugin, "--model", "my-model", "--tasks", "coco_retrieval,vqa"),
        *("--limit", 50, "--output", tmp_path / "results", "--json"),
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert [result["task"]["name"] for result in results] == ["coco_retrieval", "vqa"]
    assert all(result["samples"]["failed"] == 0 for result in results)
