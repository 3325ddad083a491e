"""Results to Weights & Biases: one run a model, its numbers in the summary, its result documents in an artifact."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from vlbench.hookspecs import hookimpl
from vlbench.trackers import PROJECT, identity, measured, need, parameters, refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.result import Result


@hookimpl
def vlbench_run_start(model: str, tasks: Sequence[str]) -> None:
    """Refuse to begin without the package."""
    need("wandb")


@hookimpl
def vlbench_run_end(results: Sequence[Result]) -> None:
    """Send the results of a model; the service's own variables (``WANDB_MODE``, ``WANDB_PROJECT``, …) say where."""
    import wandb

    key = identity(results)
    try:
        with wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=key,
            resume="allow",
            # A run that the caller has under way is left alone.
            reinit="create_new",
            name=results[0].model.name,
            job_type="evaluation",
            config=parameters(results),
            # Standard output is the harness's own: with --json it is a document.
            settings=wandb.Settings(console="off"),
        ) as run:
            run.summary.update(measured(results))
            artifact = wandb.Artifact(f"results-{key}", type="evaluation")
            for result in results:
                with artifact.new_file(f"{result.task.name}.json", encoding="utf-8") as file:
                    json.dump(result.to_json(), file, indent=1)
            run.log_artifact(artifact)
    except (wandb.Error, OSError, ValueError) as error:
        raise refused("wandb", error) from error
