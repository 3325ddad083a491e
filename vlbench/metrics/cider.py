"""CIDEr in both forms that are in use, and document frequencies that are given instead of counted.

``CIDEr`` is what coco-caption computes under that name: CIDEr-D, with clipped counts and a Gaussian penalty on the
difference in length. ``CIDEr_original`` is the first form of the paper, a plain cosine. Both weigh an n-gram by how few
images of the corpus have it in their references. Source: Vedantam et al. 2015; ``cider_scorer.py`` of pycocoevalcap
and of the authors' repository.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vlbench.metrics.document_frequencies import DocumentFrequencies
    from vlbench.metrics.ngrams import CaptionNgrams, Order

__all__ = ["CiderScores", "cider", "document_frequency"]

SIGMA = 6.0


@dataclass(frozen=True)
class CiderScores:
    """CIDEr-D and original CIDEr of n images: float64 arrays of shape (n,), times ten as is customary."""

    d: NDArray[np.float64]
    original: NDArray[np.float64]


class _Similarity(NamedTuple):
    """One number a reference, for each form."""

    d: NDArray[np.float64]
    original: NDArray[np.float64]


def cider(ngrams: CaptionNgrams, given: DocumentFrequencies | None = None) -> CiderScores:
    """Score the candidates; document frequencies are those of the references, unless they are ``given``.

    An n-gram that no reference of the corpus has weighs as one that a single image has.
    """
    total = np.log(float(ngrams.images if given is None else given.images))
    references = len(ngrams.image)
    d, original = np.zeros((2, references, len(ngrams.orders)))
    for column, order in enumerate(ngrams.orders):
        if given is None:
            frequency = document_frequency(order, ngrams)
        else:
            frequency = np.array([given.counts.get(text, 0) for text in ngrams.spelled(order)], dtype=np.int64)
        weight = total - np.log(np.maximum(frequency, 1).astype(np.float64))
        d[:, column], original[:, column] = _similarity(ngrams, order, weight)
    bigrams = np.maximum(ngrams.reference_words - 1, 0)
    apart = np.maximum(ngrams.candidate_words - 1, 0)[ngrams.image] - bigrams
    # Python's power, as in the official scorer: numpy's may differ in the last digit.
    penalty = {gap: np.e ** (-(float(gap) ** 2) / (2 * SIGMA**2)) for gap in set(apart.tolist())}
    d *= np.array([penalty[gap] for gap in apart.tolist()]).reshape(-1, 1)
    return CiderScores(_mean(ngrams, d), _mean(ngrams, original))


def document_frequency(order: Order, ngrams: CaptionNgrams) -> NDArray[np.int64]:
    """Return for each n-gram of ``order`` the number of images whose references have it."""
    holders = np.unique(ngrams.image[order.references.caption] * order.distinct + order.references.ngram)
    return np.bincount(holders % max(order.distinct, 1), minlength=order.distinct)


def _similarity(ngrams: CaptionNgrams, order: Order, weight: NDArray[np.float64]) -> _Similarity:
    """Return the cosine of each reference with its image's candidate over the n-grams of one order."""
    candidate = order.candidates.times * weight[order.candidates.ngram]
    reference = order.references.times * weight[order.references.ngram]
    norms = np.sqrt(np.bincount(order.candidates.caption, candidate**2, ngrams.images))[ngrams.image]
    norms = norms * np.sqrt(np.bincount(order.references.caption, reference**2, len(ngrams.image)))
    norms[norms == 0] = 1.0
    theirs, ours = reference[order.pairs[:, 0]], candidate[order.pairs[:, 1]]
    owner = order.references.caption[order.pairs[:, 0]]
    clipped, plain = (
        np.bincount(owner, products, len(ngrams.image)) / norms
        for products in (np.minimum(ours, theirs) * theirs, ours * theirs)
    )
    return _Similarity(clipped, plain)


def _mean(ngrams: CaptionNgrams, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average over references and orders, in the official order of operations."""
    summed = np.stack([np.bincount(ngrams.image, column, ngrams.images) for column in values.T], axis=1)
    references = np.bincount(ngrams.image, minlength=ngrams.images)
    return np.asarray(summed.mean(axis=1) / references * 10.0)
