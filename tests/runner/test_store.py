"""The record file survives what kills and disks do to it."""

from __future__ import annotations

import os
import resource
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlbench.errors import DataError
from vlbench.runner.driver import check_output
from vlbench.runner.store import HEAD_SIZE, MAGIC, MARK, RecordFile

if TYPE_CHECKING:
    from pathlib import Path


def _filled(path: Path, count: int = 5) -> None:
    with closing(RecordFile(path)) as records:
        for i in range(count):
            records.put(f"key{i}", bytes([i]) * (100 + i))


def test_values_are_there_after_reopening(tmp_path: Path) -> None:
    _filled(tmp_path / "r")
    with closing(RecordFile(tmp_path / "r")) as records:
        assert [records.get(f"key{i}") for i in range(5)] == [bytes([i]) * (100 + i) for i in range(5)]
        assert records.get("key5") is None
        assert records.dropped == 0


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(min_value=0, max_value=700))
def test_a_file_cut_anywhere_keeps_its_whole_records_and_takes_new_ones(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "r"
    _filled(path)
    data = path.read_bytes()
    path.write_bytes(data[: min(cut, len(data))])
    with closing(RecordFile(path)) as records:
        kept = [i for i in range(5) if records.get(f"key{i}") is not None]
        assert kept == list(range(len(kept)))
        assert all(records.get(f"key{i}") == bytes([i]) * (100 + i) for i in kept)
        records.put("new", b"value")
    with closing(RecordFile(path)) as again:
        assert again.get("new") == b"value"
        assert [i for i in range(5) if again.get(f"key{i}") is not None] == kept


def test_a_flipped_bit_in_an_early_record_drops_that_record_alone(tmp_path: Path) -> None:
    _filled(tmp_path / "r")
    data = bytearray((tmp_path / "r").read_bytes())
    place = data.index(bytes([1]) * 101) + 50
    data[place] ^= 1
    (tmp_path / "r").write_bytes(data)
    with closing(RecordFile(tmp_path / "r")) as records:
        assert records.get("key1") is None
        assert records.dropped == 1
        assert [records.get(f"key{i}") is not None for i in (0, 2, 3, 4)] == [True] * 4


def test_a_damaged_head_hides_its_own_record_alone(tmp_path: Path) -> None:
    """The length of a record was believed: all records behind a wrong one were taken for a torn tail and cut off."""
    _filled(tmp_path / "r")
    data = bytearray((tmp_path / "r").read_bytes())
    places = [i for i in range(len(data)) if data.startswith(MARK, i)]
    for byte in range(HEAD_SIZE):
        hurt = bytearray(data)
        hurt[places[1] + byte] ^= 0xFF
        (tmp_path / "r").write_bytes(hurt)
        with closing(RecordFile(tmp_path / "r")) as records:
            assert [records.get(f"key{i}") is not None for i in range(5)] == [True, False, True, True, True], byte
            assert records.dropped == 1


def test_a_full_disk_is_one_clear_error_and_what_was_written_stays(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    _filled(tmp_path / "r")
    whole = (tmp_path / "r").read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 50, limits[1]))
    try:
        with closing(RecordFile(tmp_path / "r")) as records:
            with pytest.raises(DataError, match="cannot write .*make room: finished batches are kept"):
                records.put("large", bytes(1000))
            assert records.get("large") is None
            assert records.get("key4") == bytes([4]) * 104
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with closing(RecordFile(tmp_path / "r")) as records:
        assert records.dropped == 0 and records.get("large") is None
    assert (tmp_path / "r").read_bytes() == whole


def test_a_foreign_file_is_started_anew(tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes(b"something else entirely, longer than the magic line")
    with closing(RecordFile(tmp_path / "r")) as records:
        records.put("k", b"v")
    assert (tmp_path / "r").read_bytes().startswith(MAGIC)
    with closing(RecordFile(tmp_path / "r")) as records:
        assert records.get("k") == b"v"


def test_a_path_under_a_regular_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot write .*choose another --output"):
        RecordFile(tmp_path / "file" / "journal")


def test_a_read_only_folder_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    if os.geteuid():
        tmp_path.chmod(0o555)
    elif subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(tmp_path)], check=False).returncode:
        pytest.skip("the superuser may write anywhere, and a read-only disk cannot be mounted here")
    try:
        with pytest.raises(DataError, match="cannot write into the output folder .*; choose another --output"):
            check_output(tmp_path)
        with pytest.raises(DataError, match="cannot write .*choose another --output"):
            RecordFile(tmp_path / "r")
    finally:
        if os.geteuid():
            tmp_path.chmod(0o755)
        else:
            subprocess.run(["umount", "-l", str(tmp_path)], check=True)
