"""Intervals and comparisons of results that the command line made with toy models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support import compositional
from tests.support.cli import ROOT, vlbench

if TYPE_CHECKING:
    from pathlib import Path


def test_run_then_compare(tmp_path: Path) -> None:
    compositional.winoground(tmp_path / "winoground")
    plugin = ROOT / "tests" / "support" / "colours.py"

    def run(model: str, *more: object) -> dict[str, dict[str, object]]:
        where = ("--data", tmp_path, "--output", tmp_path / "out", "--json", "--device", "cpu", "--plugin", plugin)
        done = vlbench("run", "--model", model, "--tasks", "winoground", *where, *more)
        assert done.returncode == 0, done.stderr
        (result,) = json.loads(done.stdout)
        metrics: dict[str, dict[str, object]] = result["metrics"]
        return metrics

    metrics = run("colours")
    assert all(len(metric["ci95"]) == 2 for metric in metrics.values())  # type: ignore[arg-type]
    # Another number of draws makes another file: a result without intervals is not taken for one with them.
    assert all(metric["ci95"] is None for metric in run("colours", "--bootstrap", "0").values())
    assert run("colours") == metrics
    files = list((tmp_path / "out").glob("colours.winoground.*.json"))
    assert len(files) == 2
    done = vlbench("compare", *files, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["primary"]["p"] == 1.0
    done = vlbench("compare", "colours", "colours", "--results", tmp_path / "out")
    assert done.returncode == 2 and "name one of the files" in done.stderr
    assert "[" in vlbench("leaderboard", "show", tmp_path / "out").stdout
