"""The trace of a run: every stage is there, on the thread that did it, and the sums are those of the cost report."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from vlbench.cli.app import run_app
from vlbench.errors import DataError
from vlbench.runner.profile import recording, span

PLUGIN = Path(__file__).parents[1] / "support" / "colours.py"
STAGES = {
    "load data",
    "load model",
    "hash images",
    "plan",
    "decode",
    "prepare image",
    "prepare request",
    "wait",
    "device",
}
STAGES |= {"wait", "device", "journal", "score", "aggregate"}


def _events(path: Path) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json.loads(path.read_text())["traceEvents"]
    return events


def test_the_trace_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--plugin", PLUGIN, "--model", "colours", "--tasks", "coco_retrieval", "--limit", 8, "--batch-size", 8]
    given += ["--bootstrap", 0, "--device", "cpu", "--output", tmp_path / "out", "--profile", tmp_path / "trace.json"]
    assert run_app(["run", *map(str, given), "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)[0]["cost"]
    events = _events(tmp_path / "trace.json")
    spans = [event for event in events if event["ph"] == "X"]
    assert {event["name"] for event in spans} == STAGES
    assert sum(event["name"] == "device" for event in spans) == cost["batches_computed"]
    device = sum(event["dur"] for event in spans if event["name"] == "device") / 1e6
    assert device <= cost["device_seconds"] + 0.001
    named = {event["tid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert {named[event["tid"]] for event in spans if event["name"] == "device"} == {"driver and device"}
    assert all(named[event["tid"]].startswith("prepares") for event in spans if event["name"] == "decode")
    for thread in named:
        ordered = sorted((event for event in spans if event["tid"] == thread), key=lambda event: event["ts"])
        for one, other in pairwise(ordered):
            apart = one["ts"] + one["dur"] <= other["ts"] + 1
            within = other["ts"] + other["dur"] <= one["ts"] + one["dur"] + 1
            assert apart or within, (one, other)


def test_what_ends_with_an_error_is_written_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError), recording(tmp_path / "trace.json"), span("first", n=1):
        raise ValueError
    first, _ = _events(tmp_path / "trace.json")
    assert (first["name"], first["args"]) == ("first", {"n": 1})
    with span("unseen"):
        pass
    assert len(_events(tmp_path / "trace.json")) == 2


def test_bad_requests_are_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="cannot write the profile .* choose another --profile"), recording(tmp_path):
        pass
    assert run_app(["run", "--profile", str(tmp_path / "trace.json"), "--device", "cpu,cpu"]) == 2
    assert "--profile looks into one process" in capsys.readouterr().err
    # Before data are read, which can take minutes: here they are not there.
    given = ["run", "--data", str(tmp_path / "none"), "--num-workers", "2", "--device", "cpu,cpu,cpu"]
    assert run_app(given) == 2
    assert "--num-workers 2 does not fit the 3 devices" in capsys.readouterr().err
