"""Official VQA accuracy, with the oddities of the official scorer kept.

Source: the evaluation code of GT-Vision-Lab/VQA (head of 2021) for Antol et al. 2015 and Goyal et al. 2017, from
which every rule here was checked on recorded outputs. Other harnesses normalise more often or differently, and their
numbers differ by tens of points on noisy answers; do not "correct" a rule here. VizWiz has a scorer of
its own, which was made from that one and normalises differently (its API of 2020).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "VqaScores",
    "aggregate",
    "mean",
    "means_by",
    "normalize_answer",
    "normalize_punctuation",
    "strict_match",
    "unanswerable_scores",
    "vizwiz_accuracy",
    "vqa_accuracy",
]

_MARKS = (";", "/", "[", "]", '"', "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<", "@", "`", ",", "?", "!")
_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")
# The look-behind of the official pattern is misspelt and always true, so only what follows a period decides:
# "x.2" keeps it, "2.x" does not.
_PERIOD = re.compile(r"\.(?!\d)")
# The official scorer passes the flag re.UNICODE where `sub` takes the count, and the flag's value is 32.
_MAX_PERIODS = 32

_NUMBER_WORDS = {
    "none": "0",
    "zero": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
}
_ARTICLES = frozenset({"a", "an", "the"})


def _contractions() -> dict[str, str]:
    """Return the official table: a word without its apostrophe, or with one of two, to the word in full.

    The entries with a capital (``Id've``, ``I'dve``, ``Im``, ``Ive``) can never match, because words are lowered
    first; they are left out. ``somebody'd`` loses its apostrophe where all its neighbours gain one: an official slip.
    """
    plain = (
        "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's "
        "isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've "
        "shouldn't somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd "
        "there're there's they'd they'll they're they've 'twas wasn't we've weren't what'll what're what's what've "
        "when's where'd where's where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all "
        "you'd you'll you're you've"
    )
    double = (
        "couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've "
        "something'd've there'd've they'd've we'd've who'd've wouldn't've you'd've"
    )
    table = {word.replace("'", ""): word for word in plain.split()}
    for word in double.split():
        stem, middle, end = word.split("'")
        table[f"{stem}{middle}'{end}"] = table[f"{stem}'{middle}{end}"] = word
    table |= dict.fromkeys(("ow's'at", "'ows'at", "'ow'sat"), "'ow's'at")
    table |= dict.fromkeys(("yall'll", "y'allll"), "y'all'll")
    table |= dict.fromkeys(("yall'd've", "y'alld've", "y'all'dve"), "y'all'd've")
    return table | {"somebody'd": "somebodyd"}


_CONTRACTIONS = _contractions()


def normalize_punctuation(text: str) -> str:
    """Return ``text`` after the official ``processPunctuation``.

    A mark is removed where it touches a blank anywhere in the text, or where the text has a comma between digits;
    otherwise it becomes a blank. Both conditions look at the text as it came in, not at what earlier marks left.
    """
    joined_number = _DIGIT_COMMA_DIGIT.search(text) is not None
    out = text
    for mark in _MARKS:
        removed = joined_number or f"{mark} " in text or f" {mark}" in text
        out = out.replace(mark, "" if removed else " ")
    return _PERIOD.sub("", out, count=_MAX_PERIODS)


def normalize_answer(text: str) -> str:
    """Return ``text`` after the official ``processPunctuation`` and ``processDigitArticle``.

    >>> normalize_answer("The two-tone cat isnt here.")
    "2 tone cat isn't here"
    """
    words = (_NUMBER_WORDS.get(word, word) for word in normalize_punctuation(text).lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _clean(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Return the official accuracy of ``prediction``, a fraction, given the annotators' ``answers`` (officially ten).

    Answers are normalised only where the annotators disagree; where all gave the same string, only that very string
    is right, capitals and periods included. Each annotator in turn is left out: min(1, matches among the others / 3),
    then the mean. Raises ``DataError`` where there is no answer.
    """
    if not answers:
        raise DataError("a question without annotators' answers cannot be scored; give at least one answer")
    given = _clean(prediction)
    truths = [_clean(answer) for answer in answers]
    if len(set(truths)) > 1:
        given = normalize_answer(given)
        truths = [normalize_answer(truth) for truth in truths]
    return _leave_one_out([truth == given for truth in truths])


def vizwiz_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Return the accuracy of the VizWiz evaluation code, a fraction; raises ``DataError`` where there is no answer.

    It leaves one annotator out as VQA does, but always normalises the prediction and never the annotators' answers: an
    answer that the normalisation would change, such as "two" or "the end", can be matched by nothing.
    """
    if not answers:
        raise DataError("a question without annotators' answers cannot be scored; give at least one answer")
    given = normalize_answer(_clean(prediction))
    return _leave_one_out([answer == given for answer in answers])


def strict_match(prediction: str, answers: Sequence[str]) -> float:
    """Return 1.0 if ``prediction`` is, character for character, what most annotators said; of several such any will do.

    Raises ``DataError`` where there is no answer.
    """
    if not answers:
        raise DataError("a question without annotators' answers cannot be scored; give at least one answer")
    return float(answers.count(prediction) == max(map(answers.count, answers)))


def unanswerable_scores(predicted: Sequence[float], unanswerable: Sequence[bool]) -> dict[str, float | None]:
    """Return precision, recall and F1 (fractions) of calling a question unanswerable; None where one is undefined.

    ``predicted`` has 1.0 where the answer was "unanswerable", and a fraction where it was one of several tied ones.
    """
    hits = _total([value for value, truth in zip(predicted, unanswerable, strict=True) if truth])
    called, there = _total(predicted), sum(unanswerable)
    return {
        "precision": hits / called if called else None,
        "recall": hits / there if there else None,
        "f1": 2 * hits / (called + there) if called or there else None,
    }


def _leave_one_out(matches: Sequence[bool]) -> float:
    """Return the mean over annotators of min(1, matches among the others / 3)."""
    total = sum(matches)
    return mean([min(1.0, (total - match) / 3) for match in matches])


@dataclass(frozen=True)
class VqaScores:
    """Accuracies of a split as fractions, unrounded; the official scorer prints ``round(100 * value, 2)``."""

    overall: float | None
    per_answer_type: dict[str, float]
    per_question_type: dict[str, float]
    n: int


def aggregate(accuracies: Sequence[float], answer_types: Sequence[str], question_types: Sequence[str]) -> VqaScores:
    """Average per-question accuracies (n values) overall and by the n answer types and n question types.

    ``overall`` is None where nothing was scored. Raises ``DataError`` where the three lengths differ.
    """
    if not len(accuracies) == len(answer_types) == len(question_types):
        raise DataError(
            f"{len(accuracies)} accuracies, {len(answer_types)} answer types and {len(question_types)} question types "
            "do not belong together; give one of each per question"
        )
    return VqaScores(
        overall=mean(accuracies) if accuracies else None,
        per_answer_type=means_by(accuracies, answer_types),
        per_question_type=means_by(accuracies, question_types),
        n=len(accuracies),
    )


def means_by(values: Sequence[float], groups: Sequence[str]) -> dict[str, float]:
    """Return the mean of the values of each group, by its name; ``groups`` has one name a value."""
    members: dict[str, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        members.setdefault(group, []).append(value)
    return {group: mean(group_values) for group, group_values in members.items()}


def mean(values: Sequence[float]) -> float:
    """Return the mean of one or more values, added in order."""
    return _total(values) / len(values)


def _total(values: Sequence[float]) -> float:
    # A loop, not sum(): from Python 3.12 sum() compensates rounding and would differ in the last bit by version.
    total = 0.0
    for value in values:
        total += value
    return total
