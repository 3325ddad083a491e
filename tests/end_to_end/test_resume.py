"""`kill -9` at any moment loses at most the batches in flight, and the result equals an undisturbed run's."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from vlbench.runner.store import MARK

PLUGIN = Path(__file__).parents[1] / "support" / "slow_colours.py"
KILLS = 10
Rows = dict[str, list[dict[str, Any]]]
HEADER = 300
"""Bytes that a journal with no more than its header never has."""


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


def _rows(output: Path) -> Rows:
    files = sorted(output.glob("*.samples.parquet"))
    return {file.name.split(".")[1]: pq.read_table(file).to_pylist() for file in files}


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plain")


@pytest.fixture(scope="module")
def plain(plain_folder: Path) -> list[dict[str, Any]]:
    """Results of an undisturbed run."""
    return _finish(plain_folder)


@pytest.fixture(scope="module")
def plain_rows(plain_folder: Path, plain: list[dict[str, Any]]) -> Rows:
    return _rows(plain_folder)


@pytest.mark.slow
def test_ten_kills_change_nothing(tmp_path: Path, plain: list[dict[str, Any]], plain_rows: Rows) -> None:
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
    assert plain_rows == _rows(tmp_path / "killed")
    cost = killed[0]["cost"]
    if cost["batches_replayed"]:
        assert cost["batches_computed"] + cost["batches_replayed"] == total
        assert cost["batches_computed"] < total
    assert not list((tmp_path / "killed" / ".journal").glob("*")), "the journal is cleared once results are written"


def _begun(output: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a run and return it when its journal holds a batch."""
    process = subprocess.Popen(
        _command(output), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    before = sum(path.stat().st_size for path in (output / ".journal").glob("*.records"))
    while process.poll() is None:
        if sum(path.stat().st_size for path in (output / ".journal").glob("*.records")) > max(before, HEADER):
            return process
        time.sleep(0.01)
    raise AssertionError(process.communicate())


def _begun_slowly(output: Path) -> subprocess.Popen[str]:
    """Start a run and return it while it computes its first batch."""
    mark = output / "computing"
    process = subprocess.Popen(
        _command(output),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SLOW_COLOURS_SECONDS": "60", "SLOW_COLOURS_MARK": str(mark)},
    )
    while process.poll() is None and not mark.exists():
        time.sleep(0.01)
    return process


def test_signals_and_damaged_records_cost_no_more_than_their_batches(
    tmp_path: Path, plain: list[dict[str, Any]], plain_rows: Rows
) -> None:
    """One signal finishes the batch and two stop at once; of a damaged journal only the damaged batches run again."""
    once = _begun(tmp_path)
    time.sleep(0.4)
    once.send_signal(signal.SIGINT)
    _, said = once.communicate(timeout=60)
    assert once.returncode == 130 and "Traceback" not in said
    assert "interrupted: finishing the batch under way; once more stops at once" in said
    assert said.endswith("vlbench: interrupted; the same command resumes\n")
    twice = _begun_slowly(tmp_path)  # a batch takes a minute
    for _ in range(2):
        twice.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    _, said = twice.communicate(timeout=30)
    assert twice.returncode == 130 and said.endswith("vlbench: interrupted; the same command resumes\n")
    batches = _damage(tmp_path)
    done = subprocess.run(_command(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 corrupt journal records dropped; their batches run again" in done.stderr
    hurt = json.loads(done.stdout)
    assert [r["metrics"] for r in hurt] == [r["metrics"] for r in plain]
    assert _rows(tmp_path) == plain_rows
    cost = hurt[0]["cost"]
    assert (cost["journal_records_dropped"], cost["batches_replayed"]) == (2, batches - 2)


def _damage(output: Path) -> int:
    """Damage two records of the journal and tear a third; return the number of batches that were there."""
    (journal,) = (output / ".journal").glob("*.records")
    data = bytearray(journal.read_bytes())
    header, *batches = [found.start() for found in re.finditer(re.escape(MARK), bytes(data))]
    assert len(batches) > 3
    data[batches[0] + len(MARK)] ^= 1  # the length of a key
    data[batches[2] - 1] ^= 1  # the last byte of a value
    journal.write_bytes(data + MARK + b"torn")
    return len(batches)


def test_a_full_disk_is_one_clear_line_and_the_run_resumes_when_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        done = subprocess.run(_command(disk), capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        last = done.stderr.splitlines()[-1]
        assert "No space left on device" in last and "make room" in last and "Traceback" not in done.stderr
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        assert _finish(disk)[0]["cost"]["batches_replayed"] > 0
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_finished_run_does_nothing_and_says_so(plain_folder: Path, plain: list[dict[str, Any]]) -> None:
    files = {path: path.stat().st_mtime_ns for path in plain_folder.iterdir() if path.is_file()}
    done = subprocess.run(_command(plain_folder), capture_output=True, text=True, check=False)
    assert [r["run_id"] for r in plain] == [r["run_id"] for r in json.loads(done.stdout)]
    assert all(f"{task}: finished already; result reused" in done.stderr for task in ("coco_retrieval", "vqa"))
    assert files == {path: path.stat().st_mtime_ns for path in plain_folder.iterdir() if path.is_file()}


def test_an_answer_that_is_not_a_number_fails_its_samples_by_name(tmp_path: Path) -> None:
    done = subprocess.run(
        [*_command(tmp_path), "--model-arg", "nan_for=red"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert "samples failed and count as wrong; the first: " in done.stderr
    samples = json.loads(done.stdout)[0]["samples"]
    assert 0 < samples["failed"] < samples["attempted"]
    assert all("the model returned a value that is not a finite number" in line for line in samples["failures"])


def test_two_runs_at_once(tmp_path: Path) -> None:
    """With the same command the second waits and reuses; nothing is computed twice."""
    processes = [subprocess.Popen(_command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    ids = [[result["run_id"] for result in json.loads(out)] for out, _ in outputs]
    assert ids[0] == ids[1]
    assert sum(b"waiting for it" in err for _, err in outputs) <= 1
    assert len(list(tmp_path.glob("*.json"))) == 2
