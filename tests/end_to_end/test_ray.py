"""The same plan on Ray: the numbers of one device, a dead actor costs its lease, the first error ends the run."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from vlbench.cli.app import run_app
from vlbench.data.scenes.cache import ensure
from vlbench.errors import UsageError
from vlbench.runner.ray_crew import connect, import_ray

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN = Path(__file__).parents[1] / "support" / "fragile.py"
ON_RAY = ("--engine", "ray", "--num-workers", "2")


def test_a_missing_ray_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'vlbench\[ray\]'"):
        import_ray()


def test_an_unknown_engine_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["run", "--engine", "dask"]) == 2
    assert "--engine 'dask' is none of local, ray" in capsys.readouterr().err


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Start Ray once for the tests of this file: runs of a process that is connected use its cluster."""
    ray = pytest.importorskip("ray", reason="the package ray is not installed")
    connect(2)
    yield
    ray.shutdown()


def _run(output: Path, *more: str) -> int:
    given = ["--plugin", PLUGIN, "--model", "fragile", "--tasks", "coco_retrieval,vqa", "--limit", 20, "--json"]
    given += ["--batch-size", 8, "--bootstrap", 0, "--device", "cpu", "--output", output, *more]
    return run_app(["run", *map(str, given)])


def _outcome(output: Path, results: str) -> tuple[list[Any], list[Any]]:
    """Return what two runs share to the bit: metrics and identity, and the rows of samples."""
    shared = [[r[name] for name in ("task", "signature", "model", "settings", "metrics")] for r in json.loads(results)]
    tables = sorted(output.glob("*.samples.parquet"))
    return shared, [(table.name, pq.read_table(table).to_pylist()) for table in tables]


@pytest.mark.slow
def test_ray(cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Equal to the bit although an actor was killed, with results alone on standard output; actors that run out of
    memory halve the batch; and the first error ends the run."""
    mark = tmp_path / "mark"
    mark.touch()
    given = ("--model-arg", f"mark={mark}")
    assert _run(tmp_path / "local", *given) == 0
    plain = _outcome(tmp_path / "local", capsys.readouterr().out)

    mark.unlink()
    assert _run(tmp_path / "ray", *given, *ON_RAY) == 0
    said = capsys.readouterr()
    assert _outcome(tmp_path / "ray", said.out) == plain
    cost = json.loads(said.out)[0]["cost"]
    assert cost["batches_computed"] > 10 and cost["batches_replayed"] == 0
    assert said.err.count("on cpu is gone (ActorDiedError); it is started again") == 1

    splits = []
    for name, more in (("local-oom", ()), ("ray-oom", ON_RAY)):
        assert _run(tmp_path / name, *given, *more, "--model-arg", "memory=3") == 0
        said = capsys.readouterr()
        splits.append((json.loads(said.out)[0]["cost"]["batches_split"], _outcome(tmp_path / name, said.out)))
    assert splits[0] == splits[1] and splits[0][0] > 10

    asleep = tmp_path / "asleep"
    started = time.monotonic()
    assert _run(tmp_path / "failed", *given, *ON_RAY, "--model-arg", f"asleep={asleep}") == 4
    assert time.monotonic() - started < 500, "the first error does not wait for the worker that sleeps"
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"vlbench: Fragile.embed_images failed: FileExistsError: [Errno 17] File exists: '{asleep}'"
    )


@pytest.mark.slow
def test_runs_on_ray_and_in_one_process_share_one_cache(
    cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who fills it and who reads it makes no difference, and no answer is computed again."""
    scenes = ensure()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / scenes.name).symlink_to(scenes)
    monkeypatch.setenv("VLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VLBENCH_CACHE_SIZE", "1GiB")
    counted, outcomes = [], []
    for name, more in (("filled", ON_RAY), ("local", ()), ("ray", ON_RAY)):
        given = ["run", "--tasks", "coco_retrieval", "--limit", "6", "--bootstrap", "0", "--device", "cpu", "--json"]
        assert run_app([*given, "--output", str(tmp_path / name), *more]) == 0
        said = capsys.readouterr().out
        cost = json.loads(said)[0]["cost"]
        counted.append((cost["requests_computed"], cost["requests_cached"]))
        outcomes.append(_outcome(tmp_path / name, said))
    computed = counted[0][0]
    assert counted == [(computed, 0), (0, computed), (0, computed)] and computed > 0
    assert outcomes[0] == outcomes[1] == outcomes[2]
