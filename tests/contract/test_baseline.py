"""Baselines keep the contract, and know nothing but texts and train splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support import train_splits
from vlbench.adapter import LoadOptions
from vlbench.adapters.baseline import Blind, Chance, Majority, centroid, longest, overlap
from vlbench.errors import UsageError
from vlbench.testing import AdapterContract
from vlbench.testing.adapters import answer
from vlbench.testing.samples import pictures
from vlbench.types import ChoiceScores, Choose, Decoding, Embedding, EmbedText, Generate, Generated

if TYPE_CHECKING:
    from pathlib import Path

    from vlbench.adapters.baseline import Baseline
    from vlbench.types import ImageRef

GREEDY = Decoding(10)


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_splits.everything(tmp_path_factory.mktemp("train"))


@pytest.fixture
def image(tmp_path: Path) -> ImageRef:
    return pictures(tmp_path)[0]


class _Contract(AdapterContract):
    kind: type[Baseline]

    @pytest.fixture(autouse=True)
    def _train(self, train: Path) -> None:
        self.options = LoadOptions(arguments={"train": str(train)})

    def make_adapter(self) -> Baseline:
        return self.kind(self.options)


class TestChance(_Contract):
    kind = Chance


class TestMajority(_Contract):
    kind = Majority


class TestBlind(_Contract):
    kind = Blind


def made(kind: type[Baseline], train: Path, seed: int = 0, **arguments: str) -> Baseline:
    return kind(LoadOptions(seed=seed, arguments={"train": str(train), **arguments}))


def texts(adapter: Baseline, image: ImageRef, *prompts: str) -> list[str]:
    responses = answer(adapter, [Generate((image,), prompt, GREEDY) for prompt in prompts])
    return [response.text for response in responses if isinstance(response, Generated)]


def chosen(adapter: Baseline, image: ImageRef, prompt: str, *choices: str) -> tuple[float, ...]:
    (response,) = answer(adapter, [Choose((image,), prompt, choices)])
    assert isinstance(response, ChoiceScores)
    return response.scores


def test_chance_follows_the_seed_and_the_content(train: Path, image: ImageRef) -> None:
    def vector(seed: int, text: str) -> np.ndarray:
        (response,) = answer(made(Chance, train, seed), [EmbedText(text)])
        assert isinstance(response, Embedding)
        return response.vector

    assert np.array_equal(vector(0, "a"), vector(0, "a"))
    assert not np.array_equal(vector(0, "a"), vector(1, "a"))
    assert not np.array_equal(vector(0, "a"), vector(0, "b"))


def test_chance_takes_every_choice_equally_often(train: Path, image: ImageRef) -> None:
    adapter = made(Chance, train)
    requests = [Choose((image,), f"question {n}", ("a", "b", "c", "d")) for n in range(2000)]
    wins = np.bincount([int(np.argmax(r.scores)) for r in answer(adapter, requests) if isinstance(r, ChoiceScores)])
    assert wins.sum() == 2000 and np.abs(wins / 2000 - 0.25).max() < 0.04, "four standard errors"


def test_chance_answers_with_train_answers_and_captions(train: Path, image: ImageRef) -> None:
    adapter = made(Chance, train)
    said = set(texts(adapter, image, *(f"question {n}" for n in range(100))))
    assert said == {answer for _, answer in train_splits.ASKED}
    assert texts(adapter, image, "")[0] in adapter.train.captions


def test_majority_says_the_same_to_everything(train: Path, image: ImageRef) -> None:
    adapter = made(Majority, train)
    assert texts(adapter, image, "Is it red?", "Why?", "") == ["no", "no", "A woman cuts a cake."]
    # Labels of the four train items are 1, 0, 3, 0; nothing is known of three choices.
    assert chosen(adapter, image, "?", *"abcd") == (1.0, 0.0, 0.0, 0.0)
    assert chosen(adapter, image, "?", *"abc") == (1.0, 0.0, 0.0)


def test_blind_answers_from_the_question_and_never_from_the_picture(train: Path, tmp_path: Path) -> None:
    adapter = made(Blind, train)
    for image in pictures(tmp_path):
        assert texts(adapter, image, "Is it red?", "What color is it?", "") == ["yes", "black", "A woman cuts a cake."]


def test_ways_of_choosing_by_hand(image: ImageRef) -> None:
    request = Choose(
        (image,), "Why is [person1] sad?", ("[person1] is sad.", "It rains a lot here", "[person2] is sad")
    )
    assert overlap(request) == [3.0, 0.0, 2.0]
    assert longest(request) == [3.0, 5.0, 3.0]
    assert centroid(request) == [0.25, 0.0, 0.25], "half of the words of one are those of another; none of the rain's"


def test_a_word_that_only_right_choices_had_decides(tmp_path: Path, image: ImageRef) -> None:
    train_splits.vcr(tmp_path)
    adapter = made(Blind, tmp_path)
    scores = chosen(adapter, image, "?", "A bottle.", "A cat.", "A dog.", "Air.")
    assert int(np.argmax(scores)) == 0
    assert chosen(made(Blind, tmp_path, choose="longest"), image, "?", "a", "a b") == (1.0, 2.0)


def test_what_cannot_be_chosen_is_refused(tmp_path: Path) -> None:
    train_splits.vqa(tmp_path)
    with pytest.raises(UsageError, match="choose=best is none of: learned, overlap, longest, centroid"):
        made(Blind, tmp_path, choose="best")
    with pytest.raises(UsageError, match="choose=learned needs train items of VCR"):
        made(Blind, tmp_path, choose="learned")


def test_results_say_on_what_a_baseline_was_trained(train: Path) -> None:
    """Chance only draws from a list of train answers, as a shortlist does; the others are what train says."""
    assert made(Chance, train).trained_on == ()
    assert made(Majority, train).trained_on == made(Blind, train).trained_on
    assert made(Blind, train).trained_on == ("coco:karpathy-train", "vqa:train2014", "vcr:train")


def test_the_fingerprint_follows_the_train_files(tmp_path: Path) -> None:
    train_splits.vqa(tmp_path)
    before = made(Blind, tmp_path).fingerprint()
    assert made(Majority, tmp_path).fingerprint() != before == made(Blind, tmp_path).fingerprint()
    train_splits.vcr(tmp_path)
    assert made(Blind, tmp_path).fingerprint() != before
