"""Region descriptions and relationships of a scene, as Visual Genome has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlbench.data.scenes.scene import relation

if TYPE_CHECKING:
    from vlbench.data.scenes.scene import Scene, SceneObject

_PREDICATES = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}


@dataclass(frozen=True)
class Region:
    """A phrase and the box that it describes, in pixels: left and top edge, width and height."""

    phrase: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Relationship:
    """``subject`` and ``object`` are indices into the scene's objects; ``predicate`` is such as "above"."""

    subject: int
    predicate: str
    object: int


def relationships(scene: Scene) -> tuple[Relationship, ...]:
    """Return every relation of two objects that is beyond doubt, seen from both sides and along both axes."""
    found: list[Relationship] = []
    for i, first in enumerate(scene.objects):
        for j, second in enumerate(scene.objects):
            if i != j:
                words = (relation(first, second, axis) for axis in ("x", "y"))
                found.extend(Relationship(i, _PREDICATES[word], j) for word in words if word)
    return tuple(found)


def regions(scene: Scene) -> tuple[Region, ...]:
    """Return one region for each object, then one for each two objects that follow in reading order."""
    order = scene.reading_order
    found = [_region(o.phrase(size=True), o) for o in order]
    for first, second in zip(order, order[1:], strict=False):
        word = relation(first, second, "y") or relation(first, second, "x") or ""
        found.append(_region(f"{first.phrase()} {_PREDICATES[word]} {second.phrase()}", first, second))
    return tuple(found)


def _region(phrase: str, *objects: SceneObject) -> Region:
    lefts, tops, rights, bottoms = zip(*(o.box for o in objects), strict=True)
    x, y = min(lefts), min(tops)
    return Region(phrase, x, y, max(rights) - x, max(bottoms) - y)
