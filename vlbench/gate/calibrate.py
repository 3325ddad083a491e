"""Calibration: how far scores move when only seed, precision or batch size change, and the rule that allows it.

The suggested ``max_drop`` is the smallest with which every one of these runs passes against the first one, either way
round: what is less would call a model worse than itself, or leave the check inconclusive. By the population it is
therefore never less than what so many images can show, even where no run scores otherwise.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlbench.errors import EvaluationFailed, UsageError
from vlbench.gate.results import evaluated
from vlbench.gate.verdict import check_metrics, measure
from vlbench.leaderboard.columns import scale, shown
from vlbench.leaderboard.comparison import text_table
from vlbench.leaderboard.groups import printable
from vlbench.runner.devices import pick_devices

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from vlbench.gate.baseline import Scored
    from vlbench.gate.rules import Rule, Rules
    from vlbench.plugins import Plugins
    from vlbench.runner.options import RunOptions
    from vlbench.runner.progress import Reporter
    from vlbench.stats.drop import Drop

SCHEMA = "vlbench.calibration/1"
BATCHES = (8, 16)
"""The batch size that is tried, and the one where that is the first run's own."""
SEEDS = 2
HEADINGS = ("task", "changed", "metric", "first", "changed run", "drop", "bounds")


@dataclass(frozen=True)
class Repeat:
    """A run with one thing changed, and what the metric of a task lost by it."""

    task: str
    changed: str
    metric: str
    drop: Drop


@dataclass(frozen=True)
class Calibration:
    """The suggested rule of each task, the runs that it rests on, and what could not be run, with the reason."""

    rules: Mapping[str, Rule]
    repeats: tuple[Repeat, ...]
    skipped: Mapping[str, str]


def calibrate(
    model: str, tasks: Sequence[str], options: RunOptions, plugins: Plugins, reporter: Reporter, rules: Rules
) -> Calibration:
    """Run ``model`` as ``options`` say, and again with one of seed, precision and batch size changed.

    Raises ``EvaluationFailed`` where the first run fails; ``UsageError`` for random weights: each seed makes others.
    """
    first = _whole(evaluated(model, tasks, options, plugins, reporter, {}))
    for scored in first.values():
        if scored.result.model.random_weights:
            raise UsageError(
                f"{model} has random weights: another seed is another model, and nothing can be calibrated"
            )
    check_metrics(first, rules)
    dtype = next(iter(first.values())).result.model.dtype
    repeats: list[Repeat] = []
    skipped: dict[str, str] = {}
    for changed, changes in _changes(options, dtype):
        reporter.say(f"calibrate: {changed}")
        try:
            found = _whole(evaluated(model, tasks, dataclasses.replace(options, **changes), plugins, reporter, {}))
        except EvaluationFailed as error:
            skipped[changed] = str(error)
            continue
        for task, scored in found.items():
            repeats.append(Repeat(task, changed, *measure(first[task], scored, rules.of(task))))
    return Calibration({task: _suggested(task, repeats, rules.of(task)) for task in first}, tuple(repeats), skipped)


def _whole(found: Mapping[str, Scored | str]) -> dict[str, Scored]:
    """Return results of which no sample failed; raises ``EvaluationFailed`` with the reason for any other."""
    whole = {}
    for task, scored in found.items():
        if isinstance(scored, str):
            raise EvaluationFailed(scored)
        counts = scored.result.samples
        if counts.failed:
            raise EvaluationFailed(f"{counts.failed} samples of {task} failed; the first: {counts.failures[0]}")
        whole[task] = scored
    return whole


def _changes(options: RunOptions, dtype: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for seed in range(options.seed + 1, options.seed + 1 + SEEDS):
        yield f"seed {seed}", {"seed": seed}
    half = ("float16",) if pick_devices(options.device)[0].startswith("cuda") else ()
    for other in ("float32", "bfloat16", *half):
        if other != dtype:
            yield f"dtype {other}", {"dtype": other}
    size = next(size for size in BATCHES if size != options.batch_size)
    yield f"batch size {size}", {"batch_size": size}


def _suggested(task: str, repeats: Sequence[Repeat], rule: Rule) -> Rule:
    own = [repeat for repeat in repeats if repeat.task == task]
    if not own:
        raise EvaluationFailed(f"{task}: no run with anything changed came to an end, so that nothing can be suggested")
    return dataclasses.replace(
        rule,
        metric=own[0].metric,
        max_drop=rounded_up(max(max(repeat.drop.high, -repeat.drop.low) for repeat in own)),
    )


def rounded_up(value: float) -> float:
    """Return the least number of two digits that is not below ``value``.

    >>> rounded_up(0.01234), rounded_up(0.5), rounded_up(0.0)
    (0.013, 0.5, 0.0)
    """
    if value <= 0.0:
        return 0.0
    digits = 1 - math.floor(math.log10(value))
    step = 10.0**digits
    return round(math.ceil(round(value * step, 9)) / step, max(digits, 0))


def to_toml(found: Calibration, there: Container[str] = ()) -> str:
    """Return the rules as ``vlbench.toml`` has them, below comments with the runs that they rest on.

    Rules of tasks that are ``there`` already are comments too: TOML has a table once.
    """
    rows = [_cells(repeat) for repeat in found.repeats]
    lines = [f"# {line}".rstrip() for line in text_table(HEADINGS, rows).splitlines()]
    lines += [f"# not run: {changed}: {printable(reason)}" for changed, reason in found.skipped.items()]
    for task, rule in found.rules.items():
        name = task if re.fullmatch(r"[A-Za-z0-9_-]+", task) else json.dumps(task)
        if not any(repeat.drop.value for repeat in found.repeats if repeat.task == task):
            why = "what these samples cannot tell from no drop" if rule.max_drop else "0"
            lines.append(f"# {printable(task)}: no run scored otherwise than the first, max_drop is {why};")
            lines.append("# allow what you would not call a loss")
        table = [f"[check.{name}]", f"metric = {json.dumps(rule.metric)}", f"max_drop = {rule.max_drop!r}"]
        table += [f"alpha = {rule.alpha!r}", f"estimand = {json.dumps(rule.estimand)}"]
        if task in there:
            lines.append(f"# {printable(task)} has a rule already; in its place:")
        lines += [f"# {line}" for line in table] if task in there else table
    return "\n".join([*lines, ""])


def to_json(found: Calibration) -> str:
    """Return one document: the suggested rules, and the runs."""
    document = {"schema": SCHEMA, **dataclasses.asdict(found)}
    return json.dumps(document, indent=2) + "\n"


def _cells(repeat: Repeat) -> list[str]:
    factor, drop = scale(repeat.metric).factor, repeat.drop
    numbers = [shown(repeat.metric, drop.baseline), shown(repeat.metric, drop.current), f"{drop.value * factor:.4g}"]
    bounds = f"[{drop.low * factor:.4g}, {drop.high * factor:.4g}]"
    return [printable(repeat.task), repeat.changed, printable(repeat.metric), *numbers, bounds]
