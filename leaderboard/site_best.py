"""Which models of a group are the best: by significance, not by value."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlbench.errors import NotComparable
from vlbench.stats.compare import compare
from vlbench.stats.permutation import holm
from vlbench.types import SampleRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vlbench.result import Result

ALPHA = 0.05

Rows = list[SampleRow]


@dataclass(frozen=True)
class Standing:
    """How a result stands to the one with the best value: ``p`` is Holm's, None where no test could be made."""

    best: bool
    p: float | None


def slim(result: Result, rows: Iterable[SampleRow]) -> tuple[Result, Rows]:
    """Return a result and its rows with the primary metric alone, which is all that a test against the leader needs."""
    name = result.primary_metric
    kept = [
        SampleRow(row.sample_id, row.image_id, "", row.status, {name: row.scores[name]} if name in row.scores else {})
        for row in rows
    ]
    return dataclasses.replace(result, metrics={name: result.metrics[name]}), kept


def against_leader(leader: tuple[Result, Rows], other: tuple[Result, Rows]) -> float | None:
    """Return the p-value of the paired test between two results; None where their samples allow none."""
    try:
        found = compare(leader, other, draws=0).primary
    except NotComparable:
        return None
    return None if found is None else found.p


def standings(values: Sequence[float | None], p: Sequence[float | None]) -> list[Standing]:
    """Return how each result stands; ``values`` are in the order of rank, ``p`` those of tests against the first.

    The first is among the best, and so is every other whose difference from it is not significant after Holm's
    correction, or is none. One that could not be tested is not called best. A single result is not best of anything.

    >>> [one.best for one in standings([0.9, 0.89, 0.5, None], [None, 0.3, 0.001, None])]
    [True, True, False, False]
    """
    tested = [i for i, one in enumerate(p) if one is not None and values[i] is not None]
    adjusted = dict(zip(tested, holm([p[i] for i in tested]), strict=True))  # type: ignore[misc]
    there = sum(value is not None for value in values)
    found = []
    for i, value in enumerate(values):
        tied = i == 0 or value == values[0] or adjusted.get(i, 0.0) >= ALPHA
        found.append(Standing(there > 1 and value is not None and tied, adjusted.get(i)))
    return found
