"""``vlbench list``: what is registered. Imports none of the heavy libraries."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vlbench.errors import UsageError

KINDS = ("models", "tasks", "datasets", "adapters", "plugins")


def show(
    kind: Annotated[str, typer.Argument(metavar="models|tasks|datasets|adapters|plugins")],
    plugin: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A plugin file or module.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List models, tasks, datasets, adapters or plugins."""
    from vlbench.plugins import load_plugins, nearest

    if kind not in KINDS:
        raise UsageError(f"cannot list {kind!r}{nearest(kind, KINDS)} (models, tasks, datasets, adapters, plugins)")
    plugins = load_plugins(plugin or ())
    if kind == "plugins":
        rows = [{"name": name, "description": "loaded"} for name, _ in plugins.manager.list_name_plugin()]
    elif kind == "tasks":
        rows = [
            {
                "name": t.name,
                "description": t.description,
                "dataset": t.dataset,
                "primary metric": t.primary_metric,
                "in all": "yes" if t.default else "no",
            }
            for t in plugins.tasks.values()
        ]
    elif kind == "datasets":
        rows = [
            {"name": d.name, "description": d.description, "splits": ", ".join(d.splits), "licence": d.licence}
            for d in plugins.datasets.values()
        ]
    elif kind == "models":
        rows = [
            {
                "name": m.name,
                "description": m.description,
                "adapter": m.adapter if isinstance(m.adapter, str) else m.adapter.__name__,
                "trained on": ", ".join(m.trained_on),
            }
            for m in plugins.models.values()
        ]
    else:
        rows = [{"name": a.name, "description": a.description} for a in plugins.adapters.values()]
    for error in plugins.errors:
        sys.stderr.write(f"warning: {error}\n")
    _print(rows, as_json)


def _print(rows: list[dict[str, str]], as_json: bool) -> None:
    if as_json:
        import json

        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    if not rows:
        return
    # Plain columns: a table library would cost more than the rest of the command.
    widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in rows[0]}
    lines = [{key: key for key in rows[0]}, *rows]
    sys.stdout.write("".join("  ".join(f"{row[key]:{widths[key]}}" for key in row).rstrip() + "\n" for row in lines))
