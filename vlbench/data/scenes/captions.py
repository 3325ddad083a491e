"""Five captions a scene, each naming every object by colour and shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlbench.data.scenes.rng import Rng
from vlbench.data.scenes.scene import relation
from vlbench.data.scenes.words import NUMBERS, listing, place, sentence

if TYPE_CHECKING:
    from vlbench.data.scenes.scene import Scene, SceneObject

_STREAM = 101
_RELATIONS = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}


def captions(scene: Scene) -> tuple[str, str, str, str, str]:
    """Return five captions in order: everything, sizes, positions, a relation, and a count.

    All are true, name all objects with colour and shape, and begin with the topmost object.
    """
    rng = Rng(_STREAM, scene.scene_id)
    objects = scene.reading_order
    full = listing([o.phrase(size=True, position=True) for o in objects])
    sizes = listing([o.phrase(size=True) for o in objects])
    positions = listing([o.phrase(position=True) for o in objects])
    return (
        sentence(rng.pick(("", "there is ")) + full),
        sentence(rng.pick(("", "a picture of ", "a drawing of ")) + sizes),
        sentence(rng.pick(("", "the picture shows ", "there is ")) + positions),
        sentence(_related(rng, objects)),
        sentence(_counted(rng, objects)),
    )


def _related(rng: Rng, objects: tuple[SceneObject, ...]) -> str:
    first, rest = objects[0], objects[1:]
    if not rest:
        return f"a single {first.size} {first.name} {place(first.region)} of the picture"
    second, others = rest[0], rest[1:]
    axes = rng.shuffled(("x", "y"))
    word = relation(first, second, axes[0]) or relation(first, second, axes[1])
    text = f"{first.phrase(size=True)} {_RELATIONS[str(word)]} {second.phrase(size=True)}"
    if others:
        text += f", with {listing([o.phrase(position=True) for o in others])}"
    return text


def _counted(rng: Rng, objects: tuple[SceneObject, ...]) -> str:
    if len(objects) == 1:
        return f"just one shape, {objects[0].phrase(size=True, position=True)}"
    sized = rng.percent(50)
    inner = listing([o.phrase(size=sized, position=not sized) for o in objects])
    return f"{NUMBERS[len(objects)]} shapes: {inner}"
