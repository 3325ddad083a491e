"""``vlbench leaderboard``: tables of the results in a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.result import Result

FORMATS = ("table", "json", "csv", "markdown")

leaderboard_app = typer.Typer(help="Tables of results.", no_args_is_help=True, rich_markup_mode=None)


@leaderboard_app.callback()
def _group() -> None:
    """Keep ``leaderboard`` a group while it has one verb."""


@leaderboard_app.command("show")
def show(
    folder: Annotated[
        list[Path] | None, typer.Argument(help="Folders or files of results; default: vlbench-results.")
    ] = None,
    form: Annotated[str, typer.Option("--format", metavar="|".join(FORMATS), help="How to print.")] = "table",
    task: Annotated[str | None, typer.Option(help="Only these tasks; several by commas.")] = None,
    all_metrics: Annotated[bool, typer.Option("--all-metrics", help="Also metrics of slices (by type).")] = False,
    references: Annotated[
        bool, typer.Option("--references", help="Published scores beside each result that they agree with.")
    ] = False,
    cost: Annotated[bool, typer.Option("--cost", help="What each result cost, instead of its scores.")] = False,
) -> None:
    """Show results as tables, one a signature: a column never mixes what cannot be compared."""
    from vlbench.leaderboard.cost import cost_table
    from vlbench.leaderboard.export import to_csv, to_json, to_markdown
    from vlbench.leaderboard.groups import group_results, in_order
    from vlbench.leaderboard.references import load_references
    from vlbench.leaderboard.store import load_results
    from vlbench.leaderboard.table import print_table, write_text
    from vlbench.plugins import nearest

    if form not in FORMATS:
        raise UsageError(f"unknown --format {form!r}{nearest(form, FORMATS)} ({', '.join(FORMATS)})")
    if references and form == "csv":
        raise UsageError("--references is not for CSV, which has one row a result; take --format json")
    if cost and (references or all_metrics or form != "table"):
        raise UsageError("--cost is a table of its own: it goes with no --format, --all-metrics or --references")
    published = load_references() if references else ()
    results = in_order(_of_tasks(load_results(folder or [Path("vlbench-results")]), task))
    if cost:
        write_text(cost_table(results))
    elif form == "table":
        print_table(results, all_metrics=all_metrics, references=published)
    elif form == "markdown":
        write_text(to_markdown(group_results(results), all_metrics=all_metrics, references=published))
    else:
        groups = group_results(results)
        sys.stdout.write(to_json(groups, published) if form == "json" else to_csv(groups))


def _of_tasks(results: Sequence[Result], task: str | None) -> Sequence[Result]:
    """Return the results of the tasks named; raises ``UsageError`` where there is none of one of them."""
    from vlbench.plugins import nearest

    if task is None:
        return results
    wanted = [name.strip() for name in task.split(",") if name.strip()]
    if not wanted:
        raise UsageError("--task is empty")
    known = sorted({result.task.name for result in results})
    for name in wanted:
        if name not in known:
            raise UsageError(f"no result of task {name!r}{nearest(name, known)} (there are: {', '.join(known)})")
    return [result for result in results if result.task.name in wanted]
