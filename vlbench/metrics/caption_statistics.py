"""Corpus values of the caption metrics from per-image statistics, for any choice of images.

A bootstrap over images draws some images several times and some not at all. BLEU and METEOR of such a corpus follow
from summed counts, CIDEr (under the document frequencies of the full set) and ROUGE-L are means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vlbench.errors import UsageError
from vlbench.metrics.bleu import bleu_from_counts
from vlbench.metrics.meteor import meteor_from_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["CaptionStatistics", "corpus_from_statistics", "stack_statistics"]

_COUNTS = ("bleu_correct", "bleu_guess", "bleu_length", "bleu_reference_length", "meteor")
_MEANS = ("ROUGE_L", "CIDEr", "CIDEr_original", "SPICE")


@dataclass(frozen=True)
class CaptionStatistics:
    """Statistics of n images by name, as float64 arrays of shape (n, …): (n, 4), (n,) or, for METEOR, (n, 23)."""

    arrays: Mapping[str, NDArray[np.float64]]
    n: int


def stack_statistics(rows: Sequence[Mapping[str, Any]]) -> CaptionStatistics:
    """Stack the ``statistics`` of n images; what is not in every row is left out."""
    names = [name for name in (*_COUNTS, *_MEANS) if rows and all(name in row for row in rows)]
    arrays = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in names}
    return CaptionStatistics(arrays, len(rows))


def corpus_from_statistics(statistics: CaptionStatistics, times: NDArray[np.int64] | None = None) -> dict[str, float]:
    """Return the corpus values of the images, each taken ``times`` (n integers, by default once).

    BLEU and METEOR equal the official scorers on such a corpus, CIDEr does so under fixed document frequencies.
    Raises ``UsageError`` where no image is taken.
    """
    weights = np.ones(statistics.n) if times is None else np.asarray(times, dtype=np.float64)
    if weights.shape != (statistics.n,) or not weights.sum() > 0:
        raise UsageError(f"give a count for each of the {statistics.n} images, and at least one above zero")
    totals = {name: weights @ array for name, array in statistics.arrays.items()}
    corpus = {name: float(totals[name] / weights.sum()) for name in _MEANS if name in totals}
    if "bleu_correct" in totals:
        lengths = float(totals["bleu_length"]), float(totals["bleu_reference_length"])
        values = bleu_from_counts(totals["bleu_correct"].tolist(), totals["bleu_guess"].tolist(), *lengths)
        corpus |= {f"Bleu_{order}": value for order, value in enumerate(values, start=1)}
    if "meteor" in totals:
        corpus["METEOR"] = meteor_from_statistics(totals["meteor"])
    return corpus
