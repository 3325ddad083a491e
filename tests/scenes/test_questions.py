"""Answers are checked by an evaluator of its own, which reads the question and looks at coordinates only."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import pytest

from vlbench.data.scenes import Question, Scene, SceneObject, questions, split
from vlbench.metrics.vqa import normalize_answer, vqa_accuracy

SCENES = [*split("train", 2000), *split("test"), *split("val", 100)]
ASKED = [(scene, question) for scene in SCENES for question in questions(scene)]
TYPES = {
    "is there a": "yes/no",
    "is the": "yes/no",
    "how many": "number",
    "what color is the": "other",
    "what shape is the": "other",
    "what size is the": "other",
    "where is the": "other",
}
MARGIN = 28


def where(o: SceneObject) -> str:
    row, column = ("top", "", "bottom")[o.y // 43], ("left", "", "right")[o.x // 43]
    return f"{row} {column}".strip() or "center"


def described(scene: Scene, phrase: str) -> list[SceneObject]:
    """All objects that a phrase such as "the small shape in the top left" or "green circles" fits."""
    phrase, _, region = re.sub(r" (in|at|on) the ", "|", phrase).partition("|")
    words = [re.sub(r"^(crosse|circle|square|triangle|diamond|star)s$", r"\1", w) for w in phrase.split()]
    words = [{"crosse": "cross"}.get(w, w) for w in words if w not in {"the", "a", "an", "shape", "shapes", "object"}]
    return [
        o
        for o in scene.objects
        if all(word in (o.color, o.shape, o.size) for word in words) and (not region or where(o) == region)
    ]


def one(scene: Scene, phrase: str) -> SceneObject:
    found = described(scene, phrase)
    assert len(found) == 1, (scene, phrase)
    return found[0]


def evaluate(scene: Scene, text: str) -> str:
    text = text.removesuffix("?").removesuffix(" in the picture")
    if match := re.fullmatch(r"Is there (an? .*)", text):
        return "yes" if described(scene, match[1]) else "no"
    if match := re.fullmatch(r"How many (.*?)( are there| are)", text):
        return str(len(described(scene, match[1])))
    if match := re.fullmatch(r"Is (the .*?) (to the left of|to the right of|above|below) (the .*)", text):
        first, second = one(scene, match[1]), one(scene, match[3])
        dx, dy = second.x - first.x, second.y - first.y
        gap = {"to the left of": dx, "to the right of": -dx, "above": dy, "below": -dy}[match[2]]
        assert abs(gap) >= MARGIN, "a relation that is not beyond doubt"
        return "yes" if gap > 0 else "no"
    if match := re.fullmatch(r"What (color|shape|size) is (the .*)", text):
        return str(getattr(one(scene, match[2]), match[1]))
    match = re.fullmatch(r"Where is (the .*)", text)
    assert match, text
    return where(one(scene, match[1]))


def test_every_answer_is_right() -> None:
    for scene, question in ASKED:
        assert evaluate(scene, question.question) == question.multiple_choice_answer, question


def test_types_are_official() -> None:
    for _, question in ASKED:
        assert question.question.lower().startswith(question.question_type)
        assert question.answer_type == TYPES[question.question_type]
        longest = max((t for t in TYPES if question.question.lower().startswith(t)), key=len)
        assert question.question_type == longest
    assert {question.question_type for _, question in ASKED} == set(TYPES)


def test_questions_are_good_english() -> None:
    for _, question in ASKED:
        text = question.question
        assert re.fullmatch(r"[A-Z][a-z]+( [a-z]+)+\?", text)
        for article, following in re.findall(r"\b(an?) (\w+)", text):
            assert (article == "an") == (following[0] in "aeiou"), text


def test_six_questions_a_scene_none_twice() -> None:
    for scene in SCENES:
        texts = [question.question for question in questions(scene)]
        assert len(texts) == len(set(texts)) == 6


def test_yes_and_no_balance() -> None:
    for scenes in (SCENES[:2000], list(split("test"))):
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for scene in scenes:
            for question in questions(scene):
                counts[question.question_type][question.multiple_choice_answer] += 1
        assert counts["is there a"]["yes"] == counts["is there a"]["no"] == len(scenes) / 2
        assert abs(counts["is the"]["yes"] - counts["is the"]["no"]) < 0.04 * len(scenes)


def test_yes_does_not_depend_on_what_is_asked_about() -> None:
    """A blind model that learns how often each colour, shape or direction goes with yes stays near chance."""
    tally: dict[str, list[int]] = defaultdict(list)
    for _, question in ASKED:
        if question.answer_type == "yes/no":
            for word in question.question.split():
                tally[f"{question.question_type}: {word}"].append(question.multiple_choice_answer == "yes")
    for word, seen in tally.items():
        if len(seen) >= 300:
            assert 0.42 < sum(seen) / len(seen) < 0.58, word


def test_no_answer_dominates_its_type() -> None:
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for _, question in ASKED:
        answers[question.question_type][question.multiple_choice_answer] += 1
    chance = {"how many": 0.35, "what color is the": 0.16, "what shape is the": 0.21, "what size is the": 0.54,
              "where is the": 0.15}  # fmt: skip
    for kind, most in chance.items():
        assert max(answers[kind].values()) / answers[kind].total() < most


def test_the_consensus_scores_one_by_the_official_rule() -> None:
    for _, question in ASKED:
        assert len(question.answers) == 10
        assert vqa_accuracy(question.multiple_choice_answer, question.answers) == 1.0


def test_the_opposite_answer_scores_little() -> None:
    """With four dissenters a blind "yes" would be fully right on questions whose answer is no."""
    opposite = {"yes": "no", "no": "yes"}
    scores = [
        vqa_accuracy(opposite[question.multiple_choice_answer], question.answers)
        for _, question in ASKED
        if question.answer_type == "yes/no"
    ]
    assert max(scores) < 0.31
    assert sum(scores) / len(scores) < 0.12


def test_annotators_disagree_on_some_and_normalisation_matters_on_some() -> None:
    unanimous = disagree = only_clothes = 0
    for _, question in ASKED:
        same = [normalize_answer(a) == normalize_answer(question.multiple_choice_answer) for a in question.answers]
        assert sum(same) >= (9 if question.answer_type == "yes/no" else 8)
        unanimous += len(set(question.answers)) == 1
        disagree += not all(same)
        only_clothes += all(same) and len(set(question.answers)) > 1
    assert 0.5 < unanimous / len(ASKED) < 0.8
    assert disagree / len(ASKED) > 0.2
    assert only_clothes / len(ASKED) > 0.04


@pytest.mark.parametrize("answer_type", ["yes/no", "number", "other"])
def test_answer_types_keep_their_share_in_the_test_split(answer_type: str) -> None:
    counts = Counter(question.answer_type for scene in split("test") for question in questions(scene))
    assert counts[answer_type] >= 500
    assert counts.total() == 3000


def test_the_evaluator_itself_can_say_no() -> None:
    scene = SCENES[0]
    wrong = Question("How many shapes are there?", "how many", "number", ("9",) * 10, "9")
    assert evaluate(scene, wrong.question) == str(len(scene.objects)) != wrong.multiple_choice_answer
