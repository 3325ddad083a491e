"""CIDEr in both forms and BLEU, worked out by hand, against recorded scores, and against pycocoevalcap."""

from __future__ import annotations

import json
import math
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer

from vlbench.errors import DataError
from vlbench.metrics.bleu import bleu_counts
from vlbench.metrics.captions import score_captions
from vlbench.metrics.cider import cider
from vlbench.metrics.document_frequencies import (
    DocumentFrequencies,
    count_document_frequencies,
    read_document_frequencies,
)
from vlbench.metrics.ngrams import count_ngrams
from vlbench.metrics.ptb import tokenize

if TYPE_CHECKING:
    from pathlib import Path


def test_both_forms_by_hand() -> None:
    """Two images share no word, so every n-gram weighs log 2. The candidate repeats "a": only CIDEr-D minds that."""
    ngrams = count_ngrams(["a a b", "x"], [["a b"], ["x"]])
    scores = cider(ngrams)
    unigrams = 3 / math.sqrt(5 * 2), 2 / math.sqrt(5 * 2)  # of {a: 2, b: 1} and {a: 1, b: 1}; clipped to {a: 1, b: 1}
    bigrams = 1 / math.sqrt(2)  # of {a a, a b} and {a b}
    penalty = math.exp(-1 / 72)  # one bigram more
    assert scores.original[0] == pytest.approx(10 * (unigrams[0] + bigrams) / 4)
    assert scores.d[0] == pytest.approx(10 * (unigrams[1] + bigrams) / 4 * penalty)
    assert scores.original[1] == scores.d[1] == pytest.approx(2.5)


def test_given_document_frequencies_by_hand() -> None:
    """One image alone scores 0, as all its n-grams are in all documents; with frequencies of 4 images it does not."""
    ngrams = count_ngrams(["a b"], [["a c"]])
    assert cider(ngrams).d[0] == 0.0
    given = DocumentFrequencies(4, {"a": 2})
    a, b = math.log(4 / 2), math.log(4)
    assert cider(ngrams, given).d[0] == pytest.approx(10 * (a * a / (a * a + b * b)) / 4)
    scores = score_captions({1: "A b."}, {1: ["a c"]}, metrics=("CIDEr",), frequencies=given)
    assert scores.corpus["CIDEr"] == cider(ngrams, given).d[0]


def test_frequencies_of_the_references_themselves_change_nothing() -> None:
    references = [tokenize([f"a dog number {i % 3} runs.", "two dogs run"]) for i in range(7)]
    ngrams = count_ngrams(["a dog runs"] * 7, references)
    counted = count_document_frequencies(references)
    assert counted.images == 7 and counted.counts["a dog"] == 7 and counted.counts["number 0"] == 3
    read = read_document_frequencies(counted.to_bytes(), "df.json")
    assert read == counted
    assert np.array_equal(cider(ngrams, read).d, cider(ngrams).d)
    assert np.array_equal(cider(ngrams, read).original, cider(ngrams).original)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "df.json is empty"),
        (b"[]", "df.json: the document is a list, not an object"),
        (b"{}", "df.json is not a file of document frequencies; vlbench data df writes one"),
        (b'{"schema": "S"}', "df.json: images is null, not an integer"),
        (b'{"schema": "S", "images": 2}', "df.json: document_frequencies is null, not an object"),
        (b'{"schema": "S", "images": 0, "document_frequencies": {}}', "images is 0, not 1 or more"),
        (b'{"schema": "S", "images": 2, "document_frequencies": {"a": 3}}', "not a count from 1 to 2: a"),
        (b'{"schema": "S", "images": 2, "document_frequencies": {"b": true}}', "not a count from 1 to 2: b"),
    ],
)
def test_a_broken_file_is_one_clear_line(data: bytes, message: str) -> None:
    with pytest.raises(DataError) as error:
        read_document_frequencies(data.replace(b'"S"', b'"vlbench.document_frequencies/1"'), "df.json")
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "expected"), [("B", 0.7759289515821132), ("C", 0.6715315753808839)])
def test_the_whole_recorded_run(realdata: Path, name: str, expected: float) -> None:
    folder = realdata / "cider"
    texts: dict[str, list[str]] = {}
    for row in json.loads((folder / "abstract48S.json").read_text()):
        texts.setdefault(row["image_id"], []).append(row["caption"])
    candidates = json.loads((folder / f"abstract_cands{name}.json").read_text())
    references = [tokenize(texts[row["image_id"]]) for row in candidates]
    scores = cider(count_ngrams(tokenize([row["caption"] for row in candidates]), references))
    recorded = json.loads((folder / "expected_official_corpus_idf.json").read_text())
    assert scores.original.mean() == pytest.approx(expected, abs=1e-12)
    run = recorded[f"abstract48S.json|abstract_cands{name}.json"]
    assert scores.d == pytest.approx(run["CIDErD_per_cand"], abs=1e-12)
    assert scores.original == pytest.approx(run["CIDEr_per_cand"], abs=1e-12)


def test_equal_to_pycocoevalcap_on_a_thousand_images() -> None:
    """Words repeat within captions, lengths run from 0 to 12, and images have 1 to 6 references."""
    rng = random.Random(1)
    words = ["a", "b", "c", "d", "e", "f", "g", "in\xa0on", "of"]

    def caption(shortest: int) -> str:
        return " ".join(rng.choice(words) for _ in range(rng.randint(shortest, 12)))

    candidates = [caption(0) for _ in range(1000)]
    references = [[caption(0 if k else 1) for k in range(rng.randint(1, 6))] for _ in range(1000)]
    bleu, weighed = BleuScorer(n=4), CiderScorer(n=4, sigma=6.0)
    for pair in zip(candidates, references, strict=True):
        bleu += pair
        weighed += pair
    corpus, per_image = bleu.compute_score(option="closest", verbose=0)
    ngrams = count_ngrams(candidates, references)
    counts = bleu_counts(ngrams)
    assert counts.corpus() == pytest.approx(corpus, abs=1e-12)
    assert [*zip(*counts.per_image(), strict=True)] == [pytest.approx(values, abs=1e-12) for values in per_image]
    assert cider(ngrams).d == pytest.approx(weighed.compute_score()[1], abs=1e-12)


@pytest.mark.parametrize("candidates", [[""], ["", ""], ["a", ""], ["a b c d e", "f"]])
def test_captions_without_words(candidates: list[str]) -> None:
    ngrams = count_ngrams(candidates, [[""] for _ in candidates])
    assert cider(ngrams).d.tolist() == cider(ngrams).original.tolist() == [0.0] * len(candidates)
    assert bleu_counts(ngrams).correct.sum() == 0
