"""``vlbench cache``: what is kept across runs."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

DAMAGED = 2

cache_app = typer.Typer(help="Answers of models, kept across runs.", no_args_is_help=True, rich_markup_mode=None)


@cache_app.command("info")
def info(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show where the cache lies, what it takes, and its bound."""
    from vlbench.runner.cache import ResponseCache

    cache = ResponseCache()
    sizes = [entry.size for entry in cache.entries()]
    if as_json:
        known = {"folder": str(cache.folder), "entries": len(sizes), "bytes": sum(sizes), "bound_bytes": cache.bound}
        sys.stdout.write(json.dumps(known) + "\n")
        return
    taken = f"{sum(sizes) / 2**20:.1f} MiB of {cache.bound / 2**20:.1f}"
    sys.stdout.write(f"{cache.folder}: {len(sizes)} batches, {taken}\n")


@cache_app.command("clear")
def clear() -> None:
    """Remove everything that is kept."""
    from vlbench.runner.cache import ResponseCache

    cache = ResponseCache()
    sys.stdout.write(f"{cache.folder}: {cache.clear()} batches removed\n")


@cache_app.command("verify")
def verify() -> None:
    """Read everything; remove what is damaged and exit with 2 if there is any."""
    from vlbench.runner.cache import ResponseCache

    cache = ResponseCache()
    damaged = cache.verify()
    for path in damaged:
        sys.stdout.write(f"{path} was damaged: removed\n")
    sys.stdout.write(f"{cache.folder}: {sum(1 for _ in cache.entries())} batches are whole\n")
    if damaged:
        raise typer.Exit(DAMAGED)
