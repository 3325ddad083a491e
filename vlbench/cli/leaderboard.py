"""``vlbench leaderboard``: tables and sites of the results in a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlbench.cli.options import Plugin  # noqa: TC001
from vlbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.result import Result

FORMATS = ("table", "json", "csv", "markdown")

leaderboard_app = typer.Typer(help="Tables and sites of results.", no_args_is_help=True, rich_markup_mode=None)


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
    results = in_order(of_tasks(load_results(folder or [Path("vlbench-results")]), task))
    if cost:
        write_text(cost_table(results))
    elif form == "table":
        print_table(results, all_metrics=all_metrics, references=published)
    elif form == "markdown":
        write_text(to_markdown(group_results(results), all_metrics=all_metrics, references=published))
    else:
        groups = group_results(results)
        sys.stdout.write(to_json(groups, published) if form == "json" else to_csv(groups))


Folders = Annotated[list[Path] | None, typer.Argument(help="Folders or files of results; default: vlbench-results.")]
Title = Annotated[str, typer.Option(help="Title of the site.")]
Compared = Annotated[int, typer.Option(metavar="N", help="Of each table the best N are compared, each with each.")]


@leaderboard_app.command("build")
def build(
    folder: Folders = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the site.")] = Path("site"),
    title: Title = "vlbench leaderboard",
    compare: Compared = 5,
    plugin: Plugin = None,
) -> None:
    """Build a static site that opens from the file system: no server, no network."""
    from vlbench.leaderboard.site import SiteOptions, build_site
    from vlbench.plugins import load_plugins
    from vlbench.runner.progress import StderrReporter

    _check_compared(compare)
    reporter = StderrReporter()
    count = build_site(_folders(folder), out, load_plugins(plugin or ()), SiteOptions(title, compare), reporter)
    reporter.say(f"{count} results in {out / 'index.html'}")


@leaderboard_app.command("serve")
def serve(
    folder: Folders = None,
    data: Annotated[str | None, typer.Option(help="Data whose questions and pictures are shown, here alone.")] = None,
    port: Annotated[int, typer.Option(help="Port on this machine; 0: a free one.")] = 8000,
    title: Title = "vlbench leaderboard",
    compare: Compared = 5,
    plugin: Plugin = None,
) -> None:
    """Look at the site in a browser on this machine, with the pictures of local data; ends with Ctrl-C."""
    import contextlib
    import tempfile

    from vlbench.leaderboard.serve import SiteServer
    from vlbench.leaderboard.site import SiteOptions, write_pages
    from vlbench.plugins import load_plugins
    from vlbench.runner.progress import StderrReporter

    _check_compared(compare)
    options = SiteOptions(title, compare, None if data == "scenes" else data)
    with tempfile.TemporaryDirectory(prefix="vlbench-site-") as place:
        pictures = write_pages(_folders(folder), Path(place), load_plugins(plugin or ()), options, StderrReporter())
        with SiteServer(Path(place), port, pictures.images) as server, contextlib.suppress(KeyboardInterrupt):
            print(f"{server.address} (Ctrl-C ends it)", flush=True)  # noqa: T201
            server.serve_forever()


@leaderboard_app.command("merge")
def merge_folders(
    folder: Annotated[list[Path], typer.Argument(help="Folders or files of results.")],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to merge them into.")],
) -> None:
    """Merge folders of several machines into one: in any order and as often as you like, the outcome is the same."""
    from vlbench.leaderboard.merge import merge

    came, there = merge(folder, output)
    typer.echo(f"{came} results copied, {there} in {output}")


@leaderboard_app.command("verify")
def verify_results(
    folder: Folders = None,
    data: Annotated[str | None, typer.Option(help="Data of results that are not on the bundled scenes.")] = None,
    plugin: Plugin = None,
) -> None:
    """Compute every result again from its sample rows; exit code 2 where one differs."""
    from vlbench.errors import DataError
    from vlbench.leaderboard.verify import verify
    from vlbench.plugins import load_plugins

    found = verify(_folders(folder), load_plugins(plugin or ()), None if data == "scenes" else data)
    for one in found:
        unknown = f", {len(one.unknown)} need the data: {', '.join(one.unknown)}" if one.unknown else ""
        typer.echo(f"{'DIFFERS' if one.wrong else 'ok'} {one.path.name}: {len(one.recomputed)} metrics{unknown}")
        for line in one.wrong:
            typer.echo(f"    {line}")
    wrong = [one.path.name for one in found if one.wrong]
    if wrong:
        raise DataError(f"{len(wrong)} of {len(found)} results differ from their sample rows: {', '.join(wrong[:5])}")


EXPORTS = ("csv", "parquet", "markdown", "model-index")


@leaderboard_app.command("export")
def export(
    folder: Folders = None,
    form: Annotated[str, typer.Option("--format", metavar="|".join(EXPORTS), help="What to write.")] = "csv",
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="File; default: standard output.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model; model-index needs one.")] = None,
) -> None:
    """Export results: every metric as CSV or Parquet, tables as Markdown, a model card's model-index as YAML."""
    from vlbench.leaderboard.export import to_csv, to_markdown, to_model_index, to_parquet
    from vlbench.leaderboard.groups import group_results, in_order
    from vlbench.leaderboard.store import load_results, write_file
    from vlbench.leaderboard.table import write_text
    from vlbench.plugins import nearest

    if form not in EXPORTS:
        raise UsageError(f"unknown --format {form!r}{nearest(form, EXPORTS)} ({', '.join(EXPORTS)})")
    if form == "parquet" and output is None:
        raise UsageError("Parquet is not for a terminal; give --output FILE")
    results = in_order(load_results(_folders(folder)))
    names = sorted({result.model.name for result in results})
    if model is not None and model not in names:
        raise UsageError(f"no result of model {model!r}{nearest(model, names)} (there are: {', '.join(names)})")
    results = [result for result in results if model in (None, result.model.name)]
    if form == "model-index" and model is None and len(names) > 1:
        raise UsageError(f"a model card is of one model; give --model (there are: {', '.join(names)})")
    groups = group_results(results)
    if form == "parquet" and output is not None:
        write_file(output, to_parquet(groups))
        return
    text = {
        "csv": lambda: to_csv(groups),
        "markdown": lambda: to_markdown(groups, all_metrics=True),
        "model-index": lambda: to_model_index(results),
    }[form]()
    if output is None:
        write_text(text)
    else:
        write_file(output, text.encode())


def _folders(folder: list[Path] | None) -> list[Path]:
    return folder or [Path("vlbench-results")]


def _check_compared(compare: int) -> None:
    if compare < 0:
        raise UsageError("--compare takes a whole number from 0")


def of_tasks(results: Sequence[Result], task: str | None) -> Sequence[Result]:
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
