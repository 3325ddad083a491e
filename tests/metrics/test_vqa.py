"""VQA accuracy: the official rules, each with the case that surprises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlbench.errors import DataError
from vlbench.metrics.vqa import (
    aggregate,
    normalize_answer,
    normalize_punctuation,
    strict_match,
    unanswerable_scores,
    vizwiz_accuracy,
    vqa_accuracy,
)


@pytest.mark.parametrize(
    ("matches", "expected"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (7, 1.0), (10, 1.0)]
)
def test_each_annotator_is_left_out_in_turn(matches: int, expected: float) -> None:
    answers = ["red"] * matches + ["blue"] * (10 - matches)
    assert vqa_accuracy("red", answers) == pytest.approx(expected, abs=1e-12)


def test_nothing_is_normalised_where_all_annotators_agree() -> None:
    assert vqa_accuracy("Yes", ["yes"] * 10) == 0.0
    assert vqa_accuracy("yes.", ["yes"] * 10) == 0.0
    assert vqa_accuracy("Yes.", ["Yes."] * 10) == 1.0


def test_one_dissenter_switches_normalisation_on() -> None:
    assert vqa_accuracy("The YES.", ["yes"] * 9 + ["no"]) == 1.0


def test_agreement_is_judged_after_blanks_are_cleaned() -> None:
    """Answers that differ only in outer blanks, tabs or line breaks count as one string: nothing is normalised."""
    answers = ["Yes"] * 5 + [" Yes\n"] * 5
    assert vqa_accuracy("yes", answers) == 0.0
    assert vqa_accuracy("\tYes ", answers) == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wi-fi", "wi fi"),  # no blank beside the mark: it becomes one
        ("wi- fi", "wi fi"),  # a blank beside it: it is removed
        ("wi-fi -", "wifi "),  # one blank beside any "-" decides for all of them
        ("1,000", "1000"),
        ("1,000 a/b", "1000 ab"),  # a comma between digits lets every mark go without a blank
        ("a/b, c", "a b c"),
        ("2.5", "2.5"),
        ("x.5", "x.5"),
        ("5.x", "5x"),  # the misspelt look-behind
        ("it's", "it's"),
        ("." * 40, "." * 8),  # re.UNICODE == 32 stands in the count's place
    ],
)
def test_punctuation(text: str, expected: str) -> None:
    assert normalize_punctuation(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("None", "0"),
        ("The ten Men", "10 men"),
        ("a the an", ""),
        ("dont", "don't"),
        ("Ive", "ive"),  # the table has it with a capital, and words are lowered before the look-up
        ("somebody'd", "somebodyd"),  # the official slip
        ("somebodyd", "somebodyd"),
        ("yall'd've", "y'all'd've"),
        ("shouldnt've", "shouldn't've"),
        ("lets", "lets"),
        ("  two   dogs ", "2 dogs"),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert normalize_answer(text) == expected


def test_a_question_without_answers_is_an_error() -> None:
    with pytest.raises(DataError, match="without annotators' answers"):
        vqa_accuracy("yes", [])


def test_aggregate_by_type() -> None:
    scores = aggregate([1.0, 0.3, 0.0], ["yes/no", "other", "other"], ["is", "what", "is"])
    assert scores.overall == pytest.approx(1.3 / 3)
    assert scores.per_answer_type == {"yes/no": 1.0, "other": 0.15}
    assert scores.per_question_type == {"is": 0.5, "what": 0.3}
    assert scores.n == 3


def test_nothing_scored_is_none_and_not_zero() -> None:
    assert aggregate([], [], []).overall is None


def test_unequal_lengths_are_an_error() -> None:
    with pytest.raises(DataError, match="2 accuracies, 1 answer types"):
        aggregate([1.0, 0.0], ["other"], ["what", "what"])


@given(st.text(), st.lists(st.text(), min_size=1, max_size=10))
def test_accuracy_is_a_fraction_whatever_the_strings(prediction: str, answers: list[str]) -> None:
    accuracy = vqa_accuracy(prediction, answers)
    assert 0.0 <= accuracy <= 1.0
    assert accuracy == pytest.approx(vqa_accuracy(prediction, answers[::-1]), abs=1e-12)


@given(st.text())
def test_normalised_text_is_lower_and_single_spaced(text: str) -> None:
    words = normalize_answer(text).split(" ")
    assert words == [""] or all(word and word not in {"a", "an", "the"} for word in words)


@pytest.mark.parametrize(
    ("prediction", "answers", "accuracy"),
    [
        ("Night time.", ["night time"] * 10, 1.0),  # the prediction is normalised though all agree
        ("Night time.", ["Night time."] * 10, 0.0),  # the annotators' answers never are
        ("two", ["two"] * 7 + ["2"] * 3, 0.9),  # so "two" meets "2", not "two": 3 matches give (3 * 2/3 + 7 * 1) / 10
        ("the end", ["the end"] * 10, 0.0),
        ("dog", ["dog"] + ["cat"] * 9, 0.3),
        ("dog", ["dog"] * 2 + ["cat"] * 8, 0.6),
        ("dog\n", ["dog"] * 4 + ["cat"] * 6, 1.0),
        ("", ["dog"] * 10, 0.0),
    ],
)
def test_vizwiz_normalises_the_prediction_and_nothing_else(
    prediction: str, answers: list[str], accuracy: float
) -> None:
    assert vizwiz_accuracy(prediction, answers) == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("red", ["red"] * 6 + ["blue"] * 4, 1.0),
        ("blue", ["red"] * 6 + ["blue"] * 4, 0.0),
        ("blue", ["red"] * 5 + ["blue"] * 5, 1.0),  # both are what most said
        ("Red", ["red"] * 10, 0.0),
        ("red ", ["red"] * 10, 0.0),
        ("", ["red"], 0.0),
    ],
)
def test_a_strict_match_is_what_most_said_character_for_character(
    prediction: str, answers: list[str], expected: float
) -> None:
    assert strict_match(prediction, answers) == expected


def test_without_answers_nothing_is_scored() -> None:
    for metric in (vqa_accuracy, vizwiz_accuracy, strict_match):
        with pytest.raises(DataError, match="at least one answer"):
            metric("red", [])


def test_calling_questions_unanswerable() -> None:
    scores = unanswerable_scores([1.0, 1.0, 0.0, 0.5], [True, False, True, False])
    assert scores == {"precision": 1 / 2.5, "recall": 0.5, "f1": 2 / 4.5}
    assert unanswerable_scores([0.0, 0.0], [True, False]) == {"precision": None, "recall": 0.0, "f1": 0.0}
    assert unanswerable_scores([1.0], [False]) == {"precision": 0.0, "recall": None, "f1": 0.0}
    assert unanswerable_scores([0.0], [False]) == {"precision": None, "recall": None, "f1": None}
