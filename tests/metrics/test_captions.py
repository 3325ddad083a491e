"""Caption metrics: ids, empty captions, statistics, and METEOR where Java is missing or breaks off."""

from __future__ import annotations

import os
import shutil
import stat
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from vlbench.errors import DataError, UsageError
from vlbench.metrics.caption_statistics import corpus_from_statistics, stack_statistics
from vlbench.metrics.captions import METRICS, score_captions
from vlbench.metrics.java import JavaUnavailable
from vlbench.metrics.meteor import meteor_from_statistics, run_meteor

if TYPE_CHECKING:
    from pathlib import Path

    from vlbench.metrics.captions import CaptionScores

WITHOUT_JAVA = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr", "CIDEr_original")
REFERENCES = {
    1: ["A black dog runs over the grass.", "A dog is running on the lawn.", "The dog can't stop running."],
    2: ["Two men play tennis.", "A pair of men are playing tennis on a court."],
    3: ["A red bus is parked near the kerb.", "The big red bus waits."],
    4: ["A cat sleeps on a sofa.", "A cat is asleep."],
}
CANDIDATES = {
    1: "a dog runs on the grass",
    2: "Two men are playing tennis on a court.",
    3: "a bus",
    4: "A cat sleeps on a sofa.",
}
needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed")


@pytest.fixture(scope="module")
def full() -> CaptionScores[int]:
    """Score once: METEOR takes seconds to read its tables."""
    return score_captions(CANDIDATES, REFERENCES)


def test_values_worked_out_by_hand() -> None:
    """ "a b c d" against "a b x d": unigrams 3/4, bigrams 1/3, common subsequence 3 of 4 words."""
    scores = score_captions({7: "a b c d", 8: "x"}, {7: ["a b x d"], 8: ["y"]}, metrics=("Bleu_1", "ROUGE_L"))
    assert scores.image_ids == (7, 8)
    assert scores.corpus["Bleu_1"] == pytest.approx(3 / 5, rel=1e-8)
    assert scores.per_image["ROUGE_L"] == pytest.approx((0.75, 0.0))
    assert scores.statistics[0]["bleu_correct"] == [3, 1, 0, 0]
    assert scores.statistics[0]["bleu_guess"] == [4, 3, 2, 1]
    assert set(scores.corpus) == {"Bleu_1", "ROUGE_L"}


def test_the_closest_reference_length_counts_and_of_two_the_shorter() -> None:
    scores = score_captions({1: "a b c d"}, {1: ["a b c d e f", "a b", "a b c d e f g"]}, metrics=("Bleu_1",))
    assert scores.statistics[0]["bleu_length"] == 4
    assert scores.statistics[0]["bleu_reference_length"] == 2


def test_scores_do_not_depend_on_the_order_of_images() -> None:
    ahead = score_captions(CANDIDATES, REFERENCES, metrics=WITHOUT_JAVA)
    backwards = score_captions(dict(reversed(CANDIDATES.items())), REFERENCES, metrics=WITHOUT_JAVA)
    assert backwards.corpus == pytest.approx(ahead.corpus, abs=1e-12)
    assert backwards.per_image["CIDEr"] == pytest.approx(ahead.per_image["CIDEr"][::-1], abs=1e-12)


def test_an_empty_candidate_scores_zero_on_every_metric(full: CaptionScores[int]) -> None:
    references = {**REFERENCES, 5: ["!"], 6: ["A tree."]}
    scores = score_captions({**CANDIDATES, 5: "", 6: " ... "}, references)
    for values in scores.per_image.values():
        assert values[4:] == pytest.approx((0.0, 0.0), abs=1e-12)
    for metric, value in scores.corpus.items():
        if value is not None:
            assert 0 < value < (full.corpus[metric] or 0), metric


def test_only_empty_candidates_and_only_empty_references() -> None:
    nothing = score_captions(dict.fromkeys(REFERENCES, ""), REFERENCES)
    assert all(value == pytest.approx(0.0, abs=1e-12) for value in nothing.corpus.values() if value is not None)
    bare = score_captions({1: "a dog", 2: "a cat"}, {1: ["!"], 2: ["?"]}, metrics=WITHOUT_JAVA)
    assert bare.corpus["CIDEr"] == 0.0
    assert bare.corpus["Bleu_4"] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("candidates", "references", "message"),
    [
        ({}, {}, "no caption"),
        ({1: "a"}, {1: ["a"], 2: ["b"]}, "no candidate caption for image 2"),
        ({1: "a", 9: "b"}, {1: ["a"]}, "no reference captions for image 9"),
        ({1: "a"}, {1: []}, "no list of reference captions for image 1"),
        ({1: "a"}, {1: "a dog"}, "no list of reference captions for image 1"),
        ({1: "a", "1": "b"}, {1: ["a"], "1": ["b"]}, "image 1 more than once"),
        (dict.fromkeys(range(9), "a"), dict.fromkeys(range(20), ["a"]), "images 9, 10, 11, 12, 13 and 6 more"),
    ],
)
def test_ids_that_do_not_fit_are_named(
    candidates: dict[object, str], references: dict[object, list[str]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        score_captions(candidates, references)


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(UsageError, match="'BLEU'"):
        score_captions(CANDIDATES, REFERENCES, metrics=("BLEU",))


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """The official scorers print totals and progress; standard output belongs to ``--json``."""
    score_captions(CANDIDATES, REFERENCES)
    assert capfd.readouterr() == ("", "")


def test_what_is_switched_off_is_none_with_that_reason() -> None:
    scores = score_captions(CANDIDATES, REFERENCES, meteor="off")
    assert scores.corpus["SPICE"] is None
    assert scores.reasons == {
        "METEOR": "was switched off",
        "SPICE": "was not asked for (spice=auto)",
    }
    assert list(scores.corpus) == list(METRICS)


def _fake_java(folder: Path, script: str) -> None:
    java = folder / "java"
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(java.stat().st_mode | stat.S_IXUSR)


def test_meteor_without_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    scores = score_captions(CANDIDATES, REFERENCES)
    assert scores.corpus["METEOR"] is None
    assert "no java on the PATH" in scores.reasons["METEOR"]
    assert scores.corpus["CIDEr"] is not None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'Error: Could not reserve enough space' >&2; exit 1", "Could not reserve enough space"),
        ("exit 0", "ended without an answer"),
        ("read line; echo nonsense", "Java broke off"),
        ("while read line; do echo 1 2 3; done", "Java broke off: unexpected statistics"),
    ],
)
def test_meteor_where_java_breaks_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, reason: str
) -> None:
    _fake_java(tmp_path, script)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    scores = score_captions(CANDIDATES, REFERENCES, metrics=("METEOR",))
    assert scores.corpus == {"METEOR": None}
    assert reason in scores.reasons["METEOR"]


def test_meteor_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _fake_java(tmp_path, f"echo $$ > {tmp_path / 'pid'}; exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    started = time.monotonic()
    with pytest.raises(JavaUnavailable, match=r"stopped after 0\.5 s"):
        run_meteor(["a"], [["a"]], timeout=0.5)
    assert time.monotonic() - started < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize("seed", range(20))
def test_corpus_values_of_a_resample_equal_the_scorer_on_the_resample(seed: int) -> None:
    """BLEU from summed counts equals the official scorer on a corpus that holds the drawn images that many times."""
    scores = score_captions(CANDIDATES, REFERENCES, metrics=WITHOUT_JAVA)
    ids = np.array(scores.image_ids)
    times = np.random.default_rng(seed).multinomial(6, np.full(4, 0.25))
    drawn = {f"{image}-{copy}": int(image) for image, n in zip(ids, times, strict=True) for copy in range(n)}
    resampled = score_captions(
        {key: CANDIDATES[image] for key, image in drawn.items()},
        {key: REFERENCES[image] for key, image in drawn.items()},
        metrics=WITHOUT_JAVA,
    )
    ours = corpus_from_statistics(stack_statistics(scores.statistics), times)
    for metric in ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L"):
        assert ours[metric] == pytest.approx(resampled.corpus[metric], abs=1e-12)
    # CIDEr keeps the full set's document frequencies: the weighted mean of the per-image values.
    assert ours["CIDEr"] == pytest.approx(np.average(scores.per_image["CIDEr"], weights=times), abs=1e-12)


def test_corpus_values_of_the_whole_set(full: CaptionScores[int]) -> None:
    ours = corpus_from_statistics(stack_statistics(full.statistics))
    known = {metric: value for metric, value in full.corpus.items() if value is not None}
    assert ours == pytest.approx(known, abs=1e-12)


@needs_java
def test_meteor_of_a_resample_equals_java_on_the_resample() -> None:
    """An image that matches its reference as one whole has no chunk penalty, and must not bring one into the sum."""
    texts, references = list(CANDIDATES.values()), list(REFERENCES.values())
    texts[3] = references[3][0] = "a cat sleeps on a sofa"
    once = run_meteor(texts, references)
    times = [1, 0, 2, 3]
    again = run_meteor(
        [text for text, n in zip(texts, times, strict=True) for _ in range(n)],
        [text for text, n in zip(references, times, strict=True) for _ in range(n)],
    )
    total = np.array(times) @ once.statistics
    assert meteor_from_statistics(total) == pytest.approx(again.corpus, abs=1e-12)
    assert meteor_from_statistics(once.statistics.sum(axis=0)) == pytest.approx(once.corpus, abs=1e-12)
    assert [meteor_from_statistics(row) for row in once.statistics] == pytest.approx(once.per_image, abs=1e-12)
    assert once.per_image[3] == 1.0


def test_a_resample_must_hold_an_image() -> None:
    statistics = stack_statistics(score_captions(CANDIDATES, REFERENCES, metrics=("CIDEr",)).statistics)
    with pytest.raises(UsageError, match="at least one above zero"):
        corpus_from_statistics(statistics, np.zeros(4, dtype=np.int64))
    with pytest.raises(UsageError, match="each of the 4 images"):
        corpus_from_statistics(statistics, np.ones(3, dtype=np.int64))
