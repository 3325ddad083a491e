"""Checkpoints named by their repository, from a server that speaks the hub's protocol."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support import checkpoints
from tests.support.cli import vlbench
from tests.support.hub import HubServer
from tests.support.made import EVERY, FILES

if TYPE_CHECKING:
    from pathlib import Path

REPOSITORIES = {
    name: f"open_clip:hf-hub:some/{name}" if made.adapter == "open_clip" else f"some/{name}"
    for name, made in EVERY.items()
    if name not in FILES
}
"""What ``--model`` takes for each small checkpoint on the hub."""
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


class Ran(NamedTuple):
    """Results by the name of the small checkpoint, and by task: of its folder or file, and of its repository."""

    local: dict[str, dict[str, Any]]
    hub: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Run every checkpoint from its folder and from the hub, all in one start of Python."""
    root = tmp_path_factory.mktemp("every")
    paths = {name: made.make(root / name) for name, made in EVERY.items()}
    # Both files are called alike, and a model is known by the name of its file.
    paths |= {name: paths[name].rename(paths[name].with_name(f"{name}.pt")) for name in FILES}
    with HubServer() as hub:
        for name in REPOSITORIES:
            files = {path.name: path.read_bytes() for path in paths[name].iterdir()}
            hub.push(f"some/{name}", files, kind="models")
        done = vlbench(
            *("run", "--model", ",".join([*map(str, paths.values()), *REPOSITORIES.values()]), "--tasks", "all"),
            *("--limit", 2, "--bootstrap", 0, "--task-arg", "coco_caption:meteor=off"),
            *("--output", root / "results", "--json"),
            **hub.environment(root / "cache"),
        )
    assert done.returncode == 0, done.stderr
    by_model: dict[str, dict[str, Any]] = {}
    for result in json.loads(done.stdout):
        by_model.setdefault(result["model"]["name"], {})[result["task"]["name"]] = result
    return Ran(
        {name: by_model[path.name] for name, path in paths.items()},
        {name: by_model[model] for name, model in REPOSITORIES.items()},
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_a_checkpoint_runs_every_task_that_it_can_from_its_folder_and_from_the_hub(ran: Ran, name: str) -> None:
    made, local = EVERY[name], ran.local[name]
    assert set(local) == set(made.tasks)
    for task, result in local.items():
        assert result["model"]["adapter"] == made.adapter
        assert result["samples"]["failed"] == 0 and result["samples"]["scored"] > 0
        if name in REPOSITORIES:
            fetched = ran.hub[name][task]
            assert fetched["model"]["fingerprint"] == result["model"]["fingerprint"]
            assert fetched["model"]["preprocessing"] == result["model"]["preprocessing"]
            assert fetched["metrics"] == result["metrics"]
    assert name in FILES or set(ran.hub[name]) == set(local)


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
