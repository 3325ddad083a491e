"""Rows of samples survive the way through Parquet, whatever a task puts into them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlbench.errors import DataError
from vlbench.leaderboard.samples import read_rows, write_rows
from vlbench.types import SampleRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def _write(folder: Path, rows: Sequence[SampleRow]) -> Path:
    path = folder / "x.samples.parquet"
    with path.open("wb") as file:
        write_rows(rows, file)
    return path


def _row(number: int = 0, **parts: Any) -> SampleRow:
    return SampleRow(
        **{"sample_id": str(number), "image_id": "7", "response": "", "status": "ok", "scores": {}, **parts}
    )


def _column(folder: Path, values: Sequence[Any]) -> pa.ChunkedArray:
    rows = [_row(statistics={} if value is None else {"x": value}) for value in values]
    path = _write(folder, rows)
    assert [row.statistics.get("x") for row in read_rows(path)] == list(values)
    return pq.read_table(path).column("x")


def test_a_caption_row_comes_back_as_it_was(tmp_path: Path) -> None:
    rows = [
        _row(
            number,
            response="a “cat”\n🐈",
            scores={"CIDEr": 1.5, "Bleu_4": 0.1},
            statistics={"bleu_correct": [4, 3, 2, 1], "CIDEr": 1.5, "meteor": [0.5] * 23},
        )
        for number in range(3)
    ]
    path = _write(tmp_path, rows)
    table = pq.read_table(path)
    assert table.column_names == [
        *("sample_id", "image_id", "response", "status", "reason"),
        *("CIDEr", "Bleu_4", "bleu_correct", "meteor"),
    ]
    assert table.schema.field("bleu_correct").type == pa.list_(pa.int64())
    assert table.schema.field("meteor").type == pa.list_(pa.float64())
    assert read_rows(path) == rows


def test_retrieval_rows_have_nulls_in_the_other_direction(tmp_path: Path) -> None:
    rows = [
        _row(0, scores={"i_recall@1": 1.0}, slices={"direction": "i"}, statistics={"rank": 1.0, "g": 0}),
        _row(1, scores={"t_recall@1": 0.5}, slices={"direction": "t"}, statistics={"rank": math.inf, "g": 3}),
        _row(2, status="failed", reason="cannot be decoded"),
    ]
    path = _write(tmp_path, rows)
    table = pq.read_table(path)
    assert table.column("i_recall@1").to_pylist() == [1.0, None, None]
    assert table.column("rank").to_pylist() == [1.0, math.inf, None]
    assert table.schema.field("g").type == pa.int64()
    assert read_rows(path) == rows


def test_objects_of_one_shape_are_structs_and_of_several_are_json(tmp_path: Path) -> None:
    assert pa.types.is_struct(_column(tmp_path, [{"a": 1, "b": [1.5]}, None, {"a": 2, "b": []}]).type)
    several: list[list[Any]] = [
        [{"a cat": 1.0}, {"a dog": 2.0}],
        [{"a": 1}, {}],
        [{}, {}],
        [{"a": {}}],
        [{"a": 1}, [1]],
        [1, "one"],
        [True, 2],
        [2**80, 1],
        [[1], ["one"]],
        [[{"a": 1}, {"b": 1}]],
    ]
    for values in several:
        assert _column(tmp_path, values).type == pa.string()


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    assert _column(tmp_path, [1, 2.5, None]).type == pa.float64()
    assert _column(tmp_path, [True, None, False]).type == pa.bool_()
    assert _column(tmp_path, [[1, 2], [], [0.5]]).type == pa.list_(pa.float64())
    assert _column(tmp_path, [[[1, 2], [3, 4]], [[5, 6]]]).type == pa.list_(pa.list_(pa.int64()))


def test_arrays_and_numbers_of_numpy_are_taken(tmp_path: Path) -> None:
    values = {"a": np.float32(0.5), "b": np.arange(3), "c": np.ones((2, 2)), "d": (1, 2), "e": np.float64("nan")}
    (row,) = read_rows(_write(tmp_path, [_row(statistics=values)]))
    assert math.isnan(row.statistics["e"])
    assert {k: v for k, v in row.statistics.items() if k != "e"} == {
        "a": 0.5,
        "b": [0, 1, 2],
        "c": [[1.0, 1.0], [1.0, 1.0]],
        "d": [1, 2],
    }


def test_names_that_are_taken_get_their_kind_in_front(tmp_path: Path) -> None:
    rows = [_row(0, slices={"response": "x"}, scores={"m": 1.0}, statistics={"m": 2.0})]
    path = _write(tmp_path, rows)
    assert pq.read_table(path).column_names[5:] == ["slices/response", "m", "statistics/m"]
    assert read_rows(path) == rows


def test_half_of_a_surrogate_pair_does_not_lose_the_result(tmp_path: Path) -> None:
    (row,) = read_rows(_write(tmp_path, [_row(response="a \ud83d cat", statistics={"w": ["\ud83d"]})]))
    assert row.response == "a \\ud83d cat" and row.statistics["w"] == ["\\ud83d"]


def test_no_rows_make_a_table_without_rows(tmp_path: Path) -> None:
    path = _write(tmp_path, [])
    assert pq.read_table(path).num_rows == 0 and read_rows(path) == []


def test_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    rows = [_row(n, scores={"m": n / 3}, statistics={"l": [n]}) for n in range(100)]
    assert _write(tmp_path, rows).read_bytes() == _write(tmp_path, rows).read_bytes()


def test_a_file_that_is_no_table_of_samples_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other")
    for name in ("text", "other", "nothing"):
        with pytest.raises(DataError, match=f"{name} is not a table of samples"):
            read_rows(tmp_path / name)
