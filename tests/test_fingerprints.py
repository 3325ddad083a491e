"""Weights are hashed once while their files stay as they are, and anew as soon as they do not."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import checkpoints
from tests.support.files import load_file
from vlbench.adapter import LoadOptions
from vlbench.adapters.clip import Clip
from vlbench.fingerprints import file_identities, remembered_fingerprint

if TYPE_CHECKING:
    from pathlib import Path


class _Counted(Clip):
    hashed = 0

    def fingerprint(self) -> str:
        type(self).hashed += 1
        return super().fingerprint()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_Counted, "hashed", 0)
    return checkpoints.clip(tmp_path / "model")


def _load(folder: Path, **options: Any) -> _Counted:
    return _Counted(LoadOptions(checkpoint=str(folder), **options))


def _write(folder: Path, value: float) -> None:
    """Set one weight, and leave size and time of modification of the file as they were."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    before = path.stat()
    state = load_file(path)
    state["logit_scale"].fill_(value)
    save_file(state, path, metadata={"format": "pt"})
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_is_hashed_once_and_a_changed_weight_is_seen(folder: Path) -> None:
    first = remembered_fingerprint(_load(folder))
    assert first == _load(folder).fingerprint()
    _Counted.hashed = 0
    assert remembered_fingerprint(_load(folder)) == first and _Counted.hashed == 0
    assert remembered_fingerprint(_load(folder, dtype="float16")) != first and _Counted.hashed == 1
    _write(folder, 1.5)
    changed = remembered_fingerprint(_load(folder))
    assert changed != first and changed == _load(folder).fingerprint()


def test_code_beside_the_adapter_may_load_other_weights(folder: Path, tmp_path: Path) -> None:
    """The fingerprint was remembered by the file of the adapter's class alone."""
    (tmp_path / "mine.py").write_text("from tests.test_fingerprints import _Counted\nclass Mine(_Counted): pass\n")
    for hashed in (1, 0, 1):
        if hashed:
            (tmp_path / "helper.py").write_text(f"FACTOR = {os.urandom(4).hex()!r}\n")
        kind = load_file(tmp_path / "mine.py").Mine
        kind.hashed = 0
        remembered_fingerprint(kind(LoadOptions(checkpoint=str(folder))))
        assert kind.hashed == hashed


def test_weights_written_while_a_model_is_loaded_are_not_remembered(folder: Path, tmp_path: Path) -> None:
    adapter = _load(folder)
    _write(folder, 1.5)
    assert remembered_fingerprint(adapter) == adapter.fingerprint()
    assert not (tmp_path / "cache").exists()


def test_a_random_model_is_hashed_each_time(folder: Path) -> None:
    arguments = {"pretrained": "none"}
    one, other = (remembered_fingerprint(_load(folder, seed=seed, arguments=arguments)) for seed in (1, 2))
    assert one != other


def test_many_may_write_the_same_entry_and_a_cut_one_is_written_anew(folder: Path, tmp_path: Path) -> None:
    adapter = _load(folder)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: remembered_fingerprint(adapter), range(16)))
    (entry,) = (tmp_path / "cache" / "fingerprints").iterdir()
    assert found == {adapter.fingerprint()} == {entry.read_text()}
    entry.write_text("sha256:abc")
    assert {remembered_fingerprint(adapter)} == found == {entry.read_text()}


def test_a_cache_that_cannot_be_written_costs_only_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VLBENCH_CACHE", str(tmp_path / "file"))
    adapter = _load(folder)
    assert remembered_fingerprint(adapter) == adapter.fingerprint()


def test_a_file_that_is_not_there_has_no_identity(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("")
    assert list(file_identities([tmp_path / "here", tmp_path / "gone"])) == [str(tmp_path / "here")]
