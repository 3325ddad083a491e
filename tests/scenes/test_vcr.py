"""Every choice is judged by an evaluator of its own; blind guessing is measured by heuristics and learnt priors."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

from vlbench.data.scenes import Scene, SceneObject, split, vcr_items
from vlbench.data.scenes.vcr import tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vlbench.data.scenes import VCRItem
    from vlbench.data.scenes.vcr import Tokens

SCENES = list(split("train", 3000))
TEST = list(split("test"))
ITEMS = [(scene, item) for scene in SCENES for item in vcr_items(scene)]
TEST_ITEMS = [(scene, item) for scene in TEST for item in vcr_items(scene)]
WORDS = {"small", "large", "red", "orange", "yellow", "green", "blue", "purple", "pink", "black",
         "circle", "square", "triangle", "diamond", "star", "cross"}  # fmt: skip
GAPS: dict[str, Callable[[SceneObject, SceneObject], int]] = {
    "to the left of": lambda a, b: b.x - a.x,
    "to the right of": lambda a, b: a.x - b.x,
    "above": lambda a, b: b.y - a.y,
    "below": lambda a, b: a.y - b.y,
}


def flat(row: Tokens) -> str:
    return " ".join(word if isinstance(word, str) else "".join(f"#{k}" for k in word) for word in row)


def looks(o: SceneObject, text: str) -> bool:
    return all(word in (o.size, o.color, o.shape) for word in text.split() if word in WORDS)


def located(o: SceneObject, text: str) -> bool:
    match = re.search(r"\b(?:in|at|on) the ((?:top|bottom)(?: left| right)?|left|right|center)\b", text)
    row, column = ("top", "", "bottom")[o.y // 43], ("left", "", "right")[o.x // 43]
    return match is None or match[1] == (f"{row} {column}".strip() or "center")


def holds(scene: Scene, text: str) -> bool:
    """Whether a statement with tags such as #0 is true."""
    objects = scene.objects
    if match := re.match(r"#(\d)#(\d) have (only their (\w+)|nothing) in common", text):
        a, b = objects[int(match[1])], objects[int(match[2])]
        shared = [name for name in ("color", "shape", "size") if getattr(a, name) == getattr(b, name)]
        return shared == ([match[4]] if match[4] else [])
    if match := re.match(rf"An? (.*) shape is ({'|'.join(GAPS)}) #(\d)", text):
        anchor = objects[int(match[3])]
        there = [o for o in objects if o is not anchor and GAPS[match[2]](o, anchor) > 0]
        assert len(there) == 1, text
        return looks(there[0], match[1])
    claims = re.findall(r"#(\d)([^#]*)", text)
    assert claims, text
    return all(looks(objects[int(k)], claim) and located(objects[int(k)], claim) for k, claim in claims)


def test_exactly_the_labelled_choices_are_true() -> None:
    for scene, item in (*ITEMS, *TEST_ITEMS):
        for choices, label in (
            (item.answer_choices, item.answer_label),
            (item.rationale_choices, item.rationale_label),
        ):
            truths = [holds(scene, flat(choice)) for choice in choices]
            assert truths == [k == label for k in range(4)], [flat(choice) for choice in choices]


def test_two_items_a_scene_with_all_kinds_of_question() -> None:
    assert {len(vcr_items(scene)) for scene in SCENES} == {2}
    starts = Counter(" ".join(flat(item.question).split()[:2]) for _, item in TEST_ITEMS)
    assert set(starts) == {"What is", "What does", "What color", "What do"}
    assert len(TEST_ITEMS) == 1000


def test_tags_point_at_objects_and_classes_are_neutral() -> None:
    for scene, item in ITEMS:
        assert item.objects == ("object",) * len(scene.objects)
        assert [box[:4] for box in item.boxes] == [o.box for o in scene.objects]
        for row in (item.question, *item.answer_choices, *item.rationale_choices):
            for token in row:
                assert isinstance(token, str) or all(0 <= k < len(item.objects) for k in token)


def test_boxes_do_not_tell_the_shape() -> None:
    """Boxes are squares of two sizes, whatever the shape; outlines are for models that may see masks."""
    sides = defaultdict(set)
    for scene, item in ITEMS:
        for o, (x1, y1, x2, y2, _) in zip(scene.objects, item.boxes, strict=True):
            assert x2 - x1 == y2 - y1
            sides[o.shape].add(x2 - x1)
    assert all(seen == {26, 40} for seen in sides.values())


def test_choices_differ() -> None:
    for _, item in ITEMS:
        assert len({flat(c) for c in item.answer_choices}) == len({flat(c) for c in item.rationale_choices}) == 4


def test_text_is_good_english() -> None:
    for _, item in ITEMS:
        assert flat(item.question).endswith(" ?")
        for row in (*item.answer_choices, *item.rationale_choices):
            text = flat(row)
            assert text.endswith(" .")
            for article, following in re.findall(r"\b(an?) (\w+)", text, re.IGNORECASE):
                assert (article.lower() == "an") == (following[0] in "aeiou"), text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is [0]?", ("What", "is", (0,), "?")),
        ("[0,2] are red, and big.", ((0, 2), "are", "red", ",", "and", "big", ".")),
    ],
)
def test_tokens(text: str, expected: Tokens) -> None:
    assert tokens(text) == expected


def overlaps(choices: Sequence[str]) -> list[int]:
    words = [set(choice.split()) for choice in choices]
    return [sum(len(a & b) for b in words if b is not a) for a in words]


def most(values: Sequence[float]) -> list[float]:
    """Return the chance of each choice under a rule that takes the greatest value, ties at random."""
    best = max(values)
    ties = [float(value == best) for value in values]
    return [tie / sum(ties) for tie in ties]


RULES: dict[str, Callable[[str, list[str]], list[float]]] = {
    "centroid": lambda context, choices: most(overlaps(choices)),
    "odd one": lambda context, choices: most([-v for v in overlaps(choices)]),
    "like the context": lambda context, choices: most([len(set(context.split()) & set(c.split())) for c in choices]),
    "unlike the context": lambda context, choices: most([-len(set(context.split()) & set(c.split())) for c in choices]),
    "longest": lambda context, choices: most([len(c) for c in choices]),
    "shortest": lambda context, choices: most([-len(c) for c in choices]),
    "first": lambda context, choices: most([3.0, 2.0, 1.0, 0.0]),
    "majority words": lambda context, choices: most(majority(choices)),
}


def majority(choices: Sequence[str]) -> list[float]:
    counts = Counter(word for choice in choices for word in set(choice.split()))
    return [sum(counts[word] > 2 for word in choice.split()) for choice in choices]


def tasks(items: Sequence[tuple[Scene, VCRItem]], stage: str) -> list[tuple[str, list[str], int]]:
    """Context, choices and label of each item: the rationale is chosen given the right answer."""
    rows = []
    for _, item in items:
        answers, question = [flat(c) for c in item.answer_choices], flat(item.question)
        if stage == "answer":
            rows.append((question, answers, item.answer_label))
        else:
            reasons = [flat(c) for c in item.rationale_choices]
            rows.append((f"{question} {answers[item.answer_label]}", reasons, item.rationale_label))
    return rows


@pytest.mark.parametrize("stage", ["answer", "rationale"])
@pytest.mark.parametrize("rule", RULES)
def test_blind_rules_stay_near_chance(rule: str, stage: str) -> None:
    for items in (ITEMS, TEST_ITEMS):
        rows = tasks(items, stage)
        accuracy = sum(RULES[rule](context, choices)[label] for context, choices, label in rows) / len(rows)
        assert 0.20 <= accuracy <= 0.32, accuracy


@pytest.mark.parametrize("stage", ["answer", "rationale"])
def test_learnt_word_priors_stay_near_chance(stage: str) -> None:
    """How often a word, or a word with a word of the context, is in the true choice of other scenes, helps little."""
    right: Counter[str] = Counter()
    seen: Counter[str] = Counter()

    def features(context: str, choice: str) -> list[str]:
        own = sorted(set(choice.split()))
        return [*own, *(f"{a} {b}" for a in sorted(set(context.split())) for b in own)]

    for context, choices, label in tasks(ITEMS, stage):
        for k, choice in enumerate(choices):
            found = features(context, choice)
            seen.update(found)
            if k == label:
                right.update(found)
    hits = 0.0
    for context, choices, label in tasks(TEST_ITEMS, stage):
        scores = [sum((right[f] + 5) / (seen[f] + 20) - 0.25 for f in features(context, choice)) for choice in choices]
        hits += most(scores)[label]
    assert 0.20 <= hits / len(TEST_ITEMS) <= 0.32, hits / len(TEST_ITEMS)
