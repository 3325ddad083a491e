"""Statistics of train splits: what is counted, what is read, and what is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from tests.support import train_splits
from tests.support.layouts import lines, vcr_items, write
from vlbench.data.priors import ChoiceItem, QuestionPrior, TrainSplits, positions, typical_caption, word_odds
from vlbench.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def splits(tmp_path: Path) -> TrainSplits:
    return TrainSplits.open(train_splits.everything(tmp_path))


def test_only_train_splits_are_read(splits: TrainSplits) -> None:
    """Karpathy's file has three images, of which one (restval) is train; the other two are under test."""
    assert splits.captions == ("A woman cuts a cake.", "a woman wearing a net on her head  cutting a cake")
    assert splits.trained_on == ("coco:karpathy-train", "vqa:train2014", "vcr:train")
    assert splits.questions == tuple(train_splits.ASKED)
    assert [item.label for item in splits.choices] == [1, 0, 3, 0]
    assert splits.choices[0].choices[1] == "No, [person2] does."


def test_a_prior_prefers_the_same_question_then_its_first_words(splits: TrainSplits) -> None:
    prior = QuestionPrior.of(splits.questions)
    assert prior.answer("Is it red?") == "yes", "2 of 3, whatever the case and the marks"
    assert prior.answer("Is it green?") == "no", "is it: 3 of 5"
    assert prior.answer("What color is the cow?") == "black", "first four words"
    assert prior.answer("What shape is it?") == "black", "what"
    assert prior.answer("Why?") == prior.answer("") == "no", "of all, 3 of 9"


def test_equally_frequent_answers_are_taken_in_alphabetical_order() -> None:
    assert QuestionPrior.of([("a?", "two"), ("a?", "one")]).answer("a?") == "one"


def test_the_typical_caption_is_one_of_median_length_with_usual_neighbours() -> None:
    captions = ["a dog", "a dog runs", "a dog sleeps", "the cat sits", "a dog runs in the wet grass"]
    assert typical_caption(captions) == "a dog runs", "3 words; 'a dog' in 4 captions, 'dog runs' in 2"
    assert typical_caption(["snow"]) == "snow"


def test_positions_and_odds_are_counted_by_hand() -> None:
    items = [ChoiceItem(("a b", "a c", "a d"), 0), ChoiceItem(("c", "b"), 1)]
    assert positions(items) == {3: {0: 1}, 2: {1: 1}}
    odds = word_odds(items)
    assert odds["a"] == math.log(2 / 2), "once in a right choice, twice half in wrong ones"
    assert odds["b"] == math.log(3 / 1)
    assert odds["c"] == math.log(1 / (0.5 + 1 + 1)) and odds["d"] == math.log(1 / 1.5)


def test_a_folder_without_any_train_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no train split of coco, vqa or vcr"):
        TrainSplits.open(tmp_path)
    with pytest.raises(DataError, match="nowhere is not a folder"):
        TrainSplits.open(tmp_path / "nowhere")


def test_what_a_folder_lacks_is_only_missed_when_it_is_asked_for(tmp_path: Path) -> None:
    train_splits.vcr(tmp_path)
    splits = TrainSplits.open(tmp_path)
    assert splits.trained_on == ("vcr:train",)
    with pytest.raises(DataError, match="no train captions of COCO"):
        _ = splits.captions
    with pytest.raises(DataError, match="no vqa annotations for split train2014"):
        _ = splits.questions


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer_label": 4}, r"answer_label is 4; there are 4 choices"),
        ({"rationale_choices": [["x"]]}, r"rationale_choices has 1 choices; it needs 2 or more"),
        ({"answer_choices": [[[7]], ["x"]]}, r"points to no object"),
        ({"objects": None}, r"objects is null, not a list"),
    ],
)
def test_a_broken_train_item_is_one_clear_error(tmp_path: Path, change: dict[str, object], message: str) -> None:
    write(tmp_path / "vcr" / "train.jsonl", lines([vcr_items()[0] | change]))
    with pytest.raises(DataError, match=message):
        _ = TrainSplits.open(tmp_path).choices
