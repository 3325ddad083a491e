"""Tables of results for machines and documents: JSON, CSV and Markdown.

JSON and CSV hold every metric as it is stored, unrounded; Markdown holds what the terminal shows.
"""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

from vlbench.leaderboard.columns import MISSING, is_main, is_percent, shown
from vlbench.leaderboard.groups import printable
from vlbench.leaderboard.reference_table import VERDICTS, difference, heading, source_lines, sources
from vlbench.leaderboard.references import beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.leaderboard.groups import Entry, Group
    from vlbench.leaderboard.references import Reference
    from vlbench.result import Result

CSV_COLUMNS = (
    "task",
    "dataset",
    "split",
    "protocol",
    "model",
    "metric",
    "value",
    "ci95_low",
    "ci95_high",
    "higher_is_better",
    "best",
    "reason",
    "partial",
    "limit",
    "random_weights",
    "trained_on_dataset",
    "exposure",
    "attempted",
    "failed",
    "truncated_fraction",
    "provenance",
    "adapter",
    "dtype",
    "fingerprint",
    "run_id",
    "created",
    "signature",
)


HUB_TASKS = {
    **dict.fromkeys(("coco_caption", "nocaps"), "image-to-text"),
    **dict.fromkeys(("vqa", "okvqa", "gqa", "vizwiz", "vcr", "vg_qa"), "visual-question-answering"),
    "zeroshot_classification": "zero-shot-image-classification",
}
"""The hub's names of tasks; it has none for retrieval and for choosing captions."""


def to_json(groups: Sequence[Group], references: Sequence[Reference] = ()) -> str:
    """Return a list of tables, one a signature, each with its results, best first.

    With ``references`` each result has the published scores that agree with it, under that name.
    """
    return json.dumps([_group(group, references) for group in groups], indent=2) + "\n"


def to_csv(groups: Sequence[Group]) -> str:
    """Return one row a result and metric; ``signature`` and ``metric`` tell which values may be compared."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for _, rows in to_rows(groups):
        writer.writerows(rows)
    return buffer.getvalue()


def to_rows(groups: Sequence[Group]) -> list[tuple[Result, list[dict[str, Any]]]]:
    """Return each result with its rows, one a metric, with values for all of ``CSV_COLUMNS``."""
    found = []
    for group in groups:
        for entry in group.entries:
            shared = {**_task(entry.result), **_about(entry.result), "trained_on_dataset": group.seen}
            shared["exposure"] = group.exposure
            rows = []
            for name, metric in _metrics(entry).items():
                low, high = metric.pop("ci95") or (None, None)
                row = {**shared, "metric": name, **metric, "ci95_low": low, "ci95_high": high}
                rows.append({key: row.get(key) for key in CSV_COLUMNS})
            found.append((entry.result, rows))
    return found


def to_markdown(groups: Sequence[Group], *, all_metrics: bool = False, references: Sequence[Reference] = ()) -> str:
    """Return one Markdown table a signature; the best values are bold."""
    return "\n".join(
        "\n".join([_markdown(group, group.chosen(all_metrics)), *_published(group, references)]) for group in groups
    )


def _published(group: Group, references: Sequence[Reference]) -> list[str]:
    """Return a Markdown table of the published scores beside each result of a group that has any."""
    blocks = []
    for result in (entry.result for entry in group.entries):
        found = beside(result, references)
        if not found:
            continue
        numbers = {source: number for number, source in enumerate(sources(found), 1)}
        lines = [
            _escape(heading(result)),
            "",
            _line(["published", "training", "metric", "value", "run differs", "95 %"]),
        ]
        lines.append(_line(["---"] * 3 + ["---:"] * 3))
        for one in found:
            published = one.reference
            model = _escape(f"{published.model} [{numbers[published.source]}]")
            value = shown(published.metric, published.value)
            cells = [model, published.training, _escape(published.metric), value]
            lines.append(_line([*cells, difference(one), VERDICTS[one.covered]]))
        blocks.append("\n".join([*lines, "", *(f"- {_escape(line)}" for line in source_lines(result, found)), ""]))
    return blocks


def _group(group: Group, references: Sequence[Reference]) -> dict[str, Any]:
    return {
        **_task(group.first),
        "primary_metric": group.first.primary_metric,
        "trained_on_dataset": group.seen,
        "exposure": group.exposure,
        "results": [_entry(entry, references) for entry in group.entries],
    }


def _entry(entry: Entry, references: Sequence[Reference]) -> dict[str, Any]:
    row = {**_about(entry.result), "marks": list(entry.marks), "metrics": _metrics(entry)}
    if references:
        row["references"] = [found.to_json() for found in beside(entry.result, references)]
    return row


def _task(result: Result) -> dict[str, Any]:
    task = result.task
    return {
        "signature": result.signature,
        "task": task.name,
        "dataset": task.dataset,
        "split": task.split,
        "protocol": task.protocol,
        "partial": task.partial,
        "limit": task.limit,
    }


def _about(result: Result) -> dict[str, Any]:
    model = result.model
    return {
        "model": model.name,
        "adapter": model.adapter,
        "dtype": model.dtype,
        "fingerprint": model.fingerprint,
        "random_weights": model.random_weights,
        "trained_on": list(model.trained_on),
        "provenance": model.provenance,
        "attempted": result.samples.attempted,
        "failed": result.samples.failed,
        "truncated_fraction": result.truncated_fraction,
        "run_id": result.run_id,
        "created": result.created,
    }


def _metrics(entry: Entry) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "value": metric.value,
            "ci95": metric.ci95,
            "higher_is_better": metric.higher_is_better,
            "best": name in entry.best,
            "reason": metric.reason,
        }
        for name, metric in entry.result.metrics.items()
    }


def _markdown(group: Group, names: Sequence[str]) -> str:
    percent = "in percent" if any(map(is_percent, names)) else ""
    others = [_escape(name) for name in names if not is_percent(name)]
    if percent and others:
        percent += f", but not {', '.join(others)}"
    marked = any(entry.marks for entry in group.entries)
    lines = [f"### {_escape(group.title)}", "", f"`{printable(group.signature).replace('`', '?')}`", ""]
    lines.append(_line(["model", *(["marks"] if marked else []), *map(_escape, names)]))
    lines.append(_line(["---", *(["---"] if marked else []), *("---:" for _ in names)]))
    for entry in group.entries:
        marks = [entry.marks] if marked else []
        lines.append(_line([_escape(entry.label), *marks, *(_cell(entry, name) for name in names)]))
    notes = ([percent] if percent else []) + [_escape(line) for line in group.legend(names)]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


def _cell(entry: Entry, name: str) -> str:
    metric = entry.result.metrics.get(name)
    if metric is None or metric.value is None:
        return MISSING
    text = shown(name, metric.value, metric.ci95)
    return f"**{text}**" if name in entry.best else text


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    """Return ``text`` so that Markdown shows it as it is: names come from other people."""
    return re.sub(r"([\\`*_{}\[\]<>|~#&!])", r"\\\1", printable(text))


def to_parquet(groups: Sequence[Group]) -> bytes:
    """Return the rows of ``to_csv`` as a Parquet file, with numbers as numbers; what a row lacks is null."""
    import pandas as pd

    rows = [row for _, found in to_rows(groups) for row in found]
    return bytes(pd.DataFrame(rows, columns=list(CSV_COLUMNS)).to_parquet(index=False))


def to_model_index(results: Sequence[Result]) -> str:
    """Return the metadata of a model card on the Hugging Face hub: YAML, with the results of one model.

    Values are as stored, unrounded; the signature, which tells what may be compared, is in the arguments of a metric.
    """
    import yaml
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    found = [
        EvalResult(
            task_type=HUB_TASKS.get(result.task.name, "image-text-to-text"),
            task_name=result.task.name,
            dataset_type=result.task.dataset,
            dataset_name=result.task.dataset,
            dataset_split=result.task.split,
            metric_type=name,
            metric_name=name,
            metric_value=metric.value,
            metric_args={"signature": result.signature, **({"ci95": list(metric.ci95)} if metric.ci95 else {})},
        )
        for result in results
        for name, metric in result.metrics.items()
        if metric.value is not None and is_main(name)
    ]
    index = eval_results_to_model_index(results[0].model.name, found)
    return yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True)
