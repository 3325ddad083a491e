"""Published scores beside results, as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlbench.leaderboard.columns import scale, short_name, shown
from vlbench.leaderboard.groups import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from vlbench.leaderboard.references import Beside
    from vlbench.result import Result

VERDICTS = {True: "inside", False: "outside", None: ""}


def difference(found: Beside) -> str:
    """Return by how much the run differs, with its sign and in the digits of the metric."""
    factor, decimals = scale(found.reference.metric)
    return f"{found.difference * factor:+.{2 if decimals is None else decimals}f}"


def heading(result: Result) -> str:
    """Return the line above the published scores."""
    task = result.task
    return f"published scores beside {result.model.name}: {task.name} {task.split}, protocol {task.protocol}"


def sources(found: Sequence[Beside]) -> list[str]:
    """Return the sources, in the order in which the numbers [1], [2], … stand for them."""
    return list(dict.fromkeys(one.reference.source for one in found))


def source_lines(result: Result, found: Sequence[Beside]) -> list[str]:
    """Return a line a source, saying where it does not state its number of captions."""
    silent = {one.reference.source for one in found if one.reference.is_silent(result)}
    return [
        f"[{number}] {printable(source)}{' (number of captions not stated)' if source in silent else ''}"
        for number, source in enumerate(sources(found), 1)
    ]


def reference_table(table: Table, found: Sequence[Beside]) -> Table:
    """Fill an empty table with one row a published number, and how the run differs from it."""
    from rich.text import Text

    table.add_column("published", overflow="fold", max_width=34)
    table.add_column("training")
    table.add_column("metric", no_wrap=True)
    for name in ("value", "run differs", "95 % interval"):
        table.add_column(Text(name), justify="right")
    numbers = {source: number for number, source in enumerate(sources(found), 1)}
    for one in found:
        reference = one.reference
        table.add_row(
            Text(f"{printable(reference.model)} [{numbers[reference.source]}]"),
            reference.training,
            Text(short_name(reference.metric)),
            shown(reference.metric, reference.value),
            difference(one),
            VERDICTS[one.covered],
        )
    return table
