"""The gate that stops early: samples in a seeded random order, until the verdict is certain.

The rule is that of every check. Only the bounds differ: they hold however often one looks (``vlbench.stats.betting``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vlbench.errors import EvaluationFailed, NotComparable, UsageError
from vlbench.gate.baseline import Scored
from vlbench.gate.results import why_failed
from vlbench.gate.rules import BENCHMARK, Rule
from vlbench.gate.verdict import Check, Verdict, check_results, judge
from vlbench.runner.driver import prepare
from vlbench.runner.journal import Journal
from vlbench.runner.lock import exclusive
from vlbench.runner.rounds import Execution
from vlbench.runner.scoring import batch_sizes
from vlbench.stats.betting import Units, exceeds, falls_below, interval
from vlbench.stats.compare import refuse_other_signature
from vlbench.stats.drop import Drop, drop_sign, metric_value
from vlbench.types import content_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vlbench.gate.baseline import Baseline
    from vlbench.gate.rules import Rules
    from vlbench.plugins import Plugins
    from vlbench.runner.driver import Prepared
    from vlbench.runner.options import RunOptions
    from vlbench.runner.progress import Reporter
    from vlbench.runner.rounds import TaskRun
    from vlbench.types import SampleRow

LOOKS = 100
REACHES = {"CIDEr": 10.0, "CLIPScore": 2.5}
"""The highest score of a sample, by the first letters of the metric's name; 1 for any other."""


@dataclass(frozen=True)
class Followed:
    """A task under way: what it is compared with, by which rule."""

    run: TaskRun
    rule: Rule
    metric: str
    kept: Mapping[str, Scored]


def check_early(
    model: str,
    tasks: Sequence[str],
    options: RunOptions,
    plugins: Plugins,
    reporter: Reporter,
    baselines: Mapping[str, Baseline],
    rules: Rules,
    max_failures: int = 0,
) -> list[Check]:
    """Check ``model`` on ``tasks``, each until its verdict is certain; no result is written.

    Raises ``UsageError`` for a metric or a task that cannot be followed sample by sample.
    """
    for task in tasks:
        if task not in baselines:
            raise UsageError(f"there is no baseline of {task} (there are: {', '.join(baselines)})")
    try:
        prepared = prepare(model, tasks, options, plugins, reporter)
    except Exception as error:
        return check_results(dict.fromkeys(tasks, why_failed(error)), baselines, rules)
    checks: list[Check] = []
    todo = []
    for run in prepared.runs:
        try:
            todo.append(_followed(run, baselines[run.task.name], rules.of(run.task.name), model))
        except NotComparable as error:
            rule = rules.of(run.task.name)
            metric = rule.metric or run.task.primary_metric
            checks.append(Check(run.task.name, "baseline", metric, rule, Verdict.NOT_COMPARABLE, str(error)))
    with contextlib.closing(prepared.engine), _executing(prepared, options, reporter) as execution:
        for followed in todo:
            checks += _follow(execution, followed, model, options.seed, max_failures)
    return checks


@contextlib.contextmanager
def _executing(prepared: Prepared, options: RunOptions, reporter: Reporter) -> Iterator[Execution]:
    """Open engine and journal; the journal goes when the checks are done, and a killed check resumes from it."""
    adapter, engine = prepared.finished.adapter, prepared.engine
    identity = content_key("early", prepared.finished.identity(prepared.runs))
    path = options.output / ".journal" / f"{identity[:32]}.records"

    def waiting() -> None:
        reporter.say("the same check is under way in another process; waiting for it")

    with exclusive(path.with_suffix(".lock"), waiting):
        header = {"batch_sizes": batch_sizes(adapter, options.batch_size)}
        try:
            with contextlib.closing(Journal(path, header)) as journal:
                yield Execution(engine, journal, reporter, adapter.logit_scale)
            path.unlink()
        finally:
            reporter.stop()


def _followed(run: TaskRun, found: Baseline, rule: Rule, model: str) -> Followed:
    kept = {"baseline": found.baseline, **({"anchor": found.anchor} if found.moved else {})}
    metric = rule.metric or found.baseline.result.primary_metric
    reason = run.task.scored_together()
    if reason:
        raise UsageError(f"--early-stop cannot follow {run.task.name}: {reason}")
    for scored in kept.values():
        named = dataclasses.replace(scored.result.model, name=model)
        refuse_other_signature(scored.result, dataclasses.replace(scored.result, model=named, signature=run.signature))
        value, scores = metric_value(scored.result, metric), _scores(scored.rows, metric)
        there = scores[~np.isnan(scores)]
        if not len(there) or not math.isclose(there.mean(), value, rel_tol=1e-9, abs_tol=1e-9):
            raise UsageError(
                f"--early-stop cannot follow {metric} of {run.task.name}: it is no mean of scores of single samples"
            )
        _check_reach(there, metric)
    rows = {against: run.task.followed(scored.rows, metric) for against, scored in kept.items()}
    return Followed(run, rule, metric, {against: Scored(one.result, rows[against]) for against, one in kept.items()})


def _scores(rows: Sequence[SampleRow], metric: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([row.scores.get(metric, math.nan) for row in rows], dtype=np.float64)


def _reach(metric: str) -> float:
    return next((reach for start, reach in REACHES.items() if metric.startswith(start)), 1.0)


def _check_reach(scores: np.ndarray[Any, np.dtype[np.float64]], metric: str) -> None:
    if ((scores < 0.0) | (scores > _reach(metric))).any():
        raise UsageError(f"--early-stop needs scores between 0 and {_reach(metric):g}, and {metric} has others")


def _follow(execution: Execution, followed: Followed, model: str, seed: int, max_failures: int) -> list[Check]:
    """Look at images in random order until every comparison of the task is decided."""
    run, first = followed.run, next(iter(followed.kept.values()))
    ids, numbers = np.unique(np.array([row.image_id for row in first.rows], dtype=object), return_inverse=True)
    members: list[list[int]] = [[] for _ in ids]
    for place, number in enumerate(numbers.tolist()):
        members[number].append(place)
    random = np.random.default_rng(int(content_key("order", seed, run.signature), 16))
    order = [members[i] for i in random.permutation(len(ids)).tolist()]
    step = math.ceil(len(order) / LOOKS)
    rows: list[SampleRow] = []
    decided: dict[str, Check] = {}
    for end in range(step, len(order) + step, step):
        places = [place for image in order[end - step : end] for place in image]
        try:
            rows += _answers(execution, followed, places)
        except (EvaluationFailed, NotComparable) as error:
            verdict = Verdict.FAILED if isinstance(error, EvaluationFailed) else Verdict.NOT_COMPARABLE
            return [_check(followed, "baseline", model, verdict, rows, reason=str(error))]
        failed = [row for row in rows if row.status != "ok"]
        if len(failed) > max_failures:
            reason = f"{len(failed)} samples failed; the first: {failed[0].sample_id}: {failed[0].reason}"
            return [_check(followed, "baseline", model, Verdict.FAILED, rows, reason=reason)]
        for against in followed.kept.keys() - decided.keys():
            verdict, drop = _look(followed, against, order[:end], rows)
            if verdict is not Verdict.INCONCLUSIVE or end >= len(order):
                decided[against] = _check(followed, against, model, verdict, rows, drop)
        if len(decided) == len(followed.kept):
            break
    return [decided[against] for against in followed.kept]


def _answers(execution: Execution, followed: Followed, places: Sequence[int]) -> list[SampleRow]:
    run, expected = followed.run, next(iter(followed.kept.values())).rows
    rounds = run.task.rounds_of(run.dataset, run.protocol, followed.metric, places)
    try:
        rows = execution.drive([(run, rounds)])[run.task.name]
    except Exception as error:  # the model's own code: that it broke is the finding
        raise EvaluationFailed(why_failed(error)) from error
    if [row.sample_id for row in rows] != [expected[place].sample_id for place in places]:
        raise NotComparable(f"the samples of {run.task.name} are not those of the baseline")
    metric = followed.metric
    if any(
        metric in expected[place].scores and metric not in row.scores for row, place in zip(rows, places, strict=True)
    ):
        raise UsageError(f"--early-stop cannot follow {metric} of {run.task.name}: it is not scored sample by sample")
    _check_reach(_scores([row for row in rows if metric in row.scores], metric), metric)
    return rows


def _look(
    followed: Followed, against: str, images: Sequence[Sequence[int]], rows: Sequence[SampleRow]
) -> tuple[Verdict, Drop]:
    """Judge what was seen so far; ``rows`` are those of ``images``, in that order."""
    kept, rule, metric = followed.kept[against], followed.rule, followed.metric
    by_id = {row.sample_id: row for row in kept.rows}
    before, after = _scores([by_id[row.sample_id] for row in rows], metric), _scores(rows, metric)
    there = ~np.isnan(before) & ~np.isnan(after)
    drops = np.where(there, drop_sign(kept.result, metric) * (after - before), 0.0)
    starts = np.cumsum([0, *(len(image) for image in images[:-1])])
    sums, sizes = np.add.reduceat(drops, starts), np.add.reduceat(there.astype(np.float64), starts)
    every = ~np.isnan(_scores(kept.rows, metric))
    total = len({row.image_id for row in kept.rows})
    largest = max(np.unique([row.image_id for row in kept.rows], return_counts=True)[1].tolist())
    finite = (total, int(every.sum())) if rule.estimand == BENCHMARK else (None, None)
    units = Units(sums, sizes, _reach(metric), largest, *finite)
    count = max(float(sizes.sum()), 1.0)
    value = float(sums.sum()) / count
    means = float(before[there].sum()) / count, float(after[there].sum()) / count
    if rule.estimand == BENCHMARK and len(images) == total:
        drop = Drop(*means, value, value, value)
        return judge(drop, rule.max_drop), drop
    low, high = interval(units, rule.alpha, rule.max_drop)
    if exceeds(units, rule.max_drop, rule.alpha, rule.max_drop):
        return Verdict.REGRESSED, Drop(*means, value, max(low, rule.max_drop), high)
    if falls_below(units, rule.max_drop, rule.alpha, rule.max_drop):
        return Verdict.PASS, Drop(*means, value, low, min(high, rule.max_drop))
    return Verdict.INCONCLUSIVE, Drop(*means, value, low, high)


def _check(
    followed: Followed,
    against: str,
    model: str,
    verdict: Verdict,
    rows: Sequence[SampleRow],
    drop: Drop | None = None,
    reason: str = "",
) -> Check:
    kept = followed.kept[against]
    names = kept.result.model.name, model
    task = followed.run.task.name
    return Check(task, against, followed.metric, followed.rule, verdict, reason, names, drop, len(rows), len(kept.rows))
