"""The result file: schema ``vlbench.result/1``, one JSON document per model and task."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vlbench.errors import DataError
from vlbench.types import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

SCHEMA = "vlbench.result/1"


@dataclass(frozen=True)
class ModelInfo:
    """What was evaluated. ``fingerprint`` hashes weight bytes and config; ``parameters`` counts elements."""

    name: str
    adapter: str
    checkpoint: str
    fingerprint: str
    parameters: int
    dtype: str
    preprocessing: str
    random_weights: bool = False
    trained_on: tuple[str, ...] = ()
    provenance: str = "verified"
    revision: str | None = None


@dataclass(frozen=True)
class TaskInfo:
    """What was measured. ``fingerprint`` is the dataset's; ``partial`` tells that counts differ from the official."""

    name: str
    version: int
    dataset: str
    split: str
    protocol: str
    prompt: str
    fingerprint: str
    counts: Mapping[str, int]
    partial: bool
    limit: int | None = None


@dataclass(frozen=True)
class SampleCounts:
    """How many samples were attempted, scored and failed; the first failures by name with their reasons."""

    attempted: int
    scored: int
    failed: int
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """The scores of one model on one task, with everything that is needed to compare them."""

    run_id: str
    created: str
    model: ModelInfo
    task: TaskInfo
    signature: str
    samples: SampleCounts
    primary_metric: str
    metrics: Mapping[str, Metric]
    cost: Mapping[str, float | int | None]
    environment: Mapping[str, Any]
    command: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    truncated_fraction: float = 0.0
    notes: tuple[str, ...] = ()
    schema: str = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """Return the document in the order of the schema."""
        document: dict[str, Any] = {"schema": self.schema}
        document.update(dataclasses.asdict(self))
        document["metrics"] = {name: _metric_json(metric) for name, metric in self.metrics.items()}
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Result:
        """Read a document; raises ``KeyError``, ``TypeError`` or ``ValueError`` where it is malformed."""
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r} is not {SCHEMA!r}")
        known = {f.name for f in dataclasses.fields(cls)}
        fields = _plain_fields(cls, {name: value for name, value in document.items() if name in known})
        for name, kind in (("model", ModelInfo), ("task", TaskInfo), ("samples", SampleCounts)):
            fields[name] = kind(**_plain_fields(kind, fields[name]))
        fields["metrics"] = {name: _metric(value) for name, value in fields["metrics"].items()}
        arguments = fields.get("settings", {}).get("task_arguments", {})
        # Scripts may give numbers where the command line gives texts.
        if not isinstance(arguments, dict) or not all(isinstance(v, str | int | float) for v in arguments.values()):
            raise TypeError(f"settings.task_arguments is {arguments!r}, where values by name are needed")
        if fields["primary_metric"] not in fields["metrics"]:
            raise ValueError(f"the primary metric {fields['primary_metric']!r} is not among the metrics")
        return cls(**fields)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The metrics that are missing for a passing cause: the same command computes them again."""
        return tuple(name for name, metric in self.metrics.items() if metric.retry)

    @property
    def primary(self) -> float | None:
        """Value of the primary metric."""
        return self.metrics[self.primary_metric].value

    def plot(self, all_metrics: bool = False) -> Figure:
        """Return the metrics with their intervals as a matplotlib figure (``vlbench[plot]``)."""
        from vlbench.leaderboard.plots import plot_result

        return plot_result(self, all_metrics)

    def _repr_html_(self) -> str:
        from vlbench.api import to_html

        return to_html(self)


def _metric_json(metric: Metric) -> dict[str, Any]:
    document: dict[str, Any] = {"value": metric.value, "ci95": metric.ci95, "higher_is_better": metric.higher_is_better}
    if metric.reason is not None:
        document["reason"] = metric.reason
    if metric.retry:
        document["retry"] = True
    return document


_JSON: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "bool": (bool,),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "float | int | None": (int, float, type(None)),
    "Any": (object,),
}
"""What JSON has for the annotation of a field; of a tuple or a mapping for that of its items."""


def _plain_fields(kind: type, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a part of the document, lists as tuples.

    Raises ``KeyError`` for one that is missing, ``TypeError`` for one of another type.
    """
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name, field_ in fields.items():
        if name not in document and field_.default is field_.default_factory is dataclasses.MISSING:
            raise KeyError(name)
    plain: dict[str, Any] = {}
    for name, value in document.items():
        annotation = str(fields[name].type) if name in fields else "Any"
        outer, _, inner = annotation.removesuffix("]").partition("[")
        if outer == "tuple":
            good = isinstance(value, (list, tuple)) and all(_is(part, inner.removesuffix(", ...")) for part in value)
        elif outer == "Mapping" and (item := inner.removeprefix("str, ")) in _JSON:
            good = isinstance(value, dict) and all(_is(part, item) for part in value.values())
        else:
            good = _is(value, annotation)
        if not good:
            raise TypeError(f"{name} is {value!r}, where {annotation} is needed")
        plain[name] = tuple(value) if outer == "tuple" else value
    return plain


def _is(value: object, annotation: str) -> bool:
    kinds = _JSON.get(annotation, (object,))
    if isinstance(value, bool):
        return bool in kinds or object in kinds
    return isinstance(value, kinds) and (not isinstance(value, float) or math.isfinite(value))


def _metric(document: Mapping[str, Any]) -> Metric:
    interval = document.get("ci95")
    value = document["value"]
    told = {name: document[name] for name in ("higher_is_better", "reason", "retry") if name in document}
    return Metric(
        **_plain_fields(Metric, {"value": None if value is None else _finite(value), **told}),
        ci95=None if interval is None else (_finite(interval[0]), _finite(interval[1])),
    )


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return value


def read_result(path: Path) -> Result:
    """Read one result file; raises ``DataError`` naming the file where it is not one."""
    try:
        return Result.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a {SCHEMA} file ({type(error).__name__}: {error})") from error
