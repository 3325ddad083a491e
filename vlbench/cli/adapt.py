"""``vlbench adapt``: classify images after a few labelled ones, without training the model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from vlbench.cli.options import AsJson, Bootstrap, Plugin, Results  # noqa: TC001
from vlbench.errors import UsageError
from vlbench.stats import DRAWS


def adapt(
    model: Annotated[str, typer.Option(help="A model that embeds: a name, adapter:checkpoint or a folder.")],
    data: Annotated[str, typer.Option(help="Image folder with train/ and val/, one folder a class in each.")],
    method: Annotated[str, typer.Option(help="probe (linear, on embeddings) or coop (context vectors).")] = "probe",
    shots: Annotated[str, typer.Option(help="Labelled images a class, by commas.")] = "1,2,4,8,16",
    seeds: Annotated[int, typer.Option(help="Draws of the labelled images that are averaged.")] = 3,
    split: Annotated[str, typer.Option(help="Split that is classified.")] = "val",
    limit: Annotated[int | None, typer.Option(help="Only the first N images (in the signature).")] = None,
    model_arg: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="For the adapter.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    plugin: Plugin = None,
    bootstrap: Bootstrap = DRAWS,
    output: Results = Path("vlbench-results"),
    as_json: AsJson = False,
) -> None:
    """Learn to classify from a few labelled images a class; one result for each number of shots."""
    from vlbench.cli.run import check_positive, key_values
    from vlbench.plugins import load_plugins
    from vlbench.runner.options import RunOptions
    from vlbench.runner.progress import StderrReporter
    from vlbench.train.adapt import adapt as learn

    for option, number in (("--seeds", seeds), ("--limit", limit), ("--bootstrap", bootstrap or None)):
        check_positive(option, number)
    options = RunOptions(
        data=data,
        split=split,
        limit=limit,
        device=device,
        bootstrap=bootstrap,
        output=output,
        model_arguments=key_values(model_arg, model, [model]),
        command=("vlbench", *sys.argv[1:]),
    )
    plugins, reporter = load_plugins(plugin or ()), StderrReporter()
    results = learn(model, method, _numbers(shots), seeds, options, plugins=plugins, reporter=reporter)
    if as_json:
        sys.stdout.write(json.dumps([result.to_json() for result in results], indent=2) + "\n")
        return
    from vlbench.leaderboard.table import print_table

    print_table(results)


def _numbers(text: str) -> list[int]:
    """Return the numbers of a list by commas; raises ``UsageError``.

    >>> _numbers("1,2,16")
    [1, 2, 16]
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) for part in parts):
        raise UsageError(f"--shots {text!r} is not a list of whole numbers from 1, by commas")
    return list(dict.fromkeys(int(part) for part in parts))
