"""VCR items: a question, four answers and four rationales with tags that point at objects.

The four choices are the corners of a design in which every two choices agree in the same number of attributes, so
that none is "the middle one", and the attributes of the rationales are not those of the answer. A model that reads
the text alone is therefore left with chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlbench.data.scenes.render import polygon
from vlbench.data.scenes.rng import Rng
from vlbench.data.scenes.scene import SIDE, relation
from vlbench.data.scenes.words import COLORS, REGIONS, SHAPES, SIZES, article, place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vlbench.data.scenes.scene import Scene, SceneObject

_STREAM = 303

Tokens = tuple[str | tuple[int, ...], ...]
"""Words, and tuples of 0-based indices into ``objects``."""


@dataclass(frozen=True)
class VCRItem:
    """One item in the terms of the official files; ``boxes`` are x1, y1, x2, y2, score in pixels."""

    question: Tokens
    answer_choices: tuple[Tokens, ...]
    answer_label: int
    rationale_choices: tuple[Tokens, ...]
    rationale_label: int
    objects: tuple[str, ...]
    boxes: tuple[tuple[int, int, int, int, int], ...]
    segms: tuple[tuple[tuple[tuple[int, int], ...], ...], ...]
    width: int = SIDE
    height: int = SIDE


class _Parts:
    """Question, answers and rationales of one item; the right one stands first."""

    def __init__(self, question: str, answers: Sequence[str], rationales: Sequence[str]) -> None:
        self.question, self.answers, self.rationales = question, answers, rationales


def vcr_items(scene: Scene) -> tuple[VCRItem, ...]:
    """Return two items a scene, of different kinds where the scene allows it."""
    rng = Rng(_STREAM, scene.scene_id)
    kinds: list[Callable[[Scene, Rng], _Parts | None]] = [_what, _color_and_place, _neighbour, _in_common]
    found: list[_Parts] = []
    for k in rng.shuffled(range(len(kinds))):
        parts = kinds[k](scene, rng)
        if parts is not None:
            found.append(parts)
        if len(found) == 2:
            break
    return tuple(_item(scene, rng, parts) for parts in found)


def tokens(text: str) -> Tokens:
    """Split a text with tags such as [0] or [0,2] into words, marks and tags.

    >>> tokens("[0,1] are red.")
    ((0, 1), 'are', 'red', '.')
    """
    out: list[str | tuple[int, ...]] = []
    for word in text.replace("?", " ?").replace(".", " .").replace(", ", " , ").split():
        out.append(tuple(int(k) for k in word[1:-1].split(",")) if word.startswith("[") else word)
    return tuple(out)


def _item(scene: Scene, rng: Rng, parts: _Parts) -> VCRItem:
    answers, rationales = rng.shuffled(range(4)), rng.shuffled(range(4))
    return VCRItem(
        question=tokens(parts.question),
        answer_choices=tuple(tokens(parts.answers[k]) for k in answers),
        answer_label=answers.index(0),
        rationale_choices=tuple(tokens(parts.rationales[k]) for k in rationales),
        rationale_label=rationales.index(0),
        objects=("object",) * len(scene.objects),
        boxes=tuple((*o.box, 1) for o in scene.objects),
        segms=tuple((_outline(o),) for o in scene.objects),
    )


def _outline(item: SceneObject) -> tuple[tuple[int, int], ...]:
    return tuple((x, y) for x, y in polygon(item.shape, item.x, item.y, item.radius))


def _other(rng: Rng, values: Sequence[str], *taken: str) -> str:
    return rng.pick([value for value in values if value not in taken])


def _corners(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Return four combinations, the true one first, of (true, false) values.

    Two attributes: all four combinations. Three: the half of the cube in which every two differ in two attributes.
    """
    if len(pairs) == 2:
        masks: tuple[tuple[int, ...], ...] = ((0, 0), (0, 1), (1, 0), (1, 1))
    else:
        masks = ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0))
    return [tuple(pair[bit] for pair, bit in zip(pairs, mask, strict=True)) for mask in masks]


def _places(rng: Rng, target: SceneObject) -> list[str]:
    """Return four regions, the true one first: two rows by two columns."""
    row, column = divmod(target.cell, 3)
    row2, column2 = (row + 1 + rng.below(2)) % 3, (column + 1 + rng.below(2)) % 3
    return [REGIONS[3 * r + c] for r in (row, row2) for c in (column, column2)]


def _what(scene: Scene, rng: Rng) -> _Parts:
    k = rng.below(len(scene.objects))
    target = scene.objects[k]
    looks = _corners(
        [
            (target.size, _other(rng, SIZES, target.size)),
            (target.color, _other(rng, COLORS, target.color)),
            (target.shape, _other(rng, SHAPES, target.shape)),
        ]
    )
    return _Parts(
        rng.pick((f"What is [{k}]?", f"What does [{k}] look like?")),
        [f"[{k}] is a {' '.join(look)}." for look in looks],
        [f"I see [{k}] {place(region)} of the picture, and it looks like that." for region in _places(rng, target)],
    )


def _color_and_place(scene: Scene, rng: Rng) -> _Parts:
    k = rng.below(len(scene.objects))
    target = scene.objects[k]
    wrong = _other(rng, COLORS, target.color)
    row, column = divmod(target.cell, 3)
    elsewhere = REGIONS[3 * ((row + rng.below(2) + 1) % 3) + (column + rng.below(2) + 1) % 3]
    answers = _corners([(target.color, wrong), (target.region, elsewhere)])
    reasons = _corners(
        [(target.size, _other(rng, SIZES, target.size)), (target.shape, _other(rng, SHAPES, target.shape))]
    )
    return _Parts(
        f"What color is [{k}], and where is it?",
        [f"[{k}] is {color} and lies {place(region)}." for color, region in answers],
        [f"I see that [{k}] is a {size} {shape}." for size, shape in reasons],
    )


def _neighbour(scene: Scene, rng: Rng) -> _Parts | None:
    """Ask for the one object that lies in a direction from another."""
    cases = []
    for k, anchor in enumerate(scene.objects):
        for axis in ("x", "y"):
            for side in ("left", "right") if axis == "x" else ("above", "below"):
                there = [o for o in scene.objects if o is not anchor and _beside(o, anchor, axis, side)]
                unsure = [o for o in scene.objects if o is not anchor and relation(o, anchor, axis) is None]
                if len(there) == 1 and not unsure:
                    cases.append((k, side, there[0]))
    if not cases:
        return None
    k, side, target = rng.pick(cases)
    anchor = scene.objects[k]
    direction = f"to the {side} of" if side in ("left", "right") else side
    looks = _corners(
        [(target.size, _other(rng, SIZES, target.size)), (target.color, _other(rng, COLORS, target.color))]
    )
    reasons = _corners([(anchor.shape, _other(rng, SHAPES, anchor.shape)), _two_places(rng, anchor, side)])
    return _Parts(
        f"What is {direction} [{k}]?",
        [f"{article(size).capitalize()} {size} {color} shape is {direction} [{k}]." for size, color in looks],
        [f"[{k}] is the {shape} {place(region)}, and only one shape is {direction} it." for shape, region in reasons],
    )


def _beside(item: SceneObject, anchor: SceneObject, axis: str, side: str) -> bool:
    return relation(item, anchor, axis) == side


def _two_places(rng: Rng, anchor: SceneObject, side: str) -> tuple[str, str]:
    """Return the anchor's region and another in the same row or column, which the direction asked for allows too."""
    row, column = divmod(anchor.cell, 3)
    step = 1 + rng.below(2)
    if side in ("left", "right"):
        return anchor.region, REGIONS[3 * ((row + step) % 3) + column]
    return anchor.region, REGIONS[3 * row + (column + step) % 3]


_SHARED = {
    (True, False, False): "color",
    (False, True, False): "shape",
    (False, False, True): "size",
    (False, False, False): "nothing",
}
_IN_COMMON = {
    "color": "only their color",
    "shape": "only their shape",
    "size": "only their size",
    "nothing": "nothing",
}
_ACCEPT = {"color": 100, "shape": 100, "size": 50, "nothing": 50}


def _in_common(scene: Scene, rng: Rng) -> _Parts | None:
    """Ask what two objects share; the share of each answer is evened out by leaving some out."""
    wanted = rng.pick(("color", "shape", "size", "nothing"))
    cases = []
    for i, a in enumerate(scene.objects):
        for j, b in enumerate(scene.objects):
            same = (a.color == b.color, a.shape == b.shape, a.size == b.size)
            if i < j and _SHARED.get(same) == wanted:
                cases.append((i, j))
    if not cases or not rng.percent(_ACCEPT[wanted]):
        return None
    i, j = rng.pick(cases)
    others = [kind for kind in ("color", "shape", "size", "nothing") if kind != wanted]
    return _Parts(
        rng.pick((f"What do [{i}] and [{j}] have in common?", f"What is the same about [{i}] and [{j}]?")),
        [f"[{i},{j}] have {_IN_COMMON[kind]} in common." for kind in (wanted, *others)],
        _common_reasons(rng, scene.objects[i], scene.objects[j], (i, j)),
    )


def _common_reasons(rng: Rng, a: SceneObject, b: SceneObject, tags: tuple[int, int]) -> list[str]:
    """Return four descriptions of the pair that all agree with the answer; only the first is true."""
    color_a = _other(rng, COLORS, a.color, b.color)
    color_b = color_a if a.color == b.color else _other(rng, COLORS, a.color, b.color, color_a)
    shape_a = _other(rng, SHAPES, a.shape, b.shape)
    shape_b = shape_a if a.shape == b.shape else _other(rng, SHAPES, a.shape, b.shape, shape_a)
    if a.color == b.color:
        rows = [(c, x, c, y) for c, x, y in _corners([(a.color, color_a), (a.shape, shape_a), (b.shape, shape_b)])]
    elif a.shape == b.shape:
        rows = [(x, s, y, s) for s, x, y in _corners([(a.shape, shape_a), (a.color, color_a), (b.color, color_b)])]
    else:
        first = _corners([(a.color, color_a), (a.shape, shape_a), (b.color, color_b)])
        rows = [(x, s, y, b.shape) for x, s, y in first]
    i, j = tags
    return [f"[{i}] is {article(ca)} {ca} {sa} and [{j}] is {article(cb)} {cb} {sb}." for ca, sa, cb, sb in rows]
