"""Winoground, SugarCrepe and zero-shot classification through the real command line, from one data root."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support import compositional, layouts
from tests.support.cli import ROOT, vlbench

if TYPE_CHECKING:
    from pathlib import Path

TASKS = "winoground,sugarcrepe,zeroshot_classification"


def write_all(root: Path) -> Path:
    compositional.winoground(root / "winoground")
    compositional.sugarcrepe(root / "sugarcrepe", root / "coco")
    compositional.image_folder(root / "imagenet")
    layouts.write(root / "imagenet" / "templates.txt", "a {} square\na picture of {}\n")
    return root


def run(root: Path, *model: object) -> dict[str, dict[str, float | None]]:
    done = vlbench("run", *model, "--tasks", TASKS, "--data", root, "--output", root / "out", "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert all(result["samples"]["failed"] == 0 and result["task"]["partial"] for result in results)
    return {r["task"]["name"]: {name: m["value"] for name, m in r["metrics"].items()} for r in results}


def test_a_model_that_embeds(tmp_path: Path) -> None:
    plugin = ROOT / "tests" / "support" / "colours.py"
    metrics = run(write_all(tmp_path), "--device", "cpu", "--plugin", plugin, "--model", "colours")
    assert metrics["winoground"]["group_score"] == pytest.approx(2 / 3)
    assert metrics["sugarcrepe"]["accuracy"] == pytest.approx(5.5 / 7)
    assert metrics["zeroshot_classification"]["accuracy@1"] == pytest.approx(6 / 7)
    assert metrics["zeroshot_classification"]["accuracy@5"] is None


@pytest.mark.slow
def test_the_bundled_model(tmp_path: Path) -> None:
    metrics = run(write_all(tmp_path), "--model", "vlbench-tiny")
    assert all(0.0 <= (values[name] or 0.0) <= 1.0 for values in metrics.values() for name in values)


def test_all_on_the_bundled_scenes_leaves_them_out() -> None:
    """The scenes have no such data, and `vlbench run` with nothing said must not fail for it."""
    from vlbench.plugins import load_plugins

    assert not {spec.name for spec in load_plugins().tasks.values() if spec.default} & set(TASKS.split(","))
