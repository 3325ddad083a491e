"""Choosing by letter: what is asked, which answers name an option, and that it is seen in the signature."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from vlbench import letters, prompts
from vlbench.capabilities import Expander
from vlbench.data.source import LocalFolder
from vlbench.errors import UsageError
from vlbench.task import Protocol
from vlbench.types import ChoiceScores, Choose, Failure, Generate, Generated, ImageRef

OPTIONS = ("a cat", "two dogs", "no")
PROTOCOL = Protocol("choose/letters-v1", routes={"choose": letters.ROUTE}, template=letters.TEMPLATE)
IMAGE = ImageRef(LocalFolder(Path()), "a.png")


@pytest.mark.parametrize(
    "answer",
    ["B", "b", " B\n", "B.", "(b)", "[B]", "**B**", "**B.** two dogs", "B: two dogs", "b) two dogs", "B, two dogs"]
    + [
        "B\nThere are two dogs.",
        "The answer is B",
        "Answer: b",
        "The correct option is (B).",
        "Option B, not the other",
    ]
    + ["two dogs", "Two dogs."],
)
def test_answers_that_name_the_second_option(answer: str) -> None:
    assert letters.read(answer, OPTIONS) == 1


@pytest.mark.parametrize(
    "answer",
    ["", "A dog", "a cat and two dogs", "The answer is a dog", "Option A is wrong, option B is right", "D", "Z.", "42"]
    + ["I cannot see", "None of the options", "Answer with a letter", "Both (A) and (B)"],
)
def test_answers_that_name_none(answer: str) -> None:
    assert letters.read(answer, OPTIONS) is None


def test_equal_options_are_not_told_apart_by_their_words() -> None:
    assert letters.read("red", ("red", "Red.", "blue")) is None
    assert letters.read("no", OPTIONS) == 2


def test_a_choice_becomes_one_request_and_its_letter_a_score() -> None:
    expander = Expander(PROTOCOL, 100.0)
    request = Choose((IMAGE,), "What does [person1] hold?", ("[bottle1]", "nothing"))
    (asked,) = expander.expand(request)
    assert isinstance(asked, Generate) and asked.images == (IMAGE,) and asked.decoding.max_new_tokens == 16
    assert asked.prompt == (
        "What does person1 hold?\nA. bottle1\nB. nothing\nAnswer with the letter of the right option only."
    )
    chosen = expander.combine(request, [Generated("B.", truncated=True)])
    assert isinstance(chosen, ChoiceScores) and chosen.scores == (0.0, 1.0) and chosen.truncated
    by_words = expander.combine(request, [Generated("bottle1")])
    assert isinstance(by_words, ChoiceScores) and by_words.scores == (1.0, 0.0)
    none = expander.combine(request, [Generated("I do not know")])
    assert isinstance(none, Failure) and none.reason == "the answer names no option: 'I do not know'"


def test_braces_in_a_question_are_text() -> None:
    (asked,) = Expander(PROTOCOL, 100.0).expand(Choose((IMAGE,), "What is {choices}?", ("{prompt}", "b")))
    assert isinstance(asked, Generate) and asked.prompt.startswith("What is {choices}?\nA. {prompt}\nB. b\n")


def test_more_options_than_letters_are_refused() -> None:
    with pytest.raises(UsageError, match="27 options cannot be told apart by letter; 26 are the most"):
        letters.ask(letters.TEMPLATE, "?", ["x"] * 27)


def test_the_template_belongs_to_the_route() -> None:
    plain = dataclasses.replace(PROTOCOL, template=Protocol.template)
    assert prompts.lettered(plain).template == letters.TEMPLATE
    own = dataclasses.replace(PROTOCOL, template="{prompt}|{choices}")
    assert prompts.lettered(own) == own
    with pytest.raises(UsageError, match=r"choose/letters-v1 the template must contain \{prompt\} and \{choices\}"):
        prompts.lettered(dataclasses.replace(PROTOCOL, template="{prompt} or {choice}"))
    with pytest.raises(UsageError, match=r"choose/embed the template must contain \{prompt\} and \{choice\}"):
        prompts.lettered(Protocol("choose/embed", routes={"choose": "embed"}, template="{prompt}|{choices}"))
    embed = Protocol("choose/embed", routes={"choose": "embed"})
    assert prompts.lettered(embed) is embed
