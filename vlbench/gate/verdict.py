"""Verdicts: pass, regressed, inconclusive, not comparable, failed."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlbench.errors import NotComparable
from vlbench.gate.rules import BENCHMARK
from vlbench.stats.compare import paired_rows
from vlbench.stats.drop import benchmark_drop, metric_value, population_drop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.gate.baseline import Baseline, Scored
    from vlbench.gate.rules import Rule, Rules
    from vlbench.stats.drop import Drop

_SLACK = 1e-12


class Verdict(enum.Enum):
    """What came of a check, with its exit code."""

    PASS = ("pass", 0)
    INCONCLUSIVE = ("inconclusive", 5)
    NOT_COMPARABLE = ("not comparable", 3)
    FAILED = ("failed", 4)
    REGRESSED = ("regressed", 1)

    @property
    def word(self) -> str:
        """The verdict in words."""
        return self.value[0]

    @property
    def exit_code(self) -> int:
        """The exit code of ``vlbench check``."""
        return self.value[1]


@dataclass(frozen=True)
class Check:
    """One task against its baseline or its anchor.

    ``reason`` tells why there is no drop to judge; ``seen`` are the samples looked at, of ``samples``.
    """

    task: str
    against: str
    metric: str
    rule: Rule
    verdict: Verdict
    reason: str = ""
    models: tuple[str, str] = ("", "")
    drop: Drop | None = None
    seen: int = 0
    samples: int = 0


def worst(checks: Sequence[Check]) -> Verdict:
    """Return the verdict that counts: a proven regression before all, then failed, not comparable, inconclusive."""
    order = list(Verdict)
    return max((check.verdict for check in checks), key=order.index)


def judge(drop: Drop, max_drop: float) -> Verdict:
    """Return regressed where the drop is shown to exceed ``max_drop``, pass where it is shown not to."""
    if drop.low > max_drop + _SLACK:
        return Verdict.REGRESSED
    return Verdict.PASS if drop.high <= max_drop + _SLACK else Verdict.INCONCLUSIVE


def check_results(
    scored: Mapping[str, Scored | str], baselines: Mapping[str, Baseline], rules: Rules, max_failures: int = 0
) -> list[Check]:
    """Check results by task against baselines; a text in place of a result tells why there is none."""
    checks: list[Check] = []
    for task, current in scored.items():
        rule = rules.of(task)
        if isinstance(current, str):
            checks.append(Check(task, "baseline", rule.metric or "", rule, Verdict.FAILED, current))
        elif task not in baselines:
            checks.append(no_baseline(task, baselines, rules))
        else:
            found = baselines[task]
            pairs = [("baseline", found.baseline), *([("anchor", found.anchor)] if found.moved else [])]
            checks += [_check(against, kept, current, rule, max_failures) for against, kept in pairs]
    return checks


def no_baseline(task: str, baselines: Mapping[str, Baseline], rules: Rules) -> Check:
    """Return what comes of a task that has no baseline."""
    rule = rules.of(task)
    reason = f"there is no baseline of {task} (there are: {', '.join(baselines)})"
    return Check(task, "baseline", rule.metric or "", rule, Verdict.NOT_COMPARABLE, reason)


def _check(against: str, kept: Scored, current: Scored, rule: Rule, max_failures: int) -> Check:
    result = current.result
    metric = rule.metric or kept.result.primary_metric

    def say(verdict: Verdict, reason: str = "", drop: Drop | None = None) -> Check:
        models = (kept.result.model.name, result.model.name)
        count = len(kept.rows)
        return Check(result.task.name, against, metric, rule, verdict, reason, models, drop, len(current.rows), count)

    if result.samples.failed > max_failures:
        first = next(iter(result.samples.failures), "not named")
        return say(Verdict.FAILED, f"{result.samples.failed} samples failed; the first: {first}")
    try:
        drop = measure(kept, current, rule)[1]
    except NotComparable as error:
        return say(Verdict.NOT_COMPARABLE, str(error))
    return say(judge(drop, rule.max_drop), "", drop)


def check_metrics(kept: Mapping[str, Scored], rules: Rules) -> None:
    """Raise ``UsageError`` where the metric of a rule has no value in a result: before anything is compared with it."""
    for task, scored in kept.items():
        metric_value(scored.result, rules.of(task).metric or scored.result.primary_metric)


def measure(kept: Scored, current: Scored, rule: Rule) -> tuple[str, Drop]:
    """Return the metric of a rule and its drop from ``kept``; raises ``NotComparable`` for other samples."""
    metric = rule.metric or kept.result.primary_metric
    rows = paired_rows((kept.result, kept.rows), (current.result, current.rows))
    metric_value(kept.result, metric)
    if rule.estimand == BENCHMARK:
        return metric, benchmark_drop(kept.result, current.result, metric)
    return metric, population_drop((kept.result, current.result), (kept.rows, rows), metric, rule.alpha)
