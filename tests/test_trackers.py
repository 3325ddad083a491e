"""Trackers in their offline modes, through the command line: what they hold, twice sent, and what goes wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import ROOT, vlbench
from tests.support.results import result
from vlbench.cli.app import run_app
from vlbench.errors import PluginError, VlbenchError
from vlbench.trackers import identity, measured, need
from vlbench.types import Metric

if TYPE_CHECKING:
    from pathlib import Path

RUN = ("run", "--plugin", ROOT / "tests" / "support" / "colours.py", "--model", "colours", "--device", "cpu")


@pytest.mark.slow
def test_both_take_the_results_and_hold_them_once(tmp_path: Path) -> None:
    store = tmp_path / "mlruns"
    environment = {
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "MLFLOW_TRACKING_URI": store.as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }
    wanted = ("--tasks", "vcr", "--limit", 8, "--output", tmp_path / "results", "--tracker", "mlflow,wandb", "--json")
    done = vlbench(*RUN, *wanted, **environment)
    assert done.returncode == 0, done.stderr
    (document,) = json.loads(done.stdout)
    value = document["metrics"]["q_to_ar"]["value"]
    (metric,) = store.glob("*/*/metrics/vcr/q_to_ar")
    assert float(metric.read_text().split()[1]) == value
    run = metric.parents[2]
    assert (run / "params" / "vcr" / "signature").read_text() == document["signature"]
    assert (run / "params" / "model").read_text() == "colours"
    assert json.loads((run / "artifacts" / "vcr.json").read_text()) == document
    (log,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    kept = log.read_bytes()
    assert b"vcr/q_to_ar" in kept and document["signature"].encode() in kept
    assert str(value).encode() in kept
    done = vlbench(*RUN, *wanted[:-3], "--tracker", "mlflow", **environment)
    assert done.returncode == 0, done.stderr
    assert len(list(store.glob("*/*/metrics"))) == 1


def test_what_is_sent() -> None:
    one = result({"CIDEr": Metric(1.2, ci95=(1.1, 1.3)), "SPICE": None}, cost={"wall_seconds": 2.0, "data": None})
    assert measured([one]) == {
        "coco_caption/CIDEr": 1.2,
        "coco_caption/CIDEr/ci95_low": 1.1,
        "coco_caption/CIDEr/ci95_high": 1.3,
        "coco_caption/samples/attempted": 5000,
        "coco_caption/samples/failed": 0,
        "coco_caption/cost/wall_seconds": 2.0,
    }
    other = result(run_id="another")
    assert identity([one, other]) == identity([other, one]) != identity([one])


def test_unknown_and_missing_trackers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["run", "--tracker", "wandbb"]) == 2
    assert "unknown --tracker 'wandbb'; did you mean 'wandb'? (there are: mlflow, wandb)" in capsys.readouterr().err
    with pytest.raises(PluginError, match=r"needs the package nothing: pip install 'vlbench\[nothing\]'"):
        need("nothing")


def test_a_run_that_breaks_off_does_not_look_as_if_it_went_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the package mlflow is not installed")
    from vlbench.trackers.mlflow import vlbench_run_end

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())

    def refuse(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as broken:
        broken.setattr(mlflow.MlflowClient, "log_dict", refuse)
        with pytest.raises(VlbenchError, match="no space left"):
            vlbench_run_end([result({"CIDEr": Metric(1.2)})])
    vlbench_run_end([result({"CIDEr": Metric(1.2)})])
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("vlbench").experiment_id
    assert [run.info.status for run in client.search_runs([experiment])] == ["FINISHED", "FAILED"]
