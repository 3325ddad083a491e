"""Results as matplotlib figures: scores with intervals, differences between models, and slices.

Nothing is drawn on one axis that is not on one scale: percent have an axis of their own, and so has each other metric.
Only this module knows matplotlib, which comes with ``vlbench[plot]``; figures need no display.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vlbench.errors import DataError, UsageError
from vlbench.leaderboard.columns import is_main, is_percent, scale, short_name, shown
from vlbench.leaderboard.groups import MARKS, group_results, in_order, labels, printable
from vlbench.stats import DRAWS
from vlbench.stats.bootstrap import intervals
from vlbench.stats.estimators import Samples, check_column, slice_means

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vlbench.leaderboard.groups import Group
    from vlbench.result import Result
    from vlbench.stats.compare import Comparison
    from vlbench.types import SampleRow

FORMATS = (".png", ".svg", ".pdf")
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Okabe and Ito's colours, which colour-blind people can tell apart; further models are hatched."""
HATCHES = ("", "///", "...", "xxx")
PERCENT = "percent"
WIDTH, DPI = 8.0, 150
_ROW, _MARK, _HEAD = 0.34, 0.24, 0.9
"""Inches that a row of a panel, each further model in it, and the surroundings of a panel take."""


@dataclass(frozen=True)
class Mark:
    """One value of one model: a bar or a point. ``text`` stands beside it; ``strong`` sets it off."""

    model: str
    value: float
    ends: tuple[float, float] | None
    text: str
    strong: bool = True


@dataclass(frozen=True)
class Row:
    """A line of a panel: what was measured, by which metric, and the values of the models."""

    label: str
    metric: str
    marks: Sequence[Mark]


def plot_result(result: Result, all_metrics: bool = False) -> Figure:
    """Return the metrics of a result with their intervals, as tables show them."""
    names = [name for name in result.metrics if all_metrics or is_main(name)]
    rows = [Row(short_name(name), name, _marks(result, name, result.model.name)) for name in names]
    notes = [_where(result), *_explained(group_results([result]))]
    return _figure(rows, f"{result.model.name} on {result.task.name}", notes, legend=False)


def plot_results(results: Sequence[Result]) -> Figure:
    """Return the primary metrics of models over tasks; only results of one signature share a row."""
    rows = []
    groups = group_results(in_order(results))
    for group in groups:
        marks = "".join(mark for mark in MARKS if any(mark in entry.marks for entry in group.entries))
        metric = group.first.primary_metric
        label = f"{group.first.task.name}  {short_name(metric)}{f'  {marks}' if marks else ''}\n{_place(group)}"
        rows.append(Row(label, metric, [mark for e in group.entries for mark in _marks(e.result, metric, e.label)]))
    return _figure(rows, "Primary metrics, 95 % intervals", _explained(groups))


def plot_comparisons(comparisons: Sequence[Comparison]) -> Figure:
    """Return differences in the primary metric with their intervals; full points are significant after correction."""
    rows = []
    for one in comparisons:
        if one.primary is not None:
            name, found = one.primary.metric, one.primary
            text = f"{found.difference * scale(name).factor:+.3g}  p {found.adjusted:.2g}"
            mark = Mark(one.second.model.name, found.difference, found.ci95, text, found.adjusted < 0.05)
            label = f"{one.first.task.name}  {short_name(name)}\n{one.second.model.name} − {one.first.model.name}"
            rows.append(Row(label, name, [mark]))
    note = f"p: Holm over {len(comparisons)} comparisons; filled where it is below 0.05"
    return _figure(
        rows, "Differences on the same samples, 95 % intervals", [note], points=True, legend=False, zero=True
    )


def plot_slices(scored: Sequence[tuple[Result, Sequence[SampleRow]]], column: str, draws: int = DRAWS) -> Figure:
    """Return the primary metric in each part of a column of the samples; all results must share a signature.

    Raises ``UsageError`` where they do not, or where there is no such column or no score of single samples.
    """
    first = scored[0][0]
    if len({result.signature for result, _ in scored}) > 1:
        raise UsageError("--slice draws results of one signature; name the task, or the files")
    values: dict[str, list[Mark]] = {}
    metric = first.primary_metric
    for name, (result, rows) in zip(labels([result for result, _ in scored]), scored, strict=True):
        samples = Samples(rows)
        check_column(samples, column, first.task.name)
        means = slice_means(samples, metric, [column], np.ones(len(rows), dtype=np.bool_), len(rows))
        ends = intervals(rows, means, draws, result.signature)
        for part, mean in means.items():
            own = Mark(name, mean, ends.get(part), shown(metric, mean))
            values.setdefault(part.removeprefix(f"{metric}/{column}/"), []).append(own)
    if not values:
        raise UsageError(f"{metric} of {first.task.name} has no value by {column}: fewer than two parts have a score")
    lines = [Row(part, metric, marks) for part, marks in values.items()]
    notes = [_where(first), *_explained(group_results([result for result, _ in scored]))]
    return _figure(lines, f"{short_name(metric)} on {first.task.name} by {column}", notes, points=True)


def save_plot(figure: Figure, path: Path) -> None:
    """Write a figure by the suffix of ``path``; equal figures give equal SVG and PNG files."""
    import matplotlib

    path = Path(path)
    check_format(path)
    stamp: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "vlbench", "svg.fonttype": "none"}):
            figure.savefig(path, dpi=DPI, metadata=stamp)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror or error}); choose another --out") from error


def check_format(path: Path) -> None:
    """Raise ``UsageError`` for a suffix that is no format of plots."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path} is no file of a plot; its name ends in {', '.join(FORMATS)}")


def _marks(result: Result, metric: str, model: str) -> list[Mark]:
    found = result.metrics.get(metric)
    if found is None or found.value is None:
        return []
    return [Mark(model, found.value, found.ci95, shown(metric, found.value))]


def _where(result: Result) -> str:
    task = result.task
    counts = ", ".join(f"{count} {name}" for name, count in task.counts.items())
    limit = f", first {task.limit} samples" if task.limit is not None else ""
    return f"{task.dataset} {task.split} ({counts}{limit}), protocol {task.protocol}"


def _explained(groups: Sequence[Group]) -> list[str]:
    """Return what a reader of the numbers must not overlook, a line each."""
    there = {mark for group in groups for entry in group.entries for mark in entry.marks}
    return [f"{mark}: {meaning}" for mark, meaning in MARKS.items() if mark in there]


def _place(group: Group) -> str:
    task = group.first.task
    seen = {"": "", "dataset": ", trained on it"}.get(group.exposure, ", images seen")
    return f"{task.dataset} {task.split}, {task.protocol}{seen}"


def _figure(
    rows: Sequence[Row],
    title: str,
    notes: Sequence[str],
    points: bool = False,
    legend: bool = True,
    zero: bool = False,
) -> Figure:
    """Return a figure with one panel a scale, rows from top to bottom in their order; ``zero``: of differences."""
    there = [row for row in rows if row.marks]
    if not there:
        raise UsageError("there is no value to plot")
    figure_class = _figure_class()
    panels: dict[str, list[Row]] = {}
    for row in there:
        panels.setdefault(PERCENT if is_percent(row.metric) else row.metric.partition("/")[0], []).append(row)
    models = list(dict.fromkeys(mark.model for row in there for mark in row.marks))
    heights = [_HEAD + sum(_ROW + _MARK * len(row.marks) for row in own) for own in panels.values()]
    figure: Figure = figure_class(figsize=(WIDTH, sum(heights) + 0.5 + 0.2 * len(notes)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    styles = {model: _style(place) for place, model in enumerate(models)}
    for (name, own), panel in zip(panels.items(), axes, strict=True):
        _draw(panel, own, styles, points)
        panel.set_xlabel("points" if zero and name == PERCENT else _text(name))
        if zero:
            panel.axvline(0.0, color="0.3", lw=1)
    figure.suptitle(_text(title), fontsize=11, fontweight="bold")
    if legend and len(models) > 1:
        _legend(figure, styles)
    if notes:
        figure.supxlabel(_text("\n".join(notes)), fontsize=7, color="0.35")
    return figure


def _figure_class() -> type[Figure]:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise UsageError("plots need matplotlib: pip install 'vlbench[plot]'") from error
    return Figure


def _style(place: int) -> tuple[str, str]:
    return COLOURS[place % len(COLOURS)], HATCHES[place // len(COLOURS) % len(HATCHES)]


def _draw(panel: Axes, rows: Sequence[Row], styles: Mapping[str, tuple[str, str]], points: bool) -> None:
    """Draw the rows of one panel, the first on top."""
    place, ticks, furthest = 0.0, [], 0.0
    for row in rows:
        factor = scale(row.metric).factor
        ticks.append(place + (len(row.marks) - 1) / 2)
        for mark in row.marks:
            colour, hatch = styles[mark.model]
            value = mark.value * factor
            low, high = (end * factor for end in mark.ends or (mark.value, mark.value))
            reach = [[max(0.0, value - low)], [max(0.0, high - value)]]
            if points:
                face = colour if mark.strong else "white"
                panel.errorbar(value, place, xerr=reach, fmt="o", color=colour, mfc=face, ms=6, capsize=3, lw=1.5)
            else:
                panel.barh(place, value, height=0.82, color=colour, hatch=hatch, edgecolor="white", linewidth=0.4)
                panel.errorbar(value, place, xerr=reach, fmt="none", ecolor="0.15", capsize=2.5, lw=1.1)
            panel.annotate(
                mark.text, (max(high, value), place), (5, 0), textcoords="offset points", va="center", fontsize=8
            )
            furthest = max(furthest, high, value)
            place += 1.0
        place += 0.6
    panel.set_yticks(ticks, [_text(row.label) for row in rows], fontsize=8)
    panel.set_ylim(place - 0.9, -0.7)
    panel.tick_params(axis="y", length=0)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="x", color="0.9")
    panel.set_axisbelow(True)
    if points:
        panel.margins(x=0.2)
    elif furthest > 0:
        panel.set_xlim(0, furthest * 1.14)


def _legend(figure: Figure, styles: Mapping[str, tuple[str, str]]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=_text(model))
        for model, (colour, hatch) in styles.items()
    ]
    figure.legend(handles=handles, loc="outside upper right", fontsize=8, frameon=False, ncols=min(3, len(handles)))


def _text(text: str) -> str:
    """Return a text that is drawn as it stands: without control characters, and with no formulas in it."""
    return "\n".join(printable(line) for line in text.split("\n")).replace("$", r"\$")
