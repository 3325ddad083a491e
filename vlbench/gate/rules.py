"""The rules of the gate, from ``vlbench.toml``.

::

    [check]                   # for every task
    alpha = 0.05
    [check.vqa]               # for one task
    metric = "accuracy"       # default: the primary metric
    max_drop = 0.01           # in the metric's own unit
    estimand = "population"   # or "benchmark"
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vlbench.errors import DataError, UsageError
from vlbench.plugins import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

POPULATION, BENCHMARK = "population", "benchmark"
ESTIMANDS = (POPULATION, BENCHMARK)
TABLE = "check"


@dataclass(frozen=True)
class Rule:
    """What one task is held to.

    ``metric`` None stands for the primary one. ``max_drop`` is the drop that is tolerated, in the metric's own unit;
    ``alpha`` the chance of a wrong verdict. ``estimand`` tells what the drop is of: the population that the images
    stand for, or this very benchmark.
    """

    metric: str | None = None
    max_drop: float = 0.01
    alpha: float = 0.05
    estimand: str = POPULATION


@dataclass(frozen=True)
class Rules:
    """Rules by task, and the rule for any other."""

    default: Rule = field(default_factory=Rule)
    tasks: Mapping[str, Rule] = field(default_factory=dict)

    def of(self, task: str) -> Rule:
        """Return the rule of ``task``."""
        return self.tasks.get(task, self.default)

    def override(self, **given: Any) -> Rules:
        """Return the rules with what the command line gave (not None) in every one of them."""
        changes = {name: value for name, value in given.items() if value is not None}
        rules = {task: _checked(dataclasses.replace(rule, **changes), "") for task, rule in self.tasks.items()}
        return Rules(_checked(dataclasses.replace(self.default, **changes), ""), rules)


def read_rules(path: Path) -> Rules:
    """Read the rules of a file; raises ``DataError`` where it is no TOML and ``UsageError`` for an unknown key."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as TOML ({error})") from error
    for name in document:
        if name != TABLE:
            raise UsageError(f"{path}: unknown table [{name}]{nearest(name, [TABLE])} (there is: [{TABLE}])")
    table = document.get(TABLE, {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {TABLE} is not a table")
    common = {key: value for key, value in table.items() if not isinstance(value, dict)}
    default = _rule(common, f"{path}: [{TABLE}]")
    tasks = {
        task: _rule({**common, **own}, f"{path}: [{TABLE}.{task}]")
        for task, own in table.items()
        if isinstance(own, dict)
    }
    return Rules(default, tasks)


def _rule(table: Mapping[str, Any], where: str) -> Rule:
    known = [f.name for f in dataclasses.fields(Rule)]
    for key in table:
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}{nearest(key, known)} (there are: {', '.join(known)})")
    return _checked(Rule(**table), f"{where}: ")


def _checked(rule: Rule, where: str) -> Rule:
    if rule.metric is not None and not isinstance(rule.metric, str):
        raise UsageError(f"{where}metric {rule.metric!r} is not a text")
    if not _number(rule.max_drop) or rule.max_drop < 0:
        raise UsageError(f"{where}max_drop {rule.max_drop!r} is not a number from 0")
    if not _number(rule.alpha) or not 0 < rule.alpha < 0.5:
        raise UsageError(f"{where}alpha {rule.alpha!r} is not a number between 0 and 0.5")
    if rule.estimand not in ESTIMANDS:
        raise UsageError(f"{where}estimand {rule.estimand!r} is none of {', '.join(ESTIMANDS)}")
    return rule


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
