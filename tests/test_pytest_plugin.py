"""The pytest plugin in a pytest of its own, found by its entry point."""

from __future__ import annotations

import os
import tomllib

import pytest

import vlbench
from tests.support.cli import ROOT
from vlbench.gate.baseline import write_baseline
from vlbench.gate.results import read_scored

pytest_plugins = ["pytester"]

COLOURS = str(ROOT / "tests" / "support" / "colours.py")
TESTS = f"""
import sys
import pytest

HEAVY = [name for name in ("torch", "pandas", "numpy", "vlbench.api") if name in sys.modules]
GIVEN = {{"plugins": [{COLOURS!r}], "device": "cpu"}}

def test_light():
    assert HEAVY == []

def test_quality(vlbench_run):
    vlbench_run("colours", "vcr", **GIVEN).assert_no_regression("baselines/")

@pytest.mark.vlbench(limit=40, seed=0)
def test_worse(vlbench_run):
    run = vlbench_run("colours", "vcr", **GIVEN, model_arguments={{"nan_for": "red"}})
    assert len(run.results) == 1
    run.assert_no_regression("baselines/", max_failures=40)

@pytest.mark.vlbench(limitt=40)
def test_misspelt(vlbench_run):
    pass
"""


@pytest.mark.slow
def test_pass_and_regression(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLBENCH_DATA", raising=False)
    folder = pytester.path
    vlbench.run("colours", "vcr", plugins=[COLOURS], limit=40, device="cpu", output=folder / "old")
    for scored in read_scored([folder / "old"]).values():
        write_baseline(folder / "baselines", scored)
    installed = folder / "site" / "vlbench-0.dist-info"
    installed.mkdir(parents=True)
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    lines = [f"{name} = {module}" for name, module in points.items()]
    (installed / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]))
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: vlbench\nVersion: 0\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(folder / "site")]))
    pytester.makeini("[pytest]\nvlbench_limit = 40\nfilterwarnings = error\n")
    (folder / "vlbench.toml").write_text('[check]\nmax_drop = 0.0\nestimand = "benchmark"\n')
    pytester.makepyfile(TESTS)
    done = pytester.runpytest_subprocess("--strict-markers", "--strict-config")
    done.assert_outcomes(passed=2, failed=1, errors=1)
    output = done.stdout.str()
    assert "vcr: regressed: " in output and "which is shown to exceed 0" in output
    assert "the marker vlbench takes limit and seed by name, not limitt" in output
