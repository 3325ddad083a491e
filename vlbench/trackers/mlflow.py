"""Results to MLflow: one run a model, with its numbers as metrics and its result documents as artifacts."""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import TYPE_CHECKING

from vlbench.hookspecs import hookimpl
from vlbench.trackers import PROJECT, identity, measured, need, parameters, refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow import MlflowClient

    from vlbench.result import Result

TAG = "vlbench.id"
_MOST = 1000


@hookimpl
def vlbench_run_start(model: str, tasks: Sequence[str]) -> None:
    """Refuse to begin without the package."""
    need("mlflow")


@hookimpl
def vlbench_run_end(results: Sequence[Result]) -> None:
    """Send the results of a model; ``MLFLOW_TRACKING_URI`` and ``MLFLOW_EXPERIMENT_NAME`` say where."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        _send(MlflowClient(), results)
    except (MlflowException, OSError) as error:
        raise refused("mlflow", error) from error


def _send(client: MlflowClient, results: Sequence[Result]) -> None:
    """Send through a client, which leaves a run that the caller may have under way alone."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    found = client.get_experiment_by_name(name)
    experiment = found.experiment_id if found else client.create_experiment(name)
    key = identity(results)
    if client.search_runs([experiment], f"tags.`{TAG}` = '{key}' and attributes.status = 'FINISHED'", max_results=1):
        return
    run = client.create_run(experiment, tags={TAG: key}, run_name=results[0].model.name).info.run_id
    try:
        _log(client, run, results)
        client.set_terminated(run)
    except BaseException:
        # The next attempt makes a run of its own; this one must not look as if it went on.
        with contextlib.suppress(Exception):
            client.set_terminated(run, status="FAILED")
        raise


def _log(client: MlflowClient, run: str, results: Sequence[Result]) -> None:
    """Log all of ``results`` into a run."""
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    client.log_batch(run, params=[Param(valid(name), value) for name, value in parameters(results).items()])
    metrics = [Metric(valid(name), float(value), now, 0) for name, value in measured(results).items()]
    for start in range(0, len(metrics), _MOST):
        client.log_batch(run, metrics=metrics[start : start + _MOST])
    for result in results:
        client.log_dict(run, result.to_json(), f"{result.task.name}.json")


def valid(name: str) -> str:
    """Return a name that MLflow takes: a file of its store, which no other name may have as a folder.

    >>> valid("coco_retrieval/text_to_image_recall@1"), valid("vqa/accuracy/answer_type/yes/no")
    ('coco_retrieval/text_to_image_recall_1', 'vqa/accuracy.answer_type.yes.no')
    """
    task, slash, rest = name.partition("/")
    return task + slash + re.sub(r"[^\w.\- ]", "_", rest.replace("/", "."))
