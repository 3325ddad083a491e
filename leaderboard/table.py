"""Tables of results for people: one table a signature, so that no column mixes what cannot be compared.

Models are rows where that fits the width. Otherwise metrics are rows and models are columns, in as many blocks as it
takes.
"""

from __future__ import annotations

import io
import shutil
import sys
from typing import TYPE_CHECKING

from vlbench.leaderboard.columns import MISSING, explained, is_percent, short_name, shown
from vlbench.leaderboard.groups import group_results, printable
from vlbench.leaderboard.reference_table import heading, reference_table, source_lines
from vlbench.leaderboard.references import beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from vlbench.leaderboard.groups import Entry, Group
    from vlbench.leaderboard.references import Beside, Reference
    from vlbench.result import Result

PLAIN_WIDTH = 80
NARROWEST_NAME = 16
WIDEST_HEADING = 24
BEST = "*"
MODEL = "model"
_ASCII = str.maketrans({"–": "-", "→": ">", "─": "-", "·": "-"})


def print_table(
    results: Sequence[Result],
    *,
    all_metrics: bool = False,
    references: Sequence[Reference] = (),
    nearest: int | None = None,
) -> None:
    """Print tables on standard output, as wide as the terminal, or 80 columns where there is none.

    Below each stand the published scores among ``references`` that agree with it, of other models the ``nearest``.
    """
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns if terminal else PLAIN_WIDTH
    groups = group_results(results)
    write_text(
        render(groups, width=width, colour=terminal, all_metrics=all_metrics, references=references, nearest=nearest)
    )


def write_text(text: str) -> None:
    """Write to standard output; what its encoding lacks is replaced, since a table must not end in an error."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    sys.stdout.write(text)


def render(
    groups: Sequence[Group],
    *,
    width: int = PLAIN_WIDTH,
    colour: bool = False,
    all_metrics: bool = False,
    references: Sequence[Reference] = (),
    nearest: int | None = None,
) -> str:
    """Return the tables as text, lines of at most ``width`` columns; ``colour`` adds terminal codes."""
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(
        file=buffer, width=width, force_terminal=colour, no_color=None if colour else True, highlight=False
    )
    for number, group in enumerate(groups):
        if number:
            console.print()
        _print_group(console, group, group.chosen(all_metrics), all_metrics)
        for entry in group.entries:
            _print_beside(console, entry.result, beside(entry.result, references, nearest))
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def _print_group(console: Console, group: Group, names: list[str], all_metrics: bool) -> None:
    from rich.text import Text

    def line(text: str, style: str = "", soft_wrap: bool = False) -> None:
        console.print(Text(printable(text), style=style), soft_wrap=soft_wrap)

    line(group.title, "bold")
    line(group.signature, "dim", soft_wrap=True)
    table = _models_as_rows(console, group, names)
    for number, block in enumerate(_blocks(console, group, names) if table is None else [table]):
        if number:
            console.print()
        console.print(block)
    for text in _footer(group, names, all_metrics, short=table is not None):
        line(text)


def _print_beside(console: Console, result: Result, found: Sequence[Beside]) -> None:
    from rich.text import Text

    if not found:
        return
    console.print()
    console.print(Text(printable(heading(result)), style="bold"))
    console.print(reference_table(_new_table(), found))
    for line in source_lines(result, found):
        console.print(Text(line))


def _footer(group: Group, names: list[str], all_metrics: bool, short: bool) -> list[str]:
    lines = explained(names) if short else []
    if any(is_percent(name) for name in names):
        others = [short_name(name) if short else name for name in names if not is_percent(name)]
        lines.append("in percent" + (f", but not {', '.join(others)}" if others else ""))
    if any(entry.best for entry in group.entries):
        lines.append(f"{BEST} best of all models; in the order of {group.first.primary_metric}")
    hidden = len(group.metrics) - len(names)
    if hidden and not all_metrics:
        lines.append(f"{hidden} more metrics with --all-metrics")
    return lines + group.legend(names)


def _cell(entry: Entry, name: str) -> str:
    metric = entry.result.metrics.get(name)
    if metric is None or metric.value is None:
        return MISSING
    return shown(name, metric.value, metric.ci95) + (BEST if name in entry.best else "")


def _models_as_rows(console: Console, group: Group, names: Sequence[str]) -> Table | None:
    """Return the widest form that fits, with long names folded where it must be; None where none fits."""
    longest = max(len(MODEL), *(len(entry.label) for entry in group.entries))
    for gap in (2, 1):
        table = _wide(group, names, gap, longest)
        excess = _width(console, table) - console.width
        if excess <= 0:
            return table
        if longest - excess >= NARROWEST_NAME:
            return _wide(group, names, gap, longest - excess)
    return None


def _wide(group: Group, names: Sequence[str], gap: int, name_width: int) -> Table:
    from rich.text import Text

    marked = any(entry.marks for entry in group.entries)
    table = _new_table(gap)
    table.add_column(MODEL, overflow="fold", max_width=name_width)
    if marked:
        table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(Text(short_name(name).replace(" ", "\n", 1)), justify="right", no_wrap=True)
    for entry in group.entries:
        marks = [Text(entry.marks, style="yellow")] if marked else []
        table.add_row(Text(entry.label), *marks, *(_styled(_cell(entry, name)) for name in names))
    return table


def _new_table(gap: int = 2) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(box=SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False, show_edge=False)


def _blocks(console: Console, group: Group, names: Sequence[str]) -> list[Table]:
    """Return tables with metrics as rows, each with as many models as fit; at least one."""
    tables: list[Table] = []
    rest = list(group.entries)
    while rest:
        count = next(
            (n for n in range(len(rest), 1, -1) if _width(console, _metrics_as_rows(rest[:n], names)) <= console.width),
            1,
        )
        tables.append(_metrics_as_rows(rest[:count], names))
        rest = rest[count:]
    return tables


def _metrics_as_rows(entries: Sequence[Entry], names: Sequence[str]) -> Table:
    from rich.text import Text

    table = _new_table()
    table.add_column("metric", overflow="fold")
    for entry in entries:
        heading = f"{entry.label}\n{entry.marks}".strip()
        table.add_column(Text(heading), justify="right", overflow="fold", max_width=WIDEST_HEADING)
    for name in names:
        table.add_row(Text(printable(name)), *(_styled(_cell(entry, name)) for entry in entries))
    return table


def _styled(cell: str) -> Text:
    from rich.text import Text

    return Text(cell, style="bold green" if cell.endswith(BEST) else "dim" if cell == MISSING else "")


def _width(console: Console, table: Table) -> int:
    return console.measure(table, options=console.options.update(width=10_000)).maximum
