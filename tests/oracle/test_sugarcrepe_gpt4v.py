"""`vlbench score` on the answers of GPT-4V that SugarCrepe's authors recorded, against the counts of their readme."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import vlbench

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("order", ["positive-first", "negative-first"])
@pytest.mark.parametrize("withdrawn", [True, False])
def test_the_counts_of_the_readme(realdata: Path, order: str, withdrawn: bool) -> None:
    """With references from the answers themselves there are 246 items of swap_obj; one has been withdrawn since."""
    folder = realdata / "sugar_crepe"
    answers = folder / "gpt-4v-results" / order
    truth = ("--references", answers) if withdrawn else ("--data", folder)
    done = vlbench("score", "--task", "sugarcrepe", "--predictions", answers, *truth, "--name", "gpt-4v", "--json")
    assert done.returncode == 0, done.stderr
    (printed,) = json.loads(done.stdout)
    recorded = json.loads((folder / "expected_gpt4v_counts.json").read_text())
    expected = {
        category: counts[f"{order.replace('-', '_')}_correct"] / counts["n_in_json"]
        for category, counts in recorded.items()
    }
    if not withdrawn:
        document = json.loads((answers / "gpt4v-swap_obj.json").read_text())
        expected["swap_obj"] = (
            recorded["swap_obj"][f"{order.replace('-', '_')}_correct"] - document["108"]["correct"]
        ) / 245
    metrics = {name: metric["value"] for name, metric in printed["metrics"].items()}
    assert {name: metrics[f"accuracy/category/{name}"] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert metrics["accuracy"] == pytest.approx(sum(expected.values()) / 7, abs=1e-12)
    assert printed["samples"]["attempted"] == 7511 + withdrawn and printed["task"]["partial"] == withdrawn
