"""The script behind action.yml, over made results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from tests.support.cli import ROOT
from tests.support.results import result
from vlbench.gate.baseline import Scored, write_baseline
from vlbench.leaderboard.store import write_result
from vlbench.types import SampleRow

SCRIPT = ".github/action.sh"


def test_the_script_checks_and_leaves_reports(tmp_path: Path) -> None:
    (step,) = (step for step in yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"] if "env" in step)
    assert SCRIPT in step["run"]
    rows = [SampleRow(f"{i}", f"{i}", "x", "ok", {"accuracy": float(i >= 90)}) for i in range(400)]
    made = result({"accuracy": 0.775}, name="bad", task={"name": "vqa"}, run_id="bad")
    write_result(tmp_path / "results", made, rows)
    better = [SampleRow(row.sample_id, row.image_id, "x", "ok", {"accuracy": 1.0}) for row in rows]
    old = result({"accuracy": 1.0}, task={"name": "vqa"}, run_id="old")
    write_baseline(tmp_path / "baselines", Scored(old, better))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {**os.environ, **dict.fromkeys(step["env"], ""), "PATH": path, "PYTHONPATH": str(ROOT)}

    def script(**inputs: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / SCRIPT], env={**given, **inputs}, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    summary = tmp_path / "summary.md"
    done = script(RESULTS="results", TASKS="vqa", OPTIONS="--max-drop 0.02", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 1 and "shown to exceed 2 points" in done.stdout, done.stderr
    assert summary.read_text() == (tmp_path / "vlbench-results" / "check.md").read_text()
    assert 'failures="1"' in (tmp_path / "vlbench-results" / "junit.xml").read_text()
    done = script()
    assert done.returncode == 2 and "give the input model, or the input results" in done.stderr
