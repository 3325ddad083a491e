"""The tokeniser, on sentences whose tokens were recorded from Stanford's PTBTokenizer (CoreNLP 3.4.1)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vlbench.metrics.ptb import PUNCTUATION, tokenize

RECORDED: list[dict[str, str]] = json.loads(
    (Path(__file__).parent / "recorded" / "ptb_sentences.json").read_text(encoding="utf-8")
)

# Letters, digits and every mark that some rule is about, so that random text meets the rules.
AWKWARD = st.text(
    st.sampled_from("abtnsAB15 .,'\"-/!?:;()[]{}<>@#$%&*_=+~^|\\`\u2019\u201c\u2026\u2013\xe9\u0301\n\r\t")
)


@pytest.mark.parametrize("sentence", RECORDED, ids=lambda sentence: f"{sentence['form']}: {sentence['in'][:24]!a}")
def test_recorded_sentences(sentence: dict[str, str]) -> None:
    assert tokenize([sentence["in"]]) == [sentence["out"]]


@pytest.mark.parametrize("character", ["\n", "\r", "\r\n", "\f", "\v", "\x85", "\u2028", "\u2029"])
def test_a_line_break_in_a_caption_is_a_blank_and_shifts_no_other_caption(character: str) -> None:
    """Stanford's tokeniser ends the line at most of these, and all later captions move to the wrong image."""
    assert tokenize(["one", f"two{character}three", "four"]) == ["one", "two three", "four"]


def test_brackets_stay_and_punctuation_goes() -> None:
    assert tokenize(["A dog, (a cat)!"]) == ["a dog -lrb- a cat -rrb-"]


def test_a_period_at_the_end_is_judged_by_how_the_caption_begins() -> None:
    """Officially by how the next caption begins; with captions that begin alike the outcome is the same."""
    assert tokenize(["The new Wii U.", "the new wii u."]) == ["the new wii u", "the new wii u."]


def test_nothing_and_blanks() -> None:
    assert tokenize([]) == []
    assert tokenize(["", " \t\n"]) == ["", ""]


def test_the_longest_form_wins_and_not_the_first() -> None:
    assert tokenize(["555-555 5555"]) == ["555-555\xa05555"]  # a number, a word with a hyphen, a telephone number
    assert tokenize(["www.ab.com/cd.html?x=y,z"]) == ["www.ab.com/cd.html?x=y,z"]
    assert tokenize(["a-b.c."]) == ["a-b.c."]


def test_a_long_string_without_blanks_takes_no_quadratic_time() -> None:
    """Searching the rest of the caption for the end of an address at every token once took seconds for this one."""
    assert tokenize([",a" * 10_000]) == [" ".join(["a"] * 10_000)]


@given(st.one_of(st.text(), AWKWARD))
@example("\ud800")
@example("&&&;&#;")
def test_any_text_gives_clean_tokens(text: str) -> None:
    (tokenized,) = tokenize([text])
    assert "\n" not in tokenized
    assert "\r" not in tokenized
    tokens = tokenized.split(" ") if tokenized else []
    assert all(token and token not in PUNCTUATION for token in tokens)


@given(st.lists(AWKWARD, max_size=6), st.randoms(use_true_random=False))
def test_each_caption_is_tokenised_on_its_own(captions: list[str], order: object) -> None:
    expected = [tokenize([caption])[0] for caption in captions]
    assert tokenize(captions) == expected
    assert tokenize(captions[::-1]) == expected[::-1]


@given(
    st.lists(st.sampled_from(["a", "dog", "red-haired", "3", "1,000", "and/or", "10:30", "#1", "two", "%", "(", "&"]))
)
def test_tokens_of_plain_words_are_tokens_of_themselves(words: list[str]) -> None:
    (once,) = tokenize([" ".join(words)])
    assert tokenize([once]) == [once]
