"""``vlbench compare``: whether one model is better than another on the same samples."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlbench.cli.options import Bootstrap  # noqa: TC001
from vlbench.errors import NotComparable, UsageError
from vlbench.stats import DRAWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.result import Result

    Found = list[tuple[Path, Result]]


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A result file, a folder, or a model's name.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The same, to be compared with A.")],
    results: Annotated[Path, typer.Option(help="Folder in which model names are looked up.")] = Path("vlbench-results"),
    bootstrap: Bootstrap = DRAWS,
    seed: Annotated[int, typer.Option(help="Seed of draws and permutations.")] = 0,
    flips: Annotated[int, typer.Option(help="Samples that differ to list, most changed first.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Compare two models on the same samples: differences with intervals, p-values, slices, samples that flipped."""
    from vlbench.leaderboard.comparison import to_json, to_markdown, to_text
    from vlbench.leaderboard.samples import read_rows
    from vlbench.leaderboard.store import samples_path
    from vlbench.leaderboard.table import write_text
    from vlbench.stats.compare import compare as compare_results
    from vlbench.stats.compare import correct

    if min(flips, bootstrap) < 0:
        raise UsageError("--flips and --bootstrap take whole numbers from 0")
    if as_json and markdown:
        raise UsageError("--json and --markdown exclude each other")
    pairs = _pairs(_find(first, results), _find(second, results), first, second)
    compared = correct(
        [
            compare_results(
                (one, read_rows(samples_path(file))), (two, read_rows(samples_path(other))), bootstrap, seed
            )
            for (file, one), (other, two) in pairs
        ]
    )
    if as_json:
        sys.stdout.write(to_json(compared, flips))
    else:
        write_text((to_markdown if markdown else to_text)(compared, flips))


def _find(what: str, folder: Path) -> Found:
    """Return the results of a file or folder, or those in ``folder`` of the model named."""
    from vlbench.leaderboard.store import find_results
    from vlbench.plugins import nearest

    if Path(what).exists():
        return find_results(Path(what))
    if not folder.exists():
        raise UsageError(f"{what!r} is neither a file nor a folder, and for a model's name there is no folder {folder}")
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
    """Return the results to compare, one pair a signature; raises where there is none, or more than one of either."""
    from vlbench.stats.compare import refuse_other_signature

    shared = [s for s in dict.fromkeys(r.signature for _, r in first) if s in {r.signature for _, r in second}]
    if not shared:
        for _, result in first:
            for _, other in second:
                if result.task.name == other.task.name:
                    refuse_other_signature(result, other)
        raise NotComparable(f"{one} and {two} have no task in common")
    return [(_only(first, signature, one), _only(second, signature, two)) for signature in shared]


def _only(found: Sequence[tuple[Path, Result]], signature: str, what: str) -> tuple[Path, Result]:
    own = [pair for pair in found if pair[1].signature == signature]
    if len(own) > 1:
        files = ", ".join(str(file) for file, _ in own)
        raise UsageError(f"{what} has {len(own)} results of {own[0][1].task.name}; name one of the files: {files}")
    return own[0]
