"""The record file survives what kills and disks do to it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlbench.errors import DataError
from vlbench.runner.store import MAGIC, RecordFile

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
