"""The Python interface: what ``vlbench run`` and ``vlbench leaderboard`` do, for scripts and notebooks."""

from __future__ import annotations

import dataclasses
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlbench.cli.run import data_root
from vlbench.errors import UsageError
from vlbench.leaderboard import store
from vlbench.leaderboard.columns import shown
from vlbench.leaderboard.export import CSV_COLUMNS, to_rows
from vlbench.leaderboard.groups import group_results
from vlbench.plugins import load_plugins, nearest
from vlbench.runner.driver import RunReport, evaluate
from vlbench.runner.options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from vlbench.result import Result
    from vlbench.runner.progress import Reporter

COST = "cost_"
"""Prefix of the columns that tell what a run cost."""


def run(
    model: str,
    tasks: str | Sequence[str] = "all",
    *,
    plugins: Sequence[str] = (),
    reporter: Reporter | None = None,
    **options: Any,
) -> RunReport:
    """Evaluate ``model`` on ``tasks`` (one name, several, or ``"all"``) and return the report with its results.

    ``options`` are the fields of ``RunOptions`` (``data``, ``limit``, ``output``, …) with its defaults; ``data`` is
    read as ``vlbench run --data`` reads it. ``plugins`` are files or modules. Raises ``UsageError`` for an unknown
    option and whatever ``vlbench.evaluate`` raises.
    """
    known = [f.name for f in dataclasses.fields(RunOptions)]
    for name in options:
        if name not in known:
            raise UsageError(f"unknown option {name!r}{nearest(name, known)} (there are: {', '.join(known)})")
    options["data"] = data_root(options.get("data"))
    if "output" in options:
        options["output"] = Path(options["output"])
    names = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    return evaluate(model, names, RunOptions(**options), plugins=load_plugins(plugins), reporter=reporter)


def load_results(folder: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Return the results of files and folders as a table with one row for each result and metric.

    The columns are those of ``vlbench leaderboard export --format csv`` and what each run cost (``cost_…``: seconds,
    MiB, counts; missing where it was not measured). Values are as stored, shares between 0 and 1; only rows of equal
    ``signature`` may be compared. Raises ``DataError`` where there is no result.
    """
    import pandas as pd

    paths = [folder] if isinstance(folder, (str, Path)) else folder
    results = store.load_results([Path(path) for path in paths])
    groups = group_results(results)
    costs = list(dict.fromkeys(name for result in results for name in result.cost))
    columns = [*CSV_COLUMNS, *(COST + name for name in costs)]
    rows = [
        {**row, **{COST + name: value for name, value in result.cost.items()}}
        for result, rows in to_rows(groups)
        for row in rows
    ]
    return pd.DataFrame(rows, columns=columns)


def to_html(result: Result) -> str:
    """Return a result as an HTML table for notebooks: metrics with intervals, and what its numbers rest on."""
    counts = ", ".join(f"{count} {name}" for name, count in result.task.counts.items())
    about = f"{result.task.dataset} {result.task.split}, {counts}, protocol {result.task.protocol}"
    lines = [about, result.signature, *result.notes]
    if result.samples.failed:
        lines.insert(1, f"{result.samples.failed} of {result.samples.attempted} samples failed and count as wrong")
    if result.model.random_weights:
        lines.insert(1, "random weights: the scores say nothing about a trained model")
    body = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(shown(name, metric.value, metric.ci95))}</td>"
        f"<td>{escape(metric.reason or '')}</td></tr>"
        for name, metric in result.metrics.items()
    )
    foot = "".join(f"<div><small>{escape(line)}</small></div>" for line in lines)
    title = escape(f"{result.model.name} on {result.task.name}")
    return f"<table><caption>{title}</caption><tbody>{body}</tbody></table>{foot}"
