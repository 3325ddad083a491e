"""The table of costs: hand-made numbers in their columns, and what a result lacks."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from tests.support.cli import vlbench
from tests.support.results import result
from vlbench.leaderboard.cost import HEADINGS, cost_table

if TYPE_CHECKING:
    from pathlib import Path

COST = {
    "wall_seconds": 12.34,
    "samples_per_second": 405.19,
    "data_wait_fraction": 0.256,
    "device_seconds": 7.5,
    "peak_memory_mib": 1234,
    "peak_device_memory_mib": None,
    "requests_computed": 30,
    "requests_replayed": 10,
    "requests_cached": 120,
}


def test_numbers_stand_under_their_headings() -> None:
    made = dataclasses.replace(result(), cost=COST, settings={"batch_size": 64}, environment={"device": "cpu"})
    heading, row = cost_table([made]).splitlines()
    assert heading.split("  ")[0] == HEADINGS[0]
    assert row.split()[2:10] == ["405.2", "26%", "7.5", "12.3", "1234", "–", "75%", "64"]


def test_a_result_without_costs_has_dashes() -> None:
    row = cost_table([dataclasses.replace(result(), cost={}, settings={})]).splitlines()[1]
    assert row.split()[2:10] == ["–"] * 8


def test_the_verb(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(dataclasses.replace(result(), cost=COST).to_json()))
    done = vlbench("leaderboard", "show", tmp_path, "--cost")
    assert done.returncode == 0 and "405.2" in done.stdout and "75%" in done.stdout
    refused = vlbench("leaderboard", "show", tmp_path, "--cost", "--format", "json")
    assert refused.returncode == 2 and "--cost is a table of its own" in refused.stderr
