"""Several workers: the numbers are those of one, a dead worker costs only its batch, an error ends the run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.cli import vlbench
from vlbench.data.scenes.cache import ensure

PLUGIN = Path(__file__).parents[1] / "support" / "slow_colours.py"


def _command(output: Path, device: str, *more: str) -> list[str]:
    run = [sys.executable, "-m", "vlbench", "run", "--plugin", str(PLUGIN), "--model", "slow-colours", "--json"]
    run += ["--tasks", "coco_retrieval,vqa", "--limit", "40", "--batch-size", "8", "--bootstrap", "0"]
    return [*run, "--device", device, "--output", str(output), *more]


def _run(output: Path, device: str, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(output, device, *more), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def _comparable(output: Path, results: str) -> tuple[list[Any], list[Any]]:
    """Return what two runs share to the bit: metrics and identity, and the rows of samples."""
    metrics = [
        (r["task"]["name"], r["signature"], r["model"], r["settings"], r["metrics"]) for r in json.loads(results)
    ]
    tables = sorted(output.glob("*.samples.parquet"))
    return metrics, [(table.name, pq.read_table(table).to_pylist()) for table in tables]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], list[Any]]:
    """An undisturbed run on one device."""
    output = tmp_path_factory.mktemp("plain")
    done = _run(output, "cpu")
    assert done.returncode == 0, done.stderr
    return _comparable(output, done.stdout)


def _workers(driver: int) -> list[int]:
    children = Path(f"/proc/{driver}/task/{driver}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _begun(output: Path) -> subprocess.Popen[str]:
    """Start a run on two devices and return it when a batch is in its journal."""
    process = subprocess.Popen(
        _command(output, "cpu,cpu"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    journal = output / ".journal"
    while process.poll() is None and sum(path.stat().st_size for path in journal.glob("*.records")) < 500:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    return process


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_numbers_are_those_of_one_device(
    tmp_path: Path, plain: tuple[list[Any], list[Any]]
) -> None:
    process = _begun(tmp_path)
    os.kill(_workers(process.pid)[0], signal.SIGKILL)
    results, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "on cpu was killed by SIGKILL; it is started again" in said
    assert _comparable(tmp_path, results) == plain


@pytest.mark.slow
def test_a_run_of_two_workers_whose_driver_is_killed_resumes_with_one(
    tmp_path: Path, plain: tuple[list[Any], list[Any]]
) -> None:
    process = _begun(tmp_path)
    workers = _workers(process.pid)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers), "workers go when their driver is gone"
    done = _run(tmp_path, "cpu")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["cost"]["batches_replayed"] > 0
    assert _comparable(tmp_path, done.stdout) == plain


@pytest.mark.slow
def test_the_first_error_of_a_worker_ends_the_run_with_that_error(tmp_path: Path) -> None:
    done = _run(tmp_path, "cpu,cpu", "--model-arg", "raise_for=e")
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1] == (
        "vlbench: SlowColours.embed_texts failed: RuntimeError: this text provokes an error"
    )


@pytest.mark.slow
def test_workers_and_a_single_process_share_one_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = ensure()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / scenes.name).symlink_to(scenes)
    monkeypatch.setenv("VLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VLBENCH_CACHE_SIZE", "1GiB")
    counted, outcomes = [], []
    for name, device in (("cold", "cpu,cpu"), ("warm", "cpu")):
        done = vlbench(
            *("run", "--tasks", "coco_retrieval", "--limit", 6, "--bootstrap", 0, "--json"),
            *("--device", device, "--output", tmp_path / name),
        )
        assert done.returncode == 0, done.stderr
        outcomes.append(_comparable(tmp_path / name, done.stdout))
        cost = json.loads(done.stdout)[0]["cost"]
        counted.append((cost["requests_computed"], cost["requests_cached"]))
    total = counted[0][0]
    assert total > 0 and counted == [(total, 0), (0, total)]
    assert outcomes[1] == outcomes[0]
