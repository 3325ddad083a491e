"""n-grams of candidate and reference captions as arrays, counted once for BLEU and both forms of CIDEr.

The official scorers keep a dictionary a caption. Here all captions of a run are counted together; entries stand in the
order in which those dictionaries would hold them, so that sums over them round as the official ones do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

__all__ = ["ORDERS", "CaptionNgrams", "Order", "count_ngrams"]

ORDERS = 4


class Entries(NamedTuple):
    """One entry for each caption and distinct n-gram of it: index of the caption, n-gram, how often it occurs."""

    caption: Integers
    ngram: Integers
    times: Integers


@dataclass(frozen=True)
class Order:
    """The n-grams of one order. N-grams are numbered from 0 to ``distinct`` - 1.

    ``pairs``: (k, 2) indices of a reference's entry and of the entry of its image's candidate with the same n-gram, by
    reference, then by the candidate's entry. ``first``: where in the corpus each n-gram occurs first, as a word index.
    """

    n: int
    candidates: Entries
    references: Entries
    pairs: Integers
    first: Integers

    @property
    def distinct(self) -> int:
        """Number of different n-grams."""
        return len(self.first)


@dataclass(frozen=True)
class CaptionNgrams:
    """Counted captions of n images: one candidate an image, and m references over all images.

    ``image``: (m,) image of each reference. ``candidate_words`` (n,) and ``reference_words`` (m,): lengths in words.
    ``orders``: n-grams of 1 to 4 words. ``words``: all words in order.
    """

    image: Integers
    candidate_words: Integers
    reference_words: Integers
    orders: tuple[Order, ...]
    words: Sequence[str]

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.candidate_words)

    def spelled(self, order: Order) -> list[str]:
        """Return each n-gram of ``order`` as words joined by single blanks."""
        return [" ".join(self.words[at : at + order.n]) for at in order.first.tolist()]


def count_ngrams(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionNgrams:
    """Count the n-grams of tokenised captions, one candidate and one or more references for each of n images."""
    # As the official scorers do, this splits at the no-break blanks that some tokens hold.
    split = [text.split() for texts in ([*candidates], *references) for text in texts]
    words = [word for text in split for word in text]
    numbers: dict[str, int] = {}
    coded = np.fromiter((numbers.setdefault(word, len(numbers)) for word in words), np.int64, len(words))
    lengths = np.array([len(text) for text in split], dtype=np.int64)
    image = np.repeat(np.arange(len(references)), [len(texts) for texts in references])
    caption = np.repeat(np.arange(len(split)), lengths)
    orders = []
    ngram = coded
    for n in range(1, ORDERS + 1):
        if n > 1:
            # Beyond the end of a caption the numbers mean nothing; they are left out below.
            ngram = ngram[: max(len(coded) - n + 1, 0)] * len(numbers) + coded[n - 1 :]
        inside = np.flatnonzero(caption[: len(ngram)] == caption[n - 1 :])
        distinct, first, inverse = np.unique(ngram[inside], return_index=True, return_inverse=True)
        ngram = np.zeros(len(ngram), dtype=np.int64)
        ngram[inside] = inverse
        entries = _entries(caption[inside], ngram[inside], len(distinct))
        orders.append(_order(n, entries, len(candidates), image, inside[first]))
    return CaptionNgrams(image, lengths[: len(candidates)], lengths[len(candidates) :], tuple(orders), words)


def _entries(caption: Integers, ngram: Integers, distinct: int) -> Entries:
    """Count equal n-grams of a caption; entries in order of their first occurrence."""
    keys, first, count = np.unique(caption * distinct + ngram, return_index=True, return_counts=True)
    order = np.argsort(first)
    keys = keys[order]
    return Entries(keys // max(distinct, 1), keys % max(distinct, 1), count[order])


def _order(n: int, entries: Entries, images: int, image: Integers, first: Integers) -> Order:
    split = int(np.searchsorted(entries.caption, images))
    candidates = Entries(*(column[:split] for column in entries))
    references = Entries(entries.caption[split:] - images, entries.ngram[split:], entries.times[split:])
    pairs = _pairs(candidates, references, image, len(first))
    return Order(n, candidates, references, pairs, first)


def _pairs(candidates: Entries, references: Entries, image: Integers, distinct: int) -> Integers:
    """Find for each entry of a reference the entry of its image's candidate with the same n-gram."""
    keys = candidates.caption * distinct + candidates.ngram
    order = np.argsort(keys)
    wanted = image[references.caption] * distinct + references.ngram
    at = np.searchsorted(keys, wanted, sorter=order)
    found = np.flatnonzero(at < len(keys))
    found = found[keys[order[at[found]]] == wanted[found]]
    pairs = np.stack([found, order[at[found]]], axis=1)
    by_candidate = np.lexsort((pairs[:, 1], references.caption[pairs[:, 0]]))
    return pairs[by_candidate]
