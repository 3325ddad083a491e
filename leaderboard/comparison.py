"""Comparisons of results, two by two, as text, Markdown and JSON."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import TYPE_CHECKING

from vlbench.leaderboard.columns import MISSING, is_percent, scale, shown
from vlbench.leaderboard.groups import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vlbench.stats.compare import Comparison, Difference

    _Table = tuple[str, Sequence[str], list[list[str]]]

HEADINGS = ("metric", "A", "B", "B - A", "95 % interval", "p", "adjusted p")
FLIP_HEADINGS = ("sample", "A", "B", "answer of A", "answer of B")
WIDTH = 120
ANSWER = 40


def to_json(comparisons: Sequence[Comparison], flips: int) -> str:
    """Return a JSON list, one object a task, with the first ``flips`` samples that differ."""
    return json.dumps([_document(one, flips) for one in comparisons], indent=2) + "\n"


def _document(one: Comparison, flips: int) -> dict[str, object]:
    return {
        "task": one.first.task.name,
        "signature": one.first.signature,
        "models": [one.first.model.name, one.second.model.name],
        "primary": None if one.primary is None else dataclasses.asdict(one.primary),
        "exploratory": [dataclasses.asdict(found) for found in one.exploratory],
        "flipped": len(one.flips),
        "flips": [dataclasses.asdict(flip) for flip in one.flips[:flips]],
    }


def to_markdown(comparisons: Sequence[Comparison], flips: int) -> str:
    """Return Markdown tables: the primary metrics of several comparisons at a glance, then one section each."""
    lines: list[str] = []
    for title, tables in _sections(comparisons, flips):
        lines += [f"## {_escaped(title)}", ""]
        for heading, headings, rows in tables:
            lines += [
                heading,
                "",
                markdown_line(headings),
                markdown_line(["---"] * len(headings)),
                *map(markdown_line, rows),
                "",
            ]
    return "\n".join(lines)


def to_text(comparisons: Sequence[Comparison], flips: int) -> str:
    """Return tables for a terminal, in the order of ``to_markdown``."""
    parts: list[str] = []
    for title, tables in _sections(comparisons, flips):
        parts.append(f"{title}\n")
        parts += [f"\n{heading}\n{text_table(headings, rows)}" for heading, headings, rows in tables]
        parts.append("\n")
    return "".join(parts)


def text_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table for a terminal, whose lines end without blanks."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    buffer = io.StringIO()
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in headings:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(file=buffer, width=WIDTH, no_color=True, highlight=False).print(table)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def _title(one: Comparison) -> str:
    return printable(f"{one.first.task.name}: A {one.first.model.name}, B {one.second.model.name}")


def _sections(comparisons: Sequence[Comparison], flips: int) -> list[tuple[str, list[_Table]]]:
    sections = [(_title(one), _tables(one, flips, len(comparisons))) for one in comparisons]
    if len(comparisons) < 2:
        return sections
    rows = [
        [*map(printable, (one.first.task.name, one.first.model.name, one.second.model.name)), *_row(one.primary)]
        for one in comparisons
        if one.primary
    ]
    named = ("task", "model A", "model B", *HEADINGS)
    return [(f"{len(comparisons)} comparisons", [(_primary_heading(len(comparisons)), named, rows)]), *sections]


def _primary_heading(comparisons: int) -> str:
    over = "one comparison needs none" if comparisons == 1 else f"Holm over {comparisons} comparisons"
    return f"primary metric (adjusted p: {over})"


def _tables(one: Comparison, flips: int, comparisons: int) -> list[_Table]:
    """Return heading, column names and rows of each table."""
    heading = _primary_heading(comparisons)
    if one.primary and one.primary.detectable is not None:
        name = one.primary.metric
        least = f"{one.primary.detectable * scale(name).factor:.3g}{' points' if is_percent(name) else ''}"
        heading += f"; on these samples a true difference of {least} is found four times in five"
    tables: list[_Table] = [(heading, HEADINGS, [_row(one.primary)] if one.primary else [])]
    if one.exploratory:
        rows = [_row(found) for found in one.exploratory]
        tables.append(("exploratory: hints, not findings (adjusted p: Benjamini-Hochberg)", HEADINGS, rows))
    if one.flips and flips:
        rows = [
            [printable(flip.sample_id), f"{flip.first:.4g}", f"{flip.second:.4g}", *map(_short, flip.responses)]
            for flip in one.flips[:flips]
        ]
        tables.append((f"{len(one.flips)} samples differ, most changed first", FLIP_HEADINGS, rows))
    return tables


def _row(found: Difference) -> list[str]:
    name, factor = found.metric, scale(found.metric).factor
    ends = MISSING if found.ci95 is None else f"[{', '.join(f'{end * factor:+.4g}' for end in found.ci95)}]"
    return [
        printable(name),
        shown(name, found.first),
        shown(name, found.second),
        f"{found.difference * factor:+.4g}",
        ends,
        f"{found.p:.4g}",
        f"{found.adjusted:.4g}",
    ]


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= ANSWER else f"{text[: ANSWER - 1]}…"


def markdown_line(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")
