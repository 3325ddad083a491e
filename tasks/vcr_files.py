"""The leaderboard's table of VCR: one line an item with the scores of four answers and of 4 x 4 rationales.

Columns: ``annot_id``, ``answer_0`` … ``answer_3``, then ``rationale_conditioned_on_a<i>_<j>``: rationale j, asked for
with answer i as the answer. Answers and rationales are ranked by the highest score.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlbench.data.checks import first_few, refuse_duplicates
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError
from vlbench.tasks.arguments import refuse_other_ids

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

CHOICES = range(4)
ANSWERS = tuple(f"answer_{i}" for i in CHOICES)
RATIONALES = tuple(tuple(f"rationale_conditioned_on_a{i}_{j}" for j in CHOICES) for i in CHOICES)
COLUMNS = ("annot_id", *ANSWERS, *(name for names in RATIONALES for name in names))


@dataclass(frozen=True)
class ItemScores:
    """Scores of one item: four answers, and four rationales for each of the answers; higher is better."""

    answers: tuple[float, ...]
    rationales: tuple[tuple[float, ...], ...]


def read_table(path: Path, ids: Collection[str]) -> dict[str, ItemScores]:
    """Read the table with exactly the items ``ids``; further columns are ignored.

    Raises ``DataError`` naming the column, the line or the ids that are wrong.
    """
    try:
        text = LocalFolder(path.parent).read(path.name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start})") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    absent = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if absent:
        raise DataError(f"{path} lacks columns of the official table: {first_few(absent)}")
    table = [(row["annot_id"], _scores(row, f"{path} line {reader.line_num}")) for row in reader]
    given = [name for name, _ in table]
    refuse_duplicates(given, "annot_ids", str(path))
    refuse_other_ids(given, ids, "annot_ids", str(path))
    return dict(table)


def _scores(row: Mapping[str, str | None], where: str) -> ItemScores:
    def number(column: str) -> float:
        try:
            value = float(row[column] or "")
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataError(f"{where}: {column} is {row[column]!r}, not a number")
        return value

    rationales = tuple(tuple(number(column) for column in columns) for columns in RATIONALES)
    return ItemScores(tuple(number(column) for column in ANSWERS), rationales)


def write_table(items: Iterable[tuple[str, ItemScores | None]]) -> bytes:
    """Return the table with scores as probabilities (softmax over four), which keeps their order.

    None stands for an item that failed: all of its choices are equally probable.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    unknown = ItemScores((0.0,) * 4, ((0.0,) * 4,) * 4)
    for name, given in items:
        scores = given or unknown
        rows = (scores.answers, *scores.rationales)
        writer.writerow([name, *(repr(p) for row in rows for p in probabilities(row))])
    return text.getvalue().encode("utf-8")


def probabilities(scores: Sequence[float]) -> list[float]:
    """Return the softmax of ``scores``.

    >>> probabilities([1000.0, 1000.0]), probabilities([0.0, -1e9])
    ([0.5, 0.5], [1.0, 0.0])
    """
    highest = max(scores)
    powers = [math.exp(score - highest) for score in scores]
    return [power / sum(powers) for power in powers]
