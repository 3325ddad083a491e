"""Comparisons of two results as text, Markdown and JSON."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import TYPE_CHECKING

from vlbench.leaderboard.columns import MISSING, scale, shown
from vlbench.leaderboard.groups import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vlbench.stats.compare import Comparison, Difference

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
    """Return Markdown tables, one section a task."""
    lines: list[str] = []
    for one in comparisons:
        lines += [f"## {_escaped(_title(one))}", ""]
        for heading, headings, rows in _tables(one, flips):
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
    """Return tables for a terminal."""
    parts: list[str] = []
    for one in comparisons:
        parts.append(f"{_title(one)}\n")
        for heading, headings, rows in _tables(one, flips):
            parts.append(f"\n{heading}\n{text_table(headings, rows)}")
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


def _tables(one: Comparison, flips: int) -> list[tuple[str, Sequence[str], list[list[str]]]]:
    """Return heading, column names and rows of each table."""
    primary = [_row(one.primary)] if one.primary else []
    tables: list[tuple[str, Sequence[str], list[list[str]]]] = [
        ("primary metric (adjusted p: Holm over the tasks)", HEADINGS, primary)
    ]
    if one.exploratory:
        rows = [_row(found) for found in one.exploratory]
        tables.append(("exploratory (adjusted p: Benjamini-Hochberg)", HEADINGS, rows))
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
