"""A scene: one to four coloured shapes in different cells of a three by three grid."""

from __future__ import annotations

from dataclasses import dataclass

from vlbench.data.scenes.words import REGIONS, article, place

SIDE = 128
"""Width and height of a picture in pixels."""

RADII = {"small": 13, "large": 20}
"""Half the side of an object's box in pixels."""

CENTERS = (22, 64, 106)
"""Middle of each grid column and row in pixels: the largest objects fit side by side with a gap of two pixels."""

CLEAR = 28
"""Pixels between two centres along an axis from which on "left of" or "above" is beyond doubt.

Any two objects are that far apart along one axis: two small ones with the gap between boxes."""


@dataclass(frozen=True)
class SceneObject:
    """One shape. ``x`` and ``y`` are its centre in pixels, from the top left corner."""

    shape: str
    color: str
    size: str
    x: int
    y: int

    @property
    def radius(self) -> int:
        """Half the side of the box, in pixels."""
        return RADII[self.size]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The square that holds the object: x1, y1, x2, y2 in pixels, half open."""
        r = self.radius
        return self.x - r, self.y - r, self.x + r, self.y + r

    @property
    def cell(self) -> int:
        """The grid cell that holds the centre: 3 * row + column."""
        return 3 * (self.y * 3 // SIDE) + self.x * 3 // SIDE

    @property
    def region(self) -> str:
        """The word for the cell, such as "top left"."""
        return REGIONS[self.cell]

    @property
    def name(self) -> str:
        """Colour and shape: within a scene no other object has both."""
        return f"{self.color} {self.shape}"

    def phrase(self, *, size: bool = False, position: bool = False) -> str:
        """Return a noun phrase with its article.

        >>> SceneObject("star", "orange", "large", 22, 22).phrase(position=True)
        'an orange star in the top left'
        """
        words = f"{self.size} {self.name}" if size else self.name
        where = f" {place(self.region)}" if position else ""
        return f"{article(words)} {words}{where}"


@dataclass(frozen=True)
class Background:
    """What lies behind the objects: the index of the kind, of the tint and of the variant (see ``backgrounds``)."""

    kind: int
    tint: int
    variant: int


@dataclass(frozen=True)
class Scene:
    """A picture's content. ``scene_id`` is unique over all splits and is the image id in the written datasets."""

    scene_id: int
    split: str
    objects: tuple[SceneObject, ...]
    background: Background

    @property
    def content(self) -> tuple[tuple[int, str, str, str], ...]:
        """Cell, size, colour and shape of each object in reading order; no two splits share one."""
        return tuple(sorted((o.cell, o.size, o.color, o.shape) for o in self.objects))

    @property
    def reading_order(self) -> tuple[SceneObject, ...]:
        """The objects from the top row to the bottom row, each from left to right."""
        return tuple(sorted(self.objects, key=lambda o: o.cell))


def relation(first: SceneObject, second: SceneObject, axis: str) -> str | None:
    """Return where ``first`` is as seen from ``second``, or None where it is not beyond doubt.

    ``axis`` "x" gives "left" or "right", "y" gives "above" or "below".
    """
    distance = first.x - second.x if axis == "x" else first.y - second.y
    if abs(distance) < CLEAR:
        return None
    before, after = ("left", "right") if axis == "x" else ("above", "below")
    return before if distance < 0 else after
