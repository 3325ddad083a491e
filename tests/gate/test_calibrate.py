"""Calibration through the command line: a real model against itself, and the rule that it suggests."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

from tests.support.cli import ROOT
from tests.support.nano import write_nano
from vlbench.cli.app import run_app
from vlbench.gate.calibrate import Calibration, Repeat, rounded_up, to_toml
from vlbench.gate.rules import Rule, read_rules
from vlbench.stats.drop import Drop

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

COLOURS = ["--plugin", str(ROOT / "tests" / "support" / "colours.py"), "--model", "colours", "--device", "cpu"]


def test_the_suggested_rule_passes_every_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random nano model moves under bfloat16: its choices are close to each other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VLBENCH_DATA", raising=False)
    model = ["--model", str(write_nano(tmp_path / "nano")), "--tasks", "vcr", "--limit", "16", "--device", "cpu"]
    assert run_app(["check", "--calibrate", *model, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    changed = ["seed 1", "seed 2", "dtype bfloat16", "batch size 8"]
    assert [one["changed"] for one in found["repeats"]] == changed and found["skipped"] == {}
    worst = max(max(one["drop"]["high"], -one["drop"]["low"]) for one in found["repeats"])
    rule = found["rules"]["vcr"]
    # So many items alone keep the bounds apart; that precision moves the score is another matter.
    assert "dtype bfloat16" in {one["changed"] for one in found["repeats"] if one["drop"]["value"]}
    assert rule["metric"] == "q_to_ar" and worst <= rule["max_drop"] <= worst * 1.1
    # The text is a file of rules, with which the model passes against its own first run; all of it is there already.
    assert run_app(["check", "--calibrate", *model]) == 0
    (tmp_path / "vlbench.toml").write_text(capsys.readouterr().out)
    assert read_rules(tmp_path / "vlbench.toml").of("vcr") == Rule(**rule)
    assert len(list((tmp_path / "vlbench-results" / "calibrate").glob("*.json"))) == 5


def test_rules_as_text() -> None:
    same, moved = Drop(0.5, 0.5, 0.0, 0.0, 0.0), Drop(0.5, 0.49, 0.01, -0.002, 0.0213)
    repeats = (Repeat("a.b", "seed 1", "accuracy", same), Repeat("vqa", "dtype float16", "accuracy", moved))
    rules = {"a.b": Rule("accuracy", 0.0), "vqa": Rule("accuracy", rounded_up(0.0213))}
    text = to_toml(Calibration(rules, repeats, {"dtype bfloat16": "no\nsuch kernel"}))
    assert tomllib.loads(text)["check"]["vqa"]["max_drop"] == 0.022
    assert tomllib.loads(text)["check"]["a.b"]["max_drop"] == 0.0
    assert "# not run: dtype bfloat16: no" in text
    assert "# a.b: no run scored otherwise than the first, max_drop is 0;" in text and "# vqa: no run" not in text
    # A rule that is there is not written twice: a table that stands twice is no TOML.
    there = tomllib.loads(to_toml(Calibration(rules, repeats, {}), ["vqa"]) + "[check.vqa]\nmax_drop = 0.5\n")["check"]
    assert there["vqa"] == {"max_drop": 0.5} and there["a.b"]["max_drop"] == 0.0
    # By the population, images that were not drawn keep the bounds apart where nothing moved.
    still = (Repeat("vqa", "seed 1", "accuracy", Drop(0.5, 0.5, 0.0, -0.03, 0.03)),)
    text = to_toml(Calibration({"vqa": Rule("accuracy", 0.03)}, still, {}))
    assert "max_drop is what these samples cannot tell from no drop;" in text
    assert tomllib.loads(text)["check"]["vqa"]["max_drop"] == 0.03


def test_what_cannot_be_calibrated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VLBENCH_DATA", raising=False)
    for arguments, code, line in (
        (["--calibrate", *COLOURS], 2, "--calibrate needs the tasks"),
        (["--calibrate", "results"], 2, "--calibrate is for --model"),
        (["--calibrate", "--early-stop", *COLOURS], 2, "--early-stop and --calibrate exclude each other"),
        (["--calibrate", "--junit", "x.xml", *COLOURS], 2, "no verdict to report in x.xml"),
        (
            ["--calibrate", *COLOURS, "--tasks", "vcr", "--limit", "4", "--model-arg", "nan_for=e"],
            4,
            "samples of vcr failed",
        ),
        (["--calibrate", *COLOURS, "--tasks", "vcr", "--limit", "4", "--metric", "q2ar"], 2, "no metric 'q2ar'"),
    ):
        assert run_app(["check", *arguments]) == code
        said = capsys.readouterr().err
        assert line in said and "calibrate: seed" not in said
