"""Visual Genome and marked VCR through the real command line, over the bundled scenes and with the bundled model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import vlbench

if TYPE_CHECKING:
    from pathlib import Path

TASKS = ("vg_region_retrieval", "vg_qa", "vg_attributes", "vg_relations", "vcr")


@pytest.mark.slow
def test_tasks_that_all_leaves_out_run_by_name(tmp_path: Path) -> None:
    done = vlbench(
        "run", "--tasks", ",".join(TASKS), "--task-arg", "vcr:marks=draw", "--limit", 24, "--output", tmp_path, "--json"
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, dict[str, Any]] = {result["task"]["name"]: result for result in json.loads(done.stdout)}
    assert set(results) == set(TASKS)
    for name, result in results.items():
        assert result["samples"]["failed"] == 0 and result["metrics"][result["primary_metric"]]["value"] is not None
        part = "|marks:draw-v1|" if name == "vcr" else "|scenes/visual_genome:densecap-test|"
        assert part in result["signature"] and "|limit:24|" in result["signature"]
    # Questions about colours and shapes are what the model was trained on; far from chance whatever the answer.
    assert results["vg_qa"]["metrics"]["accuracy"]["value"] > 0.6
