"""``vlbench compare``: whether one model is better than another on the same samples."""

from __future__ import annotations

import itertools
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlbench.cli.options import Bootstrap  # noqa: TC001
from vlbench.errors import NotComparable, UsageError
from vlbench.stats import DRAWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.result import Result
    from vlbench.stats.compare import Comparison
    from vlbench.types import SampleRow

    Found = list[tuple[Path, Result]]


def compare(
    models: Annotated[
        list[str], typer.Argument(metavar="A B [C…]", help="Result files, folders, or names of models; A is compared.")
    ],
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Each with each, not the others with A.")] = False,
    by: Annotated[str | None, typer.Option("--slice", metavar="COLUMN[,…]", help="Explore these columns only.")] = None,
    task: Annotated[str | None, typer.Option(help="Only these tasks; several by commas.")] = None,
    results: Annotated[Path, typer.Option(help="Folder in which model names are looked up.")] = Path("vlbench-results"),
    bootstrap: Bootstrap = DRAWS,
    seed: Annotated[int, typer.Option(help="Seed of draws and permutations.")] = 0,
    flips: Annotated[int, typer.Option(help="Samples that differ to list, most changed first.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Compare models on the same samples: differences with intervals, p-values, slices, samples that flipped."""
    from vlbench.leaderboard.comparison import to_json, to_markdown, to_text
    from vlbench.leaderboard.table import write_text

    if min(flips, bootstrap) < 0:
        raise UsageError("--flips and --bootstrap take whole numbers from 0")
    if markdown and models[-1].endswith(".md"):
        raise UsageError(f"--markdown prints to standard output; give no {models[-1]}, but > {models[-1]}")
    if as_json and markdown:
        raise UsageError("--json and --markdown exclude each other")
    slices = [name.strip() for name in (by or "").split(",") if name.strip()]
    compared = compare_all(models, results, all_pairs, bootstrap, seed, slices, task)
    if as_json:
        sys.stdout.write(to_json(compared, flips))
    else:
        write_text((to_markdown if markdown else to_text)(compared, flips))


def compare_all(
    models: Sequence[str],
    folder: Path,
    all_pairs: bool,
    bootstrap: int,
    seed: int,
    slices: Sequence[str] = (),
    task: str | None = None,
) -> list[Comparison]:
    """Compare the first of ``models`` with each other one, or each with each, on every task that two have in common.

    ``task`` names the only tasks, by commas.
    """
    from vlbench.cli.leaderboard import of_tasks
    from vlbench.stats.compare import compare as compare_results
    from vlbench.stats.compare import correct

    if len(models) < 2:
        raise UsageError(f"there is nothing to compare {models[0]} with; give two models or more")
    found = []
    for what in models:
        own = _find(what, folder)
        wanted = {result.task.name for result in of_tasks([result for _, result in own], task)}
        found.append((what, [(path, result) for path, result in own if result.task.name in wanted]))
    pairs = itertools.combinations(found, 2) if all_pairs else ((found[0], other) for other in found[1:])
    return correct(
        [
            compare_results(_scored(first), _scored(second), bootstrap, seed, slices)
            for (one, mine), (other, others) in pairs
            for first, second in _pairs(mine, others, one, other)
        ]
    )


def _scored(found: tuple[Path, Result]) -> tuple[Result, Sequence[SampleRow]]:
    return found[1], _rows(found[0])


@cache
def _rows(file: Path) -> Sequence[SampleRow]:
    from vlbench.leaderboard.samples import read_rows
    from vlbench.leaderboard.store import samples_path

    return read_rows(samples_path(file))


def _find(what: str, folder: Path) -> Found:
    """Return the results of a file or folder, or those in ``folder`` of the model named."""
    from vlbench.leaderboard.store import find_results, result_files
    from vlbench.plugins import nearest

    if Path(what).exists():
        return find_results(Path(what))
    if not result_files(folder):
        raise UsageError(f"{what!r} is neither a file nor a folder, and for a model's name {folder} has no results")
    there = find_results(folder)
    found = [(file, result) for file, result in there if result.model.name == what]
    if not found:
        names = sorted({result.model.name for _, result in there})
        raise UsageError(
            f"{what!r} is neither a file, a folder nor a model in {folder}{nearest(what, names)} "
            f"(there are: {', '.join(names)})"
        )
    return found


def _pairs(first: Found, second: Found, one: str, two: str) -> list[tuple[tuple[Path, Result], tuple[Path, Result]]]:
    """Return the results to compare, one pair a signature; raises where there is more than one of either.

    Raises ``NotComparable`` where there is none, and for a task that both have and that they share no signature of.
    """
    from vlbench.stats.compare import refuse_other_signature

    theirs = {result.signature for _, result in second}
    shared = {result.signature: result.task.name for _, result in first if result.signature in theirs}
    for _, result in first:
        for _, other in second:
            if result.task.name == other.task.name and result.task.name not in shared.values():
                refuse_other_signature(result, other)
    if not shared:
        raise NotComparable(f"{one} and {two} have no task in common")
    return [(_only(first, signature, one), _only(second, signature, two)) for signature in shared]


def _only(found: Sequence[tuple[Path, Result]], signature: str, what: str) -> tuple[Path, Result]:
    own = [pair for pair in found if pair[1].signature == signature]
    if len(own) > 1:
        files = ", ".join(str(file) for file, _ in own)
        raise UsageError(f"{what} has {len(own)} results of {own[0][1].task.name}; name one of the files: {files}")
    return own[0]
