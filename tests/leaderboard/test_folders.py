"""Folders of results: merged, verified, exported, built and served, through the real command line."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
import yaml

from tests.support.cli import ROOT, here, vlbench
from tests.support.results import result
from vlbench.leaderboard.export import CSV_COLUMNS, to_parquet
from vlbench.leaderboard.groups import group_results
from vlbench.leaderboard.merge import merge
from vlbench.leaderboard.store import load_results, samples_path, write_result
from vlbench.leaderboard.verify import verify
from vlbench.plugins import load_plugins
from vlbench.result import SampleCounts
from vlbench.types import SampleRow

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [SampleRow(str(i), str(i // 2), f"answer {i}", "ok", {"CIDEr": i / 4}) for i in range(4)]
MEAN = 0.375


def _write(folder: Path, name: str, value: float = MEAN, day: int = 1, failed: int = 0) -> Path:
    counts = SampleCounts(4, 4 - failed, failed)
    made = result({"CIDEr": value}, name=name, samples=counts, run_id=f"{day:02}", created=f"2026-11-{day:02}")
    rows = [dataclasses.replace(row, status="failed") if i < failed else row for i, row in enumerate(ROWS)]
    return write_result(folder, made, rows)


def _files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_merging_gives_the_same_folder_in_any_order_and_twice(tmp_path: Path) -> None:
    sources = [tmp_path / name for name in "abc"]
    for day, folder in enumerate(sources, 1):
        _write(folder, "shared", day=day, failed=int(day == 3))
        path = _write(folder, f"only {folder.name}")
        path.with_name(f"{path.stem}.submission.answers.json").write_text(folder.name)
    outcomes = []
    for number, order in enumerate(itertools.permutations(sources)):
        output = tmp_path / f"merged{number}"
        assert merge(order, output)[1] == 4
        before = _files(output)
        assert merge(order[::-1], output) == (0, 4)
        outcomes.append(_files(output))
        assert outcomes[-1] == before
    assert all(outcome == outcomes[0] for outcome in outcomes) and len(outcomes[0]) == 4 * 2 + 3
    shared = next(one for one in load_results(tmp_path / "merged0") if one.model.name == "shared")
    # The last one lost a sample, so the one before it stays.
    assert (shared.created, shared.samples.failed) == ("2026-11-02", 0)


def test_verify_names_what_the_rows_do_not_give(tmp_path: Path) -> None:
    _write(tmp_path, "honest")
    _write(tmp_path, "wrong", value=0.5)
    lost = _write(tmp_path, "without samples")
    samples_path(lost).unlink()
    short = write_result(tmp_path, result({"CIDEr": MEAN}, name="short"), ROWS)
    found = {one.result.model.name: one for one in verify([tmp_path], load_plugins())}
    assert found["honest"].recomputed == ("CIDEr",) and found["honest"].wrong == ()
    assert found["wrong"].wrong == ("CIDEr is 0.5, which the rows do not give",)
    assert found["without samples"].wrong == (f"{samples_path(lost).name} is missing",)
    assert found["short"].path == short
    assert found["short"].wrong == ("5000 samples with 0 failed, the rows are 4 with 0 failed",)


def test_the_verbs_through_the_command_line(tmp_path: Path) -> None:
    _write(tmp_path / "a", "one")
    _write(tmp_path / "b", "two", value=0.9)
    merged = tmp_path / "merged"
    done = vlbench("leaderboard", "merge", tmp_path / "a", tmp_path / "b", "--output", merged)
    assert (done.returncode, done.stdout) == (0, f"2 results copied, 2 in {merged}\n"), done.stderr
    done = vlbench("leaderboard", "verify", merged)
    assert done.returncode == 2 and "ok one.coco_caption" in done.stdout and "DIFFERS two" in done.stdout
    assert done.stderr.startswith("vlbench: 1 of 2 results differ from their sample rows: two.coco_caption")
    done = vlbench("leaderboard", "export", merged, "--format", "model-index", "--model", "one")
    index = yaml.safe_load(done.stdout)["model-index"]
    assert index[0]["name"] == "one" and index[0]["results"][0]["task"]["type"] == "image-to-text"
    assert index[0]["results"][0]["metrics"][0]["value"] == MEAN
    done = vlbench("leaderboard", "export", merged, "--format", "model-index")
    assert done.returncode == 2 and "a model card is of one model; give --model (there are: one, two)" in done.stderr
    done = vlbench("leaderboard", "build", merged, "--out", tmp_path / "site", "--title", "Ours & theirs")
    assert done.returncode == 0 and "2 results in" in done.stderr
    assert "<title>Overview · Ours &amp; theirs</title>" in (tmp_path / "site" / "index.html").read_text()


def test_mistakes_are_one_clear_line(tmp_path: Path) -> None:
    """They were told as faults of vlbench."""
    _write(tmp_path / "a", "one")
    (tmp_path / "file").touch()
    for form in ("csv", "parquet"):
        new = tmp_path / "new" / form
        assert here("leaderboard", "export", tmp_path / "a", "--format", form, "--output", new).code == 0
        assert new.stat().st_size > 100
        done = here("leaderboard", "export", tmp_path / "a", "--format", form, "--output", tmp_path / "file" / "x")
        assert done.code == 2 and "cannot write" in done.err and "choose another place" in done.err
    for port in ("99999", "-5"):
        done = here("leaderboard", "serve", tmp_path / "a", "--port", port)
        assert done.code == 2 and f"--port {port} is no port" in done.err


def test_parquet_has_the_rows_of_the_csv(tmp_path: Path) -> None:
    groups = group_results([result({"CIDEr": 1.25, "SPICE": None})])
    (tmp_path / "all.parquet").write_bytes(to_parquet(groups))
    table = pq.read_table(tmp_path / "all.parquet")
    assert tuple(table.column_names) == CSV_COLUMNS and table["value"].to_pylist() == [1.25, None]


def test_serve_answers_this_machine_alone(tmp_path: Path) -> None:
    _write(tmp_path, "one")
    command = [sys.executable, "-m", "vlbench", "leaderboard", "serve", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[0]
            assert address.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(address, timeout=10) as answer:
                assert b"Overview" in answer.read()
            other = urllib.request.Request(address, headers={"Host": "elsewhere.example"})
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(other, timeout=10)
            assert refused.value.code == 403
            refused.value.close()
        finally:
            server.terminate()
