"""Corpus values of the caption metrics from per-image statistics, for any choice of images.

A bootstrap over images draws some images several times and some not at all. BLEU and METEOR of such a corpus follow
from summed counts, CIDEr (under the document frequencies of the full set) and ROUGE-L are means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vlbench.errors import UsageError
from vlbench.metrics.meteor import meteor_from_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["CaptionStatistics", "corpus_from_statistics", "stack_statistics"]

_COUNTS = ("bleu_correct", "bleu_guess", "bleu_length", "bleu_reference_length", "meteor")
_MEANS = ("ROUGE_L", "CIDEr")


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
        values = _bleu(totals["bleu_correct"], totals["bleu_guess"], *lengths)
        corpus |= {f"Bleu_{order}": value for order, value in enumerate(values, start=1)}
    if "meteor" in totals:
        corpus["METEOR"] = meteor_from_statistics(totals["meteor"])
    return corpus


def _bleu(
    correct: NDArray[np.float64], guess: NDArray[np.float64], length: float, reference_length: float
) -> list[float]:
    """Return BLEU-1..4; the two small numbers are the official scorer's, and part of the value."""
    small, tiny = 1e-9, 1e-15
    ratio = (length + tiny) / (reference_length + small)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    values = []
    product = 1.0
    for order, (right, tried) in enumerate(zip(correct.tolist(), guess.tolist(), strict=True), start=1):
        product *= (right + tiny) / (tried + small)
        values.append(product ** (1.0 / order) * brevity)
    return values
