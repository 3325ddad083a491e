"""`kill -9` at any moment loses at most the batches in flight, and the result equals an undisturbed run's."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

PLUGIN = Path(__file__).parents[1] / "support" / "slow_colours.py"
KILLS = 10
BEGUN = 4000
"""Bytes of a journal that holds more than its header."""


def _command(output: Path) -> list[str]:
    run = [sys.executable, "-m", "vlbench", "run", "--plugin", str(PLUGIN), "--model", "slow-colours"]
    return [
        *run,
        "--tasks",
        "coco_retrieval,vqa",
        "--limit",
        "40",
        "--batch-size",
        "8",
        "--output",
        str(output),
        "--json",
    ]


def _finish(output: Path) -> list[dict[str, Any]]:
    done = subprocess.run(_command(output), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def _rows(output: Path) -> dict[str, list[dict[str, Any]]]:
    files = sorted(output.glob("*.samples.parquet"))
    return {file.name.split(".")[1]: pq.read_table(file).to_pylist() for file in files}


@pytest.mark.slow
def test_ten_kills_change_nothing(tmp_path: Path) -> None:
    plain = _finish(tmp_path / "plain")
    total = plain[0]["cost"]["batches_computed"]
    assert total > 20
    moments = random.Random(7)
    for _ in range(KILLS):
        process = subprocess.Popen(_command(tmp_path / "killed"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(0.8 + moments.random() * 1.5)
        if process.poll() is not None:
            process.communicate()
            break
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    killed = _finish(tmp_path / "killed")
    for one, other in zip(plain, killed, strict=True):
        assert one["metrics"] == other["metrics"]
        assert one["signature"] == other["signature"]
    assert _rows(tmp_path / "plain") == _rows(tmp_path / "killed")
    cost = killed[0]["cost"]
    if cost["batches_replayed"]:
        assert cost["batches_computed"] + cost["batches_replayed"] == total
        assert cost["batches_computed"] < total
    assert not list((tmp_path / "killed" / ".journal").glob("*")), "the journal is cleared once results are written"


def test_an_interrupt_says_that_the_same_command_resumes(tmp_path: Path) -> None:
    process = subprocess.Popen(_command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / ".journal"
    while process.poll() is None and sum(path.stat().st_size for path in journal.glob("*.records")) < BEGUN:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.endswith("vlbench: interrupted; the same command resumes\n") and "Traceback" not in said
    assert _finish(tmp_path)[0]["cost"]["batches_replayed"] > 0


def test_a_finished_run_is_reused(tmp_path: Path) -> None:
    first = _finish(tmp_path)
    second = _finish(tmp_path)
    assert [r["run_id"] for r in first] == [r["run_id"] for r in second]


def test_two_runs_at_once(tmp_path: Path) -> None:
    """With the same command the second waits and reuses; nothing is computed twice."""
    processes = [subprocess.Popen(_command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    ids = [[result["run_id"] for result in json.loads(out)] for out, _ in outputs]
    assert ids[0] == ids[1]
    assert sum(b"waiting for it" in err for _, err in outputs) <= 1
    assert len(list(tmp_path.glob("*.json"))) == 2
