"""Downloading one file from a server on this machine: resumed, checked, and each failure as one line."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.hub import HubServer
from vlbench.data import download as module
from vlbench.data.download import download
from vlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = bytes(range(256)) * 20


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    with HubServer() as hub:
        hub.files["/a.bin"] = DATA
        yield hub


def ranges(server: HubServer) -> list[str]:
    return [asked for _, _, asked in server.requests]


def test_a_file_is_fetched_once(server: HubServer, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    target = tmp_path / "deep" / "a.bin"
    digest = hashlib.sha256(DATA).hexdigest()
    for _ in range(2):
        download(f"{server.url}/a.bin", target, sha256=digest, progress=lambda *now: told.append(now))
    assert target.read_bytes() == DATA and ranges(server) == [""]
    assert told[-1] == (len(DATA), len(DATA))
    assert [path.name for path in target.parent.iterdir()] == ["a.bin"]


def test_a_server_that_breaks_off_is_asked_for_the_rest(server: HubServer, tmp_path: Path) -> None:
    server.break_after = 2000
    download(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert ranges(server) == ["", "bytes=2000-", "bytes=4000-"]


def test_the_rest_of_another_version_is_not_joined(server: HubServer, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(b"old" * 100)
    (tmp_path / "a.bin.part.tag").write_text('"old"')
    download(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA and ranges(server) == ["bytes=300-"]


def test_a_part_that_is_whole_or_has_no_tag(server: HubServer, tmp_path: Path) -> None:
    """A process may die between the last byte and the renaming."""
    tag = f'"{hashlib.sha1(DATA).hexdigest()}"'
    (tmp_path / "a.bin.part").write_bytes(DATA)
    (tmp_path / "a.bin.part.tag").write_text(tag)
    download(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == DATA
    (tmp_path / "b.bin.part").write_bytes(b"?" * 9000)
    download(f"{server.url}/a.bin", tmp_path / "b.bin")
    assert (tmp_path / "b.bin").read_bytes() == DATA


def test_many_at_once_fetch_it_once(server: HubServer, tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    threads = [threading.Thread(target=download, args=(f"{server.url}/a.bin", target)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == DATA and ranges(server) == [""] and list(tmp_path.iterdir()) == [target]


def test_failures_are_one_line(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.bin"
    with pytest.raises(DataError, match=r"/b\.bin: the server answers 404 Not Found; check the address"):
        download(f"{server.url}/b.bin", target)
    with pytest.raises(DataError, match="has SHA-256 [0-9a-f]{64}, not 00; it was thrown away"):
        download(f"{server.url}/a.bin", target, sha256="00")
    server.break_after = 0
    with pytest.raises(DataError, match=r"stopped after 0 of 5120 bytes\); the same command resumes"):
        download(f"{server.url}/a.bin", target)
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    server.silent.set()
    with pytest.raises(DataError, match=r"timed out\); the same command resumes"):
        download(f"{server.url}/a.bin", target)
    server.stop()
    with pytest.raises(DataError, match=r"Connection refused.*; the same command resumes"):
        download(f"{server.url}/a.bin", target)
    assert not target.exists()
