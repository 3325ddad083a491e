"""The leaderboard's table of VCR: how it is scored, written, and what can be wrong with it."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from tests.support import layouts
from tests.support.cli import vlbench
from vlbench.data.source import DataRoot
from vlbench.errors import DataError
from vlbench.tasks.vcr import Vcr
from vlbench.tasks.vcr_files import COLUMNS, ItemScores, read_table, write_table

if TYPE_CHECKING:
    from pathlib import Path

HEADER = (
    "annot_id,answer_0,answer_1,answer_2,answer_3,"
    "rationale_conditioned_on_a0_0,rationale_conditioned_on_a0_1,rationale_conditioned_on_a0_2,"
    "rationale_conditioned_on_a0_3,rationale_conditioned_on_a1_0,rationale_conditioned_on_a1_1,"
    "rationale_conditioned_on_a1_2,rationale_conditioned_on_a1_3,rationale_conditioned_on_a2_0,"
    "rationale_conditioned_on_a2_1,rationale_conditioned_on_a2_2,rationale_conditioned_on_a2_3,"
    "rationale_conditioned_on_a3_0,rationale_conditioned_on_a3_1,rationale_conditioned_on_a3_2,"
    "rationale_conditioned_on_a3_3"
)
FIRST = "val-0,.1,.7,.1,.1," + ".7,.1,.1,.1," + ".1,.2,.3,.4," + ".7,.1,.1,.1," + ".7,.1,.1,.1"
"""Labels are 1 and 3: right and, since the gold answer is 1, right."""
SECOND = "val-1,.4,.4,.1,.1," + ".1,.1,.1,.7," + ".9,.1,.0,.0," * 2 + "9e-1,1e-1,0,-0"
"""Labels are 0 and 0: a tie of two, and wrong under answer 0 though right under all others."""


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rationales_count_under_the_gold_answer(tmp_path: Path) -> None:
    layouts.vcr(tmp_path)
    table = write(tmp_path / "mine.csv", HEADER, SECOND, FIRST)
    task = Vcr()
    dataset = task.load(DataRoot(tmp_path), None, None)
    rows = task.score_predictions(task.predictions(table, dataset), dataset)
    assert [(row.sample_id, dict(row.scores)) for row in rows] == [
        ("val-0", {"q_to_a": 1.0, "qa_to_r": 1.0, "q_to_ar": 1.0}),
        ("val-1", {"q_to_a": 0.5, "qa_to_r": 0.0, "q_to_ar": 0.0}),
    ]
    assert [row.response for row in rows] == ["1 3", "0 3"]
    done = vlbench("score", "--task", "vcr", "--predictions", table, "--data", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert {name: metric["value"] for name, metric in result["metrics"].items()} == {
        "q_to_a": 0.75,
        "qa_to_r": 0.5,
        "q_to_ar": 0.5,
    }


def test_an_index_column_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", f"\ufeff,{HEADER}", f"0,{FIRST}")
    assert read_table(path, ["val-0"])["val-0"].answers == (0.1, 0.7, 0.1, 0.1)


def test_the_table_is_written_in_the_official_columns() -> None:
    given = ItemScores((1.0, 2.0, 0.0, -1.0), tuple((float(i), 0.0, 0.0, 0.0) for i in range(4)))
    text = write_table([("test-0", given), ("test-1", None)]).decode()
    assert text.splitlines()[0] == HEADER and len(COLUMNS) == 21
    first, second = csv.DictReader(io.StringIO(text))
    assert float(first["answer_1"]) == pytest.approx(0.64391426)
    assert sum(float(first[f"answer_{i}"]) for i in range(4)) == pytest.approx(1.0)
    assert float(first["rationale_conditioned_on_a3_0"]) > float(first["rationale_conditioned_on_a1_0"])
    assert second["annot_id"] == "test-1" and {value for name, value in second.items() if name != "annot_id"} == {
        "0.25"
    }


BREAKS = {
    "empty": ([""], "lacks columns of the official table: annot_id, answer_0"),
    "no column": ([HEADER.replace(",answer_3", ""), FIRST], "lacks columns of the official table: answer_3"),
    "cut line": ([HEADER, "val-0,.1"], "line 2: rationale_conditioned_on_a0_0 is None, not a number"),
    "a word": ([HEADER, FIRST.replace(".7", "high", 1)], "line 2: answer_1 is 'high', not a number"),
    "not finite": ([HEADER, FIRST.replace(".7", "nan", 1)], "line 2: answer_1 is 'nan', not a number"),
    "blank": ([HEADER, FIRST.replace(".7", "", 1)], "line 2: answer_1 is '', not a number"),
    "item twice": ([HEADER, FIRST, FIRST], "duplicate annot_ids val-0"),
    "item missing": ([HEADER, FIRST], "1 of 2 annot_ids of the split are not answered: val-1"),
    "item unknown": (
        [HEADER, FIRST, SECOND, SECOND.replace("val-1", "val-7")],
        "1 annot_ids are not in the split: val-7",
    ),
}


@pytest.mark.parametrize("case", BREAKS)
def test_a_broken_table_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    lines, named = BREAKS[case]
    path = write(tmp_path / "t.csv", *lines)
    with pytest.raises(DataError) as error:
        read_table(path, ["val-0", "val-1"])
    text = str(error.value)
    assert named in text and str(path) in text and "\n" not in text


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"annot_id\xff")
    with pytest.raises(DataError, match=r"t\.csv is not UTF-8 text \(byte 8\)"):
        read_table(tmp_path / "t.csv", [])
