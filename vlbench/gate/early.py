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
from vlbench.stats.betting import exceeds, falls_below, interval
from vlbench.stats.compare import paired_rows, refuse_other_signature
from vlbench.stats.draws import passes
from vlbench.stats.drop import Drop, drop_sign, metric_value, reach
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
    from vlbench.stats.draws import Pass
    from vlbench.types import SampleRow

LOOKS = 100


@dataclass(frozen=True)
class Followed:
    """A task under way: what it is compared with, by which rule; ``kept`` has all rows in the order of the first."""

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

    Each of them has one of ``baselines``.

    Raises ``UsageError`` for a metric or a task that cannot be followed sample by sample.
    """
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
    rows = [(scored.result, run.task.followed(scored.rows, metric)) for scored in kept.values()]
    ordered = [Scored(result, paired_rows(rows[0], (result, own))) for result, own in rows]
    return Followed(run, rule, metric, dict(zip(kept, ordered, strict=True)))


def _scores(rows: Sequence[SampleRow], metric: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([row.scores.get(metric, math.nan) for row in rows], dtype=np.float64)


def _check_reach(scores: np.ndarray[Any, np.dtype[np.float64]], metric: str) -> None:
    if ((scores < 0.0) | (scores > reach(metric))).any():
        raise UsageError(f"--early-stop needs scores between 0 and {reach(metric):g}, and {metric} has others")


def _follow(execution: Execution, followed: Followed, model: str, seed: int, max_failures: int) -> list[Check]:
    """Look at samples in random order until every comparison of the task is decided."""
    run, first = followed.run, next(iter(followed.kept.values()))
    images = np.unique(np.array([row.image_id for row in first.rows], dtype=object), return_inverse=True)[1]
    random = np.random.default_rng(int(content_key("order", seed, run.signature), 16))
    ways = passes(images, followed.rule.estimand == BENCHMARK, random)
    rows: dict[int, SampleRow] = {}
    decided: dict[str, Check] = {}

    def undecidable(verdict: Verdict, reason: str) -> list[Check]:
        return [_check(followed, "baseline", model, verdict, len(rows), reason=reason)]

    for way, end in [(each, end) for each in ways for end in each.looks(LOOKS)]:
        places = [place for place in way.seen(end).tolist() if place not in rows]
        try:
            rows.update(zip(places, _answers(execution, followed, places), strict=True))
        except (EvaluationFailed, NotComparable) as error:
            failure = isinstance(error, EvaluationFailed)
            return undecidable(Verdict.FAILED if failure else Verdict.NOT_COMPARABLE, str(error))
        failed = [row for row in rows.values() if row.status != "ok"]
        if len(failed) > max_failures:
            reason = f"{len(failed)} samples failed; the first: {failed[0].sample_id}: {failed[0].reason}"
            return undecidable(Verdict.FAILED, reason)
        for against in followed.kept.keys() - decided.keys():
            found = _look(followed.kept[against], followed, way, end, rows, last=way is ways[-1] and end == way.count)
            if found is not None:
                decided[against] = _check(followed, against, model, found[0], len(rows), found[1])
        if len(decided) == len(followed.kept):
            break
    return [decided[against] for against in followed.kept]


def _answers(execution: Execution, followed: Followed, places: Sequence[int]) -> list[SampleRow]:
    if not places:
        return []
    run, (expected, *others) = followed.run, [kept.rows for kept in followed.kept.values()]
    rounds = run.task.rounds_of(run.dataset, run.protocol, followed.metric, places)
    try:
        rows = execution.drive([(run, rounds)])[run.task.name]
    except Exception as error:  # the model's own code: that it broke is the finding
        raise EvaluationFailed(why_failed(error)) from error
    if [row.sample_id for row in rows] != [expected[place].sample_id for place in places]:
        raise NotComparable(f"the samples of {run.task.name} are not those of the baseline")
    metric = followed.metric
    if any(
        metric in kept[place].scores and metric not in row.scores
        for row, place in zip(rows, places, strict=True)
        for kept in (expected, *others)
    ):
        raise UsageError(f"--early-stop cannot follow {metric} of {run.task.name}: it is not scored sample by sample")
    _check_reach(_scores([row for row in rows if metric in row.scores], metric), metric)
    return rows


def _look(
    kept: Scored, followed: Followed, way: Pass, end: int, rows: Mapping[int, SampleRow], *, last: bool
) -> tuple[Verdict, Drop] | None:
    """Judge the first ``end`` draws of a pass, whose samples ``rows`` has by place; None while it is not certain."""
    rule, metric, places = followed.rule, followed.metric, way.seen(end)
    before, after = _scores(kept.rows, metric), _scores([rows[place] for place in places.tolist()], metric)
    scored = ~np.isnan(before)
    there = scored[places]
    drops = np.zeros(len(before))
    drops[places] = np.where(there, drop_sign(kept.result, metric) * (after - before[places]), 0.0)
    units = way.units(drops, scored.astype(np.float64), reach(metric), end)
    count = max(int(there.sum()), 1)
    value = float(units.sums.sum()) / count
    means = float(before[places][there].sum()) / count, float(after[there].sum()) / count
    if way.whole and end == way.count:
        drop = Drop(*means, value, value, value)
        return judge(drop, rule.max_drop), drop
    alpha = rule.alpha * way.share
    if exceeds(units, rule.max_drop, alpha, rule.max_drop):
        verdict = Verdict.REGRESSED
    elif falls_below(units, rule.max_drop, alpha, rule.max_drop):
        verdict = Verdict.PASS
    elif last:
        verdict = Verdict.INCONCLUSIVE
    else:
        return None
    low, high = interval(units, alpha, rule.max_drop)
    low = max(low, rule.max_drop) if verdict is Verdict.REGRESSED else low
    high = min(high, rule.max_drop) if verdict is Verdict.PASS else high
    return verdict, Drop(*means, value, low, high)


def _check(
    followed: Followed,
    against: str,
    model: str,
    verdict: Verdict,
    seen: int,
    drop: Drop | None = None,
    reason: str = "",
) -> Check:
    kept = followed.kept[against]
    names = kept.result.model.name, model
    task = followed.run.task.name
    return Check(task, against, followed.metric, followed.rule, verdict, reason, names, drop, seen, len(kept.rows))
