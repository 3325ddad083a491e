"""The Python interface: a run, its results as a table, and as HTML that nothing can break out of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

import vlbench
from tests.support.cli import ROOT
from tests.support.results import result
from vlbench.leaderboard.store import write_result
from vlbench.types import Metric

if TYPE_CHECKING:
    from pathlib import Path


def test_a_run_and_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLBENCH_DATA", raising=False)
    plugin = str(ROOT / "tests" / "support" / "colours.py")
    report = vlbench.run("colours", "vcr", plugins=[plugin], limit=20, device="cpu", output=str(tmp_path))
    (made,) = report.results
    table = vlbench.load_results(tmp_path)
    assert list(table["metric"]) == list(made.metrics)
    first = table.iloc[0]
    metric = made.metrics[first["metric"]]
    assert (first["value"], (first["ci95_low"], first["ci95_high"])) == (metric.value, metric.ci95)
    assert first["signature"] == made.signature and first["limit"] == 20
    assert first["cost_wall_seconds"] == made.cost["wall_seconds"]
    assert "colours on vcr" in report._repr_html_()


def test_one_row_for_each_result_and_metric(tmp_path: Path) -> None:
    for name, cost in (("a", {"wall_seconds": 1.5}), ("b", {"device_seconds": 2.0})):
        write_result(tmp_path, result({"CIDEr": Metric(1.0, ci95=(0.9, 1.1)), "SPICE": None}, name=name, cost=cost), [])
    table = vlbench.load_results([tmp_path]).set_index(["model", "metric"])
    assert len(table) == 4
    assert tuple(table.loc[("a", "CIDEr"), ["value", "ci95_low", "ci95_high"]]) == (1.0, 0.9, 1.1)
    assert table.loc[("b", "SPICE"), "reason"] == "was not computed"
    assert table.loc[("b", "CIDEr"), "cost_device_seconds"] == 2.0
    assert math.isnan(table.loc[("b", "CIDEr"), "cost_wall_seconds"])


def test_every_text_of_the_html_is_escaped() -> None:
    bad = '<script>&"'
    metrics = {bad: Metric(0.5, ci95=(0.25, 0.75)), "b": Metric(None, reason=bad)}
    names = {"name": bad, "dataset": bad, "split": bad, "protocol": bad, "counts": {bad: 1}}
    html = result(metrics, name=bad, task=names, model={"random_weights": True}, notes=(bad,))._repr_html_()
    assert "<script" not in html and html.count("&lt;script&gt;&amp;&quot;") >= 9
    assert "random weights" in html


def test_bad_input_has_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(vlbench.VlbenchError, match="unknown option 'limt'; did you mean 'limit'"):
        vlbench.run("colours", "vcr", limt=3)
    with pytest.raises(vlbench.VlbenchError, match="unknown task 'vqaa'; did you mean 'vqa'"):
        vlbench.run("vlbench-tiny", "vqaa", output=tmp_path)
    with pytest.raises(vlbench.VlbenchError, match="holds no results"):
        vlbench.load_results(tmp_path)
