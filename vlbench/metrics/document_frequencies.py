"""Files of document frequencies, by which CIDEr can weigh the words of a small set as a large one does.

A file is one JSON object: ``schema``, the number of ``images`` that were counted, and ``document_frequencies``: for
each n-gram of one to four tokens (joined by blanks) the number of those images whose references have it. N-grams of a
single image are left out: one that is unknown weighs the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlbench.data.checks import expect, first_few
from vlbench.data.source import parse_json
from vlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["DocumentFrequencies", "count_document_frequencies", "read_document_frequencies"]

SCHEMA = "vlbench.document_frequencies/1"


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many of ``images`` images each n-gram occurs; those that are not in ``counts`` are in at most one."""

    images: int
    counts: Mapping[str, int]

    def to_bytes(self) -> bytes:
        """Return the file, the same bytes for the same counts."""
        document = {"schema": SCHEMA, "images": self.images, "document_frequencies": dict(sorted(self.counts.items()))}
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def count_document_frequencies(references: Sequence[Sequence[str]]) -> DocumentFrequencies:
    """Count over the captions of n images, which are tokenised as CIDEr has them."""
    from vlbench.metrics.cider import document_frequency
    from vlbench.metrics.ngrams import count_ngrams
    from vlbench.metrics.ptb import tokenize

    tokens = iter(tokenize([text for texts in references for text in texts]))
    tokenized = [[next(tokens) for _ in texts] for texts in references]
    ngrams = count_ngrams([""] * len(tokenized), tokenized)
    counts = {}
    for order in ngrams.orders:
        pairs = zip(ngrams.spelled(order), document_frequency(order, ngrams).tolist(), strict=True)
        counts.update({text: count for text, count in pairs if count > 1})
    return DocumentFrequencies(len(tokenized), counts)


def read_document_frequencies(data: bytes, where: Path | str) -> DocumentFrequencies:
    """Read a file; raises ``DataError`` naming it where it is not one or its counts are impossible."""
    document = expect(parse_json(data, str(where)), dict, f"{where}: the document")
    if document.get("schema") != SCHEMA:
        raise DataError(f"{where} is not a file of document frequencies; vlbench data df writes one")
    images = expect(document.get("images"), int, f"{where}: images")
    counts = expect(document.get("document_frequencies"), dict, f"{where}: document_frequencies")
    if images < 1:
        raise DataError(f"{where}: images is {images}, not 1 or more")
    wrong = [text for text, count in counts.items() if type(count) is not int or not 1 <= count <= images]
    if wrong:
        raise DataError(f"{where}: not a count from 1 to {images}: {first_few(wrong)}")
    return DocumentFrequencies(images, counts)
