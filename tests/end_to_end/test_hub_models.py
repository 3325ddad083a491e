"""Checkpoints named by their repository, from a server that speaks the hub's protocol."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import checkpoints
from tests.support.cli import vlbench
from tests.support.hub import HubServer

if TYPE_CHECKING:
    from pathlib import Path

REPOSITORY = "somebody/clip-tiny"
SECONDS = 15


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = checkpoints.clip(tmp_path_factory.mktemp("clip"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _run(output: Path, hub: HubServer, cache: Path, *arguments: str) -> tuple[int, str, str, float]:
    started = time.monotonic()
    done = vlbench(
        *("run", "--model", REPOSITORY, "--tasks", "coco_retrieval", "--limit", 4, "--output", output, "--json"),
        *arguments,
        **hub.environment(cache),
    )
    return done.returncode, done.stdout, done.stderr, time.monotonic() - started


@pytest.mark.slow
def test_a_repository_is_fetched_once_and_then_runs_without_network(tmp_path: Path, files: dict[str, bytes]) -> None:
    with HubServer() as hub:
        hub.push(REPOSITORY, files, kind="models")
        code, first, said, _ = _run(tmp_path / "first", hub, tmp_path / "cache")
        assert code == 0, said
    code, again, said, _ = _run(tmp_path / "again", hub, tmp_path / "cache")
    assert code == 0, said
    results = [json.loads(text)[0] for text in (first, again)]
    assert results[0]["model"]["adapter"] == "clip"
    assert results[0]["model"]["fingerprint"] == results[1]["model"]["fingerprint"]
    assert results[0]["metrics"] == results[1]["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("missing", "is not on the hub, or is private"),
        ("gated", "is gated; accept its terms"),
        ("revision", "@v2 is no revision that the hub has"),
        ("stopped", "is not, or not wholly, in the cache"),
    ],
)
def test_each_refusal_is_one_clear_line(tmp_path: Path, files: dict[str, bytes], case: str, message: str) -> None:
    with HubServer() as hub:
        if case != "missing":
            hub.push(REPOSITORY, files, kind="models")
        if case == "gated":
            hub.gated.add(REPOSITORY)
        if case == "stopped":
            hub.stop()
        revision = ("--revision", "v2") if case == "revision" else ()
        code, _, said, seconds = _run(tmp_path / "results", hub, tmp_path / "cache", *revision)
    assert code == 2
    assert message in said and "Traceback" not in said
    assert sum(line.startswith("vlbench:") for line in said.splitlines()) == 1
    assert seconds < SECONDS * 4  # the machine of a test may be slow; the bound is for waits without end
