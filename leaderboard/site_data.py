"""The documents of a site: what its pages read, made of groups, results and rows.

Every document is plain JSON. Numbers are as stored, unrounded; how they are shown (factor, decimals) stands beside
them. The pages put texts into the document as text, never as markup.
"""

from __future__ import annotations

import dataclasses
import io
import math
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np

from vlbench.errors import DataError
from vlbench.leaderboard.columns import is_percent, scale, short_name
from vlbench.leaderboard.groups import MARKS, printable
from vlbench.leaderboard.store import stem
from vlbench.stats.estimators import Samples
from vlbench.types import content_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.leaderboard.groups import Entry, Group
    from vlbench.leaderboard.site_best import Standing
    from vlbench.leaderboard.site_truth import Truths
    from vlbench.result import Result
    from vlbench.stats.compare import Comparison, Difference
    from vlbench.types import ImageRef, Metric, SampleRow
    from vlbench.views import SampleView

Json = dict[str, Any]

DIGITS = 12
SLICE_PARTS = 40
FLIPS = 200
FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}
"""Of pictures that browsers show: the name that Pillow has for each suffix."""


def group_id(group: Group) -> str:
    """Return the id of a group: it depends on what was measured alone."""
    return content_key("group", group.signature, group.exposure)[:DIGITS]


def result_id(result: Result) -> str:
    """Return the id of a result."""
    return content_key("result", result.run_id, stem(result))[:DIGITS]


def model_alone(result: Result) -> Result:
    """Return ``result`` with the settings of the model alone, not those of the task."""
    settings = {key: value for key, value in result.settings.items() if key not in ("task_arguments", "data")}
    return dataclasses.replace(result, settings=settings)


def model_key(result: Result) -> str:
    """Return what makes results those of one model: weights, adapter, precision and settings, not the task's."""
    model = result.model
    settings = {key: str(value) for key, value in model_alone(result).settings.items()}
    parts = (model.name, model.fingerprint, model.adapter, model.dtype, model.preprocessing)
    return content_key("model", *parts, settings)[:DIGITS]


def metric_json(name: str) -> Json:
    """Return how a metric is called and shown."""
    by = scale(name)
    return {
        "name": name,
        "short": short_name(name),
        "factor": by.factor,
        "decimals": by.decimals,
        "percent": is_percent(name),
    }


def value_json(metric: Metric | None) -> list[float | None]:
    """Return value and ends of the interval."""
    if metric is None:
        return [None, None, None]
    return [metric.value, *(metric.ci95 or (None, None))]


def group_json(group: Group) -> Json:
    """Return what all results of a group share."""
    task = group.first.task
    primary = group.first.primary_metric
    return {
        "id": group_id(group),
        "title": group.title,
        "signature": group.signature,
        "task": task.name,
        "dataset": task.dataset,
        "split": task.split,
        "protocol": task.protocol,
        "limit": task.limit,
        "partial": task.partial,
        "exposure": group.exposure,
        "metric": {**metric_json(primary), "higher": group.first.metrics[primary].higher_is_better},
        "results": len(group.entries),
    }


def entry_json(entry: Entry, model: str, standing: Standing, names: Sequence[str]) -> Json:
    """Return a result as the page of its group has it, with the metrics ``names``."""
    result = entry.result
    return {
        "id": result_id(result),
        "model": model,
        "label": entry.label,
        "marks": entry.marks,
        "best": standing.best,
        "p": standing.p,
        "values": [value_json(result.metrics.get(name)) for name in names],
        "parameters": result.model.parameters,
        "seconds": seconds(result),
        "memory": result.cost.get("peak_device_memory_mib") or result.cost.get("peak_memory_mib"),
    }


def seconds(result: Result) -> float | None:
    """Return the seconds that 1,000 samples took, where the result tells."""
    rate = result.cost.get("samples_per_second")
    return 1000.0 / rate if rate else None


def result_json(result: Result, group: Group, entry: Entry, place: int) -> Json:
    """Return a result as the page of its model has it: all metrics, where they come from, how to get them again."""
    return {
        "id": result_id(result),
        "group": group_json(group),
        "place": place,
        "best": None,
        "marks": {mark: MARKS[mark] for mark in entry.marks},
        "metrics": [
            {**metric_json(name), "value": value_json(metric), "reason": metric.reason}
            for name, metric in result.metrics.items()
        ],
        "top": group.entries[0].result.primary,
        "command": shlex.join(result.command),
        "created": result.created,
        "samples": {
            "attempted": result.samples.attempted,
            "failed": result.samples.failed,
            "failures": list(result.samples.failures[:5]),
        },
        "cost": {key: value for key, value in result.cost.items() if value is not None},
        "environment": _flat(result.environment),
        "settings": _flat(result.settings),
        "prompt": result.task.prompt,
        "notes": list(result.notes),
    }


def model_json(result: Result, identifier: str, label: str) -> Json:
    """Return what is known of a model."""
    model = dataclasses.asdict(result.model)
    return {"id": identifier, "label": label, **model, "trained_on": list(result.model.trained_on), "results": []}


def slices_json(results: Sequence[tuple[Entry, Sequence[SampleRow]]]) -> Json:
    """Return means of the primary metric over the parts of every slice column, one row a result.

    A part has the number of samples that have a score. Columns of one part, or of more than ``SLICE_PARTS``, are no
    slices. Metrics of the result that name a part lend their interval.
    """
    kinds: dict[str, dict[str, Any]] = {}
    for place, (entry, rows) in enumerate(results):
        primary = entry.result.primary_metric
        samples = Samples(rows)
        scores = samples.scores(primary)
        for kind, column in samples.groupings.items():
            there = np.array([part is not None for part in column]) & ~np.isnan(scores)
            parts, which = np.unique(column[there].astype(str), return_inverse=True)
            if not 2 <= len(parts) <= SLICE_PARTS:
                continue
            counts = np.bincount(which, minlength=len(parts))
            means = np.bincount(which, scores[there], len(parts)) / counts
            document = kinds.setdefault(kind, {"kind": kind, "parts": parts.tolist(), "counts": counts.tolist()})
            if document["parts"] == parts.tolist():
                values = [
                    [mean, *(_interval(entry.result, f"{primary}/{kind}/{part}") or (None, None))]
                    for part, mean in zip(parts.tolist(), means.tolist(), strict=True)
                ]
                document.setdefault("rows", []).append({"entry": place, "values": values})
    return {"kinds": list(kinds.values())}


def _interval(result: Result, name: str) -> tuple[float, float] | None:
    metric = result.metrics.get(name)
    return None if metric is None else metric.ci95


def samples_json(rows: Sequence[SampleRow], primary: str, truths: Truths) -> Json:
    """Return one part of the rows of a result, a list a column."""
    kinds = dict.fromkeys(kind for row in rows for kind in row.slices)
    return {
        "ids": [row.sample_id for row in rows],
        "images": [row.image_id for row in rows],
        "failed": [row.reason or "failed" if row.status != "ok" else "" for row in rows],
        "scores": [finite(row.scores.get(primary)) for row in rows],
        "answers": [truths.answer(row.sample_id, row.response) for row in rows],
        "slices": {kind: [row.slices.get(kind) for row in rows] for kind in kinds},
    }


def truth_json(truth: SampleView | None, pictures: Pictures) -> Json:
    """Return a sample as people see it; ``{}`` where it may not be shown."""
    if truth is None:
        return {}
    names = [name for name in map(pictures.name, truth.images) if name]
    document: Json = {"question": truth.question, "references": list(truth.references)}
    return {**document, "pictures": names} if names else document


class Pictures:
    """The pictures that the samples of a site show, by the name of their file."""

    def __init__(self) -> None:
        """Start without any."""
        self.images: dict[str, ImageRef] = {}

    def name(self, image: ImageRef) -> str | None:
        """Return the file name of a picture, and keep the picture; None for a kind that browsers do not show."""
        suffix = image.name.rpartition(".")[2].lower()
        if suffix not in FORMATS:
            return None
        edits = [edit.content() for edit in image.edits]
        name = content_key(image.source.describe(image.name), *edits)[:16] + f".{suffix}"
        self.images.setdefault(name, image)
        return name


def picture_bytes(image: ImageRef) -> bytes:
    """Return the file of a picture as it is, or encoded anew where it has edits.

    Raises ``DataError`` where it cannot be read or encoded.
    """
    if not image.edits:
        return image.source.read(image.name)
    encoded = io.BytesIO()
    try:
        image.load().save(encoded, FORMATS[image.name.rpartition(".")[2].lower()], quality=90)
    except (OSError, ValueError) as error:
        where = image.source.describe(image.name)
        raise DataError(f"image {where} cannot be encoded with its marks ({error})") from error
    return encoded.getvalue()


def comparison_json(found: Comparison, labels: tuple[str, str], truths: Truths, pictures: Pictures) -> Json:
    """Return a comparison with its flipped samples, most changed first, as many as a page shows."""
    return {
        "id": comparison_id(found.first, found.second),
        "labels": list(labels),
        "signature": found.first.signature,
        "task": found.first.task.name,
        "metric": metric_json(found.first.primary_metric),
        "primary": None if found.primary is None else difference_json(found.primary),
        "exploratory": [difference_json(one) for one in found.exploratory],
        "flipped": len(found.flips),
        "better": [sum(f.first > f.second for f in found.flips), sum(f.second > f.first for f in found.flips)],
        "flips": [
            {
                "id": flip.sample_id,
                "image": flip.image_id,
                "scores": [finite(flip.first), finite(flip.second)],
                "answers": [truths.answer(flip.sample_id, response) for response in flip.responses],
                **truth_json(truths.by_id.get(flip.sample_id), pictures),
            }
            for flip in found.flips[:FLIPS]
        ],
    }


def comparison_id(first: Result, second: Result) -> str:
    """Return the id of the comparison of two results, which is the same in either order."""
    return content_key("compare", *sorted((result_id(first), result_id(second))))[:DIGITS]


def difference_json(found: Difference) -> Json:
    """Return one row of a table of differences."""
    return {
        **metric_json(found.metric),
        "first": found.first,
        "second": found.second,
        "difference": found.difference,
        "ci95": list(found.ci95) if found.ci95 else None,
        "p": found.p,
        "adjusted": found.adjusted,
        "detectable": found.detectable,
    }


def finite(value: float | None) -> float | None:
    """Return ``value``, or None where JSON has no number for it."""
    return None if value is None or not math.isfinite(value) else value


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as one level of texts."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = printable(str(value))
    return flat
