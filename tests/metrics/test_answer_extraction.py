"""The rules that take the short answer out of a chatty one, one by one."""

from __future__ import annotations

import pytest

from vlbench.metrics.answer_extraction import EXTRACTIONS, extract_1


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ("Yes, there is a dog.", "Is there a dog?", "yes"),
        ("No.", "Is there a dog?", "no"),
        ("NO", "Is there a dog?", "no"),
        ("Yes there is.", "Is there a dog?", "yes"),
        ("  \n**Yes**, it is.", "Is it red?", "yes"),
        ("No - it is green.", "What?", "no"),
        ("No parking", "What does the sign say?", "no parking"),
        ("No parking", "Is it a stop sign or a no parking sign?", "no parking"),
        ("Yesterday.", "Is it today?", "yesterday"),
        ("Nothing", "Is there anything?", "nothing"),
        ("Red", "What color is it?", "red"),
        ("red", "What color is it?", "red"),
        ("It is a dog.", "What is it?", "dog"),
        ("It's an apple.", "What is it?", "apple"),
        ("There are two dogs. They play.", "What is there?", "two dogs"),
        ("The answer is 2.5.", "How much?", "2.5"),
        ("Let me see.\nAnswer: The Eiffel Tower", "What is it?", "eiffel tower"),
        ("First answer: red. But the final answer is: blue", "What color?", "blue"),
        ('The sign says "Stop".', "What does it say?", 'sign says "stop'),
        ("`4`", "How many?", "4"),
        ("***bold***", "What?", "bold"),
        ("2 * 3 * 4", "What?", "2 * 3 * 4"),
        ("3 p.m.", "What time?", "3 p.m"),
        ("a", "Which letter?", "a"),
        ("The", "Which word?", "the"),
        ("Dog; cat", "What?", "dog"),
        ("...", "What?", "..."),
        ("", "What?", ""),
        (" \n ", "What?", ""),
        ("The cup is red.", "What color is the cup?", "cup is red"),
    ],
)
def test_version_1(text: str, question: str, answer: str) -> None:
    assert extract_1(text, question) == answer


def test_short_answers_in_lower_case_stay_as_they_are() -> None:
    for answer in ("yes", "no", "2", "skateboard", "at table", "left", "none", "men's", "10:30", "black and white"):
        for question in ("Is it?", "What is it?"):
            assert extract_1(answer, question) == answer


def test_a_version_stays_as_it_is() -> None:
    assert list(EXTRACTIONS.items()) == [("1", extract_1)]
