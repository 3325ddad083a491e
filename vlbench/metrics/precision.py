"""Precision over all right items of a query: mAP@R and R-precision, exact, with ties resolved in expectation.

R is the number of right items of a query. R-precision is the share of right items among the first R. Average precision
at R is (1/R) * sum over k = 1 … R of rel_k * P@k, where rel_k tells whether the item in place k is right and P@k is the
precision of the first k places (Musgrave et al. 2020, A Metric Learning Reality Check).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlbench.metrics.retrieval import expected_hit

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Placement:
    """Where the right items of one query stand: groups of equal score that hold some, best first.

    Three int64 arrays of shape (groups,): items strictly ``above`` the group, its ``size``, and its ``right`` items.
    """

    above: Ints
    size: Ints
    right: Ints

    @classmethod
    def of(cls, scores: npt.NDArray[np.floating], right: Sequence[int] | Ints) -> Placement:
        """Place the ``right`` items among all by their ``scores`` (m,); NaN: not retrievable."""
        good = scores[np.asarray(right, dtype=np.int64)]
        levels, counts = np.unique(good[~np.isnan(good)], return_counts=True)
        if not len(levels):
            none = np.zeros(0, dtype=np.int64)
            return cls(none, none, none)
        high = np.sort(scores[scores >= levels[0]])
        ends = np.searchsorted(high, levels, side="right")
        sizes = ends - np.searchsorted(high, levels, side="left")
        return cls((len(high) - ends)[::-1], sizes[::-1], counts[::-1])

    def hit(self, k: int) -> float:
        """Return the expected hit at ``k``: whether any right item is among the first ``k``."""
        if not len(self.above):
            return 0.0
        return expected_hit(k, int(self.above[0]), int(self.size[0] - self.right[0]), int(self.right[0]))

    def r_precision(self, relevant: int) -> float:
        """Return the expected share of right items in the first R = ``relevant`` places."""
        places = np.clip(relevant - self.above, 0, self.size)
        return float(np.sum(self.right * places / self.size)) / relevant

    def average_precision(self, relevant: int) -> float:
        """Return the expected average precision at R = ``relevant``.

        In a group of n items of which p are right, each place holds a right one with probability p/n, and any two of
        its places both do with p(p-1) / n(n-1).
        """
        total, before = 0.0, 0
        for above, n, p in zip(self.above.tolist(), self.size.tolist(), self.right.tolist(), strict=True):
            if above >= relevant:
                break
            inside = np.arange(min(n, relevant - above))
            earlier = inside * ((p - 1) / (n - 1)) if n > 1 else 0.0
            total += float(np.sum(p / n * (before + 1 + earlier) / (above + 1 + inside)))
            before += p
        return total / relevant
