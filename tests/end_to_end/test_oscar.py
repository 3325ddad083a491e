"""Oscar's three heads over region features of the bundled pictures, through the real command line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import oscar
from tests.support.cli import vlbench
from tests.support.hub import HubServer
from vlbench.data.scenes.cache import ensure

if TYPE_CHECKING:
    from pathlib import Path

RETRIEVAL = {"coco_retrieval", "flickr30k_retrieval", "vqa", "vcr"}
TASKS = {"mlp": RETRIEVAL, "caption": {"coco_caption", "vqa"}, "questions": {"coco_caption", "vqa"}}


def _pictures() -> list[str]:
    """Return the keys of all bundled pictures, as the authors name them: of COCO the number."""
    stems = {path.stem for path in ensure().rglob("*.png")}
    return sorted({str(int(stem[-12:])) if re.match("COCO_", stem) else stem for stem in stems})


@pytest.mark.slow
def test_each_head_runs_every_task_that_it_can_from_a_folder_and_from_the_hub(tmp_path: Path) -> None:
    oscar.features(tmp_path / "features", names=_pictures())
    answers = tmp_path / "questions" / "trainval_ans2label.pkl"
    local = {head: f"oscar:{oscar.checkpoint(tmp_path / head, head)}" for head in TASKS}
    # A repository needs no prefix: its configuration tells the adapter. One of them is enough: it is the same code.
    remote = {"questions": "somebody/oscar-questions"}
    with HubServer() as hub:
        for head, name in remote.items():
            hub.push(name, {path.name: path.read_bytes() for path in (tmp_path / head).iterdir()}, kind="models")
        done = vlbench(
            *("run", "--model", ",".join([*local.values(), *remote.values()]), "--tasks", "all", "--limit", 4),
            *("--model-arg", f"features={tmp_path / 'features'}", "--output", tmp_path / "results", "--json"),
            *("--model-arg", f"{local['questions']}:answers={answers}"),
            *("--model-arg", f"{remote['questions']}:answers={answers}"),
            *("--task-arg", "coco_caption:meteor=off", "--task-arg", "coco_caption:num_beams=3", "--bootstrap", 0),
            **hub.environment(tmp_path / "cache"),
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = {}
    for result in json.loads(done.stdout):
        assert result["model"]["adapter"] == "oscar" and result["samples"]["failed"] == 0
        found.setdefault(result["model"]["name"], {})[result["task"]["name"]] = result
    assert {head: set(found[name]) for head, name in local.items()} == TASKS
    assert set(found[remote["questions"]]) == TASKS["questions"]
    for task, other in found[remote["questions"]].items():
        one = found[local["questions"]][task]
        assert one["model"]["fingerprint"] == other["model"]["fingerprint"]
        assert (one["signature"], one["metrics"]) == (other["signature"], other["metrics"])
    assert "num_beams=3" in found[local["caption"]]["coco_caption"]["signature"]
