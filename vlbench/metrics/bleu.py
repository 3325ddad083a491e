"""BLEU-1..4 as coco-caption computes it: clipped counts, the closest reference length, of two the shorter.

Source: Papineni et al. 2002; pycocoevalcap's ``bleu_scorer.py``, whose two small numbers are part of the value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlbench.metrics.ngrams import ORDERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vlbench.metrics.ngrams import CaptionNgrams

__all__ = ["BleuCounts", "bleu_counts", "bleu_from_counts"]


@dataclass(frozen=True)
class BleuCounts:
    """Counts of n images: n-grams found and tried, (n, 4); words of the candidate and of its closest reference, (n,).

    All are int64; sums over images give the counts of a corpus.
    """

    correct: NDArray[np.int64]
    guess: NDArray[np.int64]
    length: NDArray[np.int64]
    reference_length: NDArray[np.int64]

    def per_image(self) -> list[list[float]]:
        """Return BLEU-1..4 of each image."""
        columns = (self.correct.tolist(), self.guess.tolist(), self.length.tolist(), self.reference_length.tolist())
        return [bleu_from_counts(*row) for row in zip(*columns, strict=True)]

    def corpus(self) -> list[float]:
        """Return BLEU-1..4 of all images together."""
        lengths = int(self.length.sum()), int(self.reference_length.sum())
        return bleu_from_counts(self.correct.sum(axis=0).tolist(), self.guess.sum(axis=0).tolist(), *lengths)


def bleu_counts(ngrams: CaptionNgrams) -> BleuCounts:
    """Count what BLEU needs."""
    correct = np.zeros((ngrams.images, ORDERS), dtype=np.int64)
    for column, order in enumerate(ngrams.orders):
        # An n-gram counts as often as it occurs in the one reference that has it most often.
        most = np.zeros(len(order.candidates.times), dtype=np.int64)
        np.maximum.at(most, order.pairs[:, 1], order.references.times[order.pairs[:, 0]])
        np.add.at(correct[:, column], order.candidates.caption, np.minimum(most, order.candidates.times))
    length = ngrams.candidate_words
    guess = np.maximum(length[:, None] - np.arange(ORDERS), 0)
    # The distance first and the length second in one number, so that its minimum is the closest, then the shortest.
    scale = int(ngrams.reference_words.max(initial=0)) + 1
    closest = np.full(ngrams.images, np.iinfo(np.int64).max)
    away = np.abs(ngrams.reference_words - length[ngrams.image])
    np.minimum.at(closest, ngrams.image, away * scale + ngrams.reference_words)
    return BleuCounts(correct, guess, length, closest % scale)


def bleu_from_counts(
    correct: Sequence[float], guess: Sequence[float], length: float, reference_length: float
) -> list[float]:
    """Return BLEU-1..4 of summed counts, each of four numbers; the lengths are in words."""
    small, tiny = 1e-9, 1e-15
    ratio = (length + tiny) / (reference_length + small)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    values = []
    product = 1.0
    for order, (right, tried) in enumerate(zip(correct, guess, strict=True), start=1):
        product *= (right + tiny) / (tried + small)
        values.append(product ** (1.0 / order) * brevity)
    return values
