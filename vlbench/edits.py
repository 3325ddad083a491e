"""Edits of a decoded picture: a crop, and marks around regions for models that see only pixels.

An edit is part of its image's key, so that caches and journals never take one picture for the other. Whoever changes
what an edit draws raises its version below.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from vlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image, ImageDraw

    from vlbench.types import Region

    Point = tuple[float, float]

MARKS_VERSION = 1

PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (204, 51, 17),
    "blue": (0, 119, 187),
    "orange": (238, 119, 51),
    "cyan": (51, 187, 238),
    "magenta": (238, 51, 119),
    "teal": (0, 153, 136),
    "white": (255, 255, 255),
}
"""The vibrant scheme of Paul Tol, which colour-blind readers can tell apart, with white in place of its grey."""

_HALO = (0, 0, 0)


class Edit(Protocol):
    """A change of a decoded picture, as a frozen value."""

    def content(self) -> Sequence[object]:
        """Return what tells this edit from all others, as JSON can hold it."""

    def apply(self, image: Image.Image, where: str) -> Image.Image:
        """Return the changed picture; raises ``DataError`` naming the file ``where`` if that is not possible."""


@dataclass(frozen=True)
class Crop:
    """The part of the picture in ``box``: x1, y1, x2, y2 in whole pixels, half open."""

    box: tuple[int, int, int, int]

    def content(self) -> Sequence[object]:
        """Return the kind of edit and its box."""
        return ["crop", list(self.box)]

    def apply(self, image: Image.Image, where: str) -> Image.Image:
        """Return the part that lies in the picture; raises ``DataError`` where none does."""
        x1, y1, x2, y2 = self.box
        box = max(0, x1), max(0, y1), min(image.width, x2), min(image.height, y2)
        if box[0] >= box[2] or box[1] >= box[3]:
            raise DataError(
                f"image {where} has {image.width} x {image.height} pixels; the region {list(self.box)} lies outside"
            )
        return image.crop(box)


@dataclass(frozen=True)
class Marks:
    """An outline in a colour of ``PALETTE`` around each region, with its label on a plate of the same colour.

    The outline follows the region's polygons where ``outlines`` is set and it has some, else its box. A region takes
    the colour of its place; from the eighth on colours come again, and only labels tell regions apart.
    """

    regions: tuple[Region, ...]
    outlines: bool = True

    def content(self) -> Sequence[object]:
        """Return the kind of edit, its version and what is marked."""
        return ["marks", MARKS_VERSION, self.outlines, [dataclasses.astuple(region) for region in self.regions]]

    def apply(self, image: Image.Image, where: str) -> Image.Image:
        """Return a marked copy; what lies outside the picture is not drawn."""
        from PIL import ImageDraw

        marked = image.copy()
        draw = ImageDraw.Draw(marked)
        width = max(2, round(min(image.size) / 150))
        colours = [PALETTE[name] for name in colour_names(len(self.regions))]
        for region, colour in zip(self.regions, colours, strict=True):
            for line in _lines(region, self.outlines):
                draw.line(line, fill=_HALO, width=width + 2, joint="curve")
                draw.line(line, fill=colour, width=width, joint="curve")
        # Plates come last, so that no outline runs through a label.
        for region, colour in zip(self.regions, colours, strict=True):
            _plate(draw, region, colour, image.size)
        return marked


def colour_names(regions: int) -> list[str]:
    """Return the colour of each of so many regions.

    >>> colour_names(2)
    ['red', 'blue']
    """
    names = list(PALETTE)
    return [names[place % len(names)] for place in range(regions)]


def _lines(region: Region, outlines: bool) -> list[list[Point]]:
    """Return closed lines: the polygons of two points or more, else the box."""
    polygons = [list(polygon) for polygon in region.polygons if len(polygon) > 1] if outlines else []
    if not polygons:
        x1, y1, x2, y2 = region.box
        polygons = [[(x1, y1), (x2, y1), (x2, y2), (x1, y2)]]
    return [[*polygon, polygon[0]] for polygon in polygons]


def _plate(draw: ImageDraw.ImageDraw, region: Region, colour: tuple[int, int, int], size: tuple[int, int]) -> None:
    """Write the label on a plate above the region's box: below it where there is no room, else in its corner."""
    from PIL import ImageFont

    font = ImageFont.load_default(max(9, round(min(size) / 32)))
    left, top, right, bottom = draw.textbbox((0, 0), region.label, font=font)
    width, height = right - left + 4, bottom - top + 4
    x = min(max(0.0, region.box[0]), max(0.0, size[0] - width))
    above, below = region.box[1] - height, region.box[3] + 1
    inside = min(max(0.0, region.box[1]), max(0.0, size[1] - height))
    y = above if above >= 0 else below if below + height < size[1] else inside
    draw.rectangle((x, y, x + width, y + height), fill=colour, outline=_HALO)
    # White on the dark colours, black on the light ones: the luminance of ITU-R BT.601.
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    draw.text((x + 2 - left, y + 2 - top), region.label, font=font, fill=_HALO if bright else (255, 255, 255))
