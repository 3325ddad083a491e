"""VQA questions with ten annotators' answers, in the manner of VQA v2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlbench.data.scenes.rng import Rng
from vlbench.data.scenes.scene import relation
from vlbench.data.scenes.words import COLORS, SHAPES, SIZES, article, place, plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from vlbench.data.scenes.scene import Scene, SceneObject

_STREAM = 202
_DIRECTIONS = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}

# The same answer in other clothes: official normalisation makes them equal to the first.
_CLOTHES = {"yes": "Yes", "no": "No.", "0": "none", "1": "one", "2": "two", "3": "three", "4": "four"}
_OTHER_WORDS = {
    "red": "dark red",
    "orange": "light orange",
    "yellow": "gold",
    "green": "dark green",
    "blue": "dark blue",
    "purple": "violet",
    "pink": "light pink",
    "black": "dark gray",
    "circle": "round",
    "square": "box",
    "triangle": "pyramid",
    "diamond": "rhombus",
    "star": "5-pointed star",
    "cross": "plus",
    "small": "little",
    "large": "big",
    "top left": "upper left",
    "top": "top center",
    "top right": "upper right",
    "left": "left side",
    "center": "middle",
    "right": "right side",
    "bottom left": "lower left",
    "bottom": "bottom center",
    "bottom right": "lower right",
    "yes": "no",
    "no": "yes",
    "0": "1",
    "1": "2",
    "2": "3",
    "3": "2",
    "4": "3",
}


@dataclass(frozen=True)
class Question:
    """A question, its official types, and the annotators' answers.

    ``question_type`` is the lower-case beginning of the question; ``answers`` holds ten strings, of which at least
    eight are ``multiple_choice_answer`` after the official normalisation.
    """

    question: str
    question_type: str
    answer_type: str
    answers: tuple[str, ...]
    multiple_choice_answer: str


def questions(scene: Scene) -> tuple[Question, ...]:
    """Return six questions: existence, count, a relation (where there are two objects) and attributes."""
    rng = Rng(_STREAM, scene.scene_id)
    optional: list[Callable[[Scene, Rng], Question]] = [_color, _shape, _where, _size]
    chosen = rng.sample(range(4), 3 if len(scene.objects) > 1 else 4)
    out = [_existence(scene, rng), _count(scene, rng)]
    if len(scene.objects) > 1:
        out.append(_relation(scene, rng))
    out.extend(optional[k](scene, rng) for k in sorted(chosen))
    return tuple(out)


def _asked(rng: Rng, text: str, question_type: str, answer_type: str, answer: str) -> Question:
    answers = [answer] * 10
    kind = rng.below(10)
    if kind < 2:
        # Four of ten would make the other answer as right as the consensus, and one alone is worth 0.3: where the
        # other answer is the opposite, a blind "yes" must not live on it.
        few = min(1 + rng.below(4), 1 if answer_type == "yes/no" else 2)
        answers[:few] = [_OTHER_WORDS[answer]] * few
    elif kind < 4 and answer in _CLOTHES:
        answers[:2] = [_CLOTHES[answer]] * 2
    elif kind < 5:
        answers[:2] = [f"{answer}.", _OTHER_WORDS[answer]]
    return Question(text, question_type, answer_type, tuple(rng.shuffled(answers)), answer)


def _coin(scene: Scene, stream: int) -> bool:
    """Return a coin that shows each side once for two neighbouring scenes, so that yes and no balance exactly."""
    return bool((Rng(_STREAM, stream, (scene.scene_id - 1) // 2).below(2) + scene.scene_id) % 2)


def _existence(scene: Scene, rng: Rng) -> Question:
    names = {(o.color, o.shape) for o in scene.objects}
    if _coin(scene, 1):
        color, shape = rng.pick(sorted(names))
        answer = "yes"
    else:
        crossed = [(c, s) for c in sorted({n[0] for n in names}) for s in sorted({n[1] for n in names})]
        absent = [pair for pair in crossed if pair not in names]
        if not absent or rng.percent(50):
            absent = [(c, s) for c in COLORS for s in SHAPES if (c, s) not in names]
        color, shape = rng.pick(absent)
        answer = "no"
    text = f"Is there {article(color)} {color} {shape} {rng.pick(('', 'in the picture'))}".rstrip()
    return _asked(rng, f"{text}?", "is there a", "yes/no", answer)


def _count(scene: Scene, rng: Rng) -> Question:
    objects = scene.objects
    groups: dict[int, list[str]] = {len(objects): ["shapes"] * 2}
    for words, count in (
        *((f"{c} shapes", sum(o.color == c for o in objects)) for c in COLORS),
        *((plural(s), sum(o.shape == s for o in objects)) for s in SHAPES),
        *((f"{z} shapes", sum(o.size == z for o in objects)) for z in SIZES),
    ):
        groups.setdefault(count, []).append(words)
    answer = rng.pick(sorted(groups))
    text = f"How many {rng.pick(groups[answer])} are {rng.pick(('there', 'in the picture'))}?"
    return _asked(rng, text, "how many", "number", str(answer))


def _relation(scene: Scene, rng: Rng) -> Question:
    pairs = [(a, b) for a in scene.objects for b in scene.objects if a is not b]
    first, second = rng.pick(pairs)
    axes = rng.shuffled(("x", "y"))
    true = relation(first, second, axes[0]) or relation(first, second, axes[1]) or ""
    yes = _coin(scene, 2)
    asked = true if yes else _OPPOSITE[true]
    text = f"Is the {first.name} {_DIRECTIONS[asked]} the {second.name}?"
    return _asked(rng, text, "is the", "yes/no", "yes" if yes else "no")


def _color(scene: Scene, rng: Rng) -> Question:
    target = rng.pick(scene.objects)
    ways = [f"the shape {place(target.region)}"]
    if _alone(scene, "shape", target):
        ways += [f"the {target.shape}"] * 2
    elif _alone(scene, "size", target, "shape"):
        ways += [f"the {target.size} {target.shape}"] * 2
    return _asked(rng, f"What color is {rng.pick(ways)}?", "what color is the", "other", target.color)


def _shape(scene: Scene, rng: Rng) -> Question:
    target = rng.pick(scene.objects)
    ways = [f"the object {place(target.region)}"]
    if _alone(scene, "color", target):
        ways += [f"the {target.color} object"] * 2
    elif _alone(scene, "size", target, "color"):
        ways += [f"the {target.size} {target.color} object"] * 2
    return _asked(rng, f"What shape is {rng.pick(ways)}?", "what shape is the", "other", target.shape)


def _where(scene: Scene, rng: Rng) -> Question:
    target = rng.pick(scene.objects)
    named = target.shape if _alone(scene, "shape", target) and rng.percent(40) else target.name
    return _asked(rng, f"Where is the {named}?", "where is the", "other", target.region)


def _size(scene: Scene, rng: Rng) -> Question:
    target = rng.pick(scene.objects)
    return _asked(rng, f"What size is the {target.name}?", "what size is the", "other", target.size)


def _alone(scene: Scene, attribute: str, target: SceneObject, second: str = "") -> bool:
    """Tell whether no other object shares the attribute (and the second one) with the target."""
    names = [name for name in (attribute, second) if name]
    return not any(o is not target and all(getattr(o, n) == getattr(target, n) for n in names) for o in scene.objects)
