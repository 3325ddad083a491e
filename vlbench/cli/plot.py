"""``vlbench plot``: results as a picture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vlbench.errors import UsageError
from vlbench.stats import DRAWS


def plot(
    results: Annotated[
        list[str], typer.Argument(metavar="RESULT…", help="Result files or folders; with --compare also model names.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="PNG, SVG or PDF, by its suffix.")],
    task: Annotated[str | None, typer.Option(help="Only these tasks; several by commas.")] = None,
    by: Annotated[str | None, typer.Option("--slice", metavar="COLUMN", help="The primary metric by a column.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Differences from the first, as vlbench compare.")] = False,
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="With --compare: each with each.")] = False,
    all_metrics: Annotated[bool, typer.Option("--all-metrics", help="Of a single result: also by type.")] = False,
    bootstrap: Annotated[int, typer.Option(metavar="N", help="Draws behind intervals that are computed here.")] = DRAWS,
    seed: Annotated[int, typer.Option(help="Seed of draws and permutations of --compare.")] = 0,
    folder: Annotated[Path, typer.Option("--results", help="Folder of the models of --compare.")] = Path(
        "vlbench-results"
    ),
) -> None:
    """Plot results: bars with intervals over tasks, one result by metric, by slice, or differences of models."""
    from vlbench.cli.compare import compare_all
    from vlbench.cli.leaderboard import of_tasks
    from vlbench.leaderboard.plots import check_format, plot_comparisons, plot_result, plot_results, plot_slices
    from vlbench.leaderboard.plots import save_plot as save
    from vlbench.leaderboard.samples import read_rows
    from vlbench.leaderboard.store import find_results, samples_path

    if compare and by:
        raise UsageError("--compare and --slice exclude each other")
    if all_pairs and not compare:
        raise UsageError("--all-pairs goes with --compare")
    if bootstrap < 0:
        raise UsageError("--bootstrap takes a whole number from 0")
    check_format(out)
    if compare:
        figure = plot_comparisons(compare_all(results, folder, all_pairs, bootstrap, seed, task=task))
    else:
        there = find_results([Path(name) for name in results])
        wanted = {one.task.name for one in of_tasks([one for _, one in there], task)}
        chosen = [(path, one) for path, one in there if one.task.name in wanted]
        if by:
            figure = plot_slices([(one, read_rows(samples_path(path))) for path, one in chosen], by, bootstrap)
        elif len(chosen) == 1:
            figure = plot_result(chosen[0][1], all_metrics)
        else:
            figure = plot_results([one for _, one in chosen])
    save(figure, out)
    sys.stderr.write(f"{out} ({out.stat().st_size} bytes)\n")
