"""Pictures of scenes, in integer arithmetic only, so that every pixel is the same on every machine."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from vlbench.data.scenes.backgrounds import background_picture
from vlbench.data.scenes.scene import RADII

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vlbench.data.scenes.scene import Scene

RGB = {
    "red": (216, 38, 44),
    "orange": (246, 132, 26),
    "yellow": (252, 214, 38),
    "green": (40, 158, 72),
    "blue": (34, 92, 214),
    "purple": (126, 56, 176),
    "pink": (252, 128, 186),
    "black": (30, 30, 36),
}

# Corners in thousandths of the radius, y downwards.
POLYGONS: dict[str, tuple[tuple[int, int], ...]] = {
    "square": ((-880, -880), (880, -880), (880, 880), (-880, 880)),
    "triangle": ((0, -960), (1000, 900), (-1000, 900)),
    "diamond": ((0, -1000), (740, 0), (0, 1000), (-740, 0)),
    "star": (
        (0, -1000),
        (245, -327),
        (961, -302),
        (396, 138),
        (598, 825),
        (0, 420),
        (-598, 825),
        (-396, 138),
        (-961, -302),
        (-245, -327),
    ),
    "cross": (
        (-330, -960),
        (330, -960),
        (330, -330),
        (960, -330),
        (960, 330),
        (330, 330),
        (330, 960),
        (-330, 960),
        (-330, 330),
        (-960, 330),
        (-960, -330),
        (-330, -330),
    ),
    # 24 corners for masks in annotations; the picture has the true circle.
    "circle": tuple(
        (sx, sy)
        for sx, sy in (
            (950, 0), (918, 246), (823, 475), (672, 672), (475, 823), (246, 918),
            (0, 950), (-246, 918), (-475, 823), (-672, 672), (-823, 475), (-918, 246),
            (-950, 0), (-918, -246), (-823, -475), (-672, -672), (-475, -823), (-246, -918),
            (0, -950), (246, -918), (475, -823), (672, -672), (823, -475), (918, -246),
        )
    ),
}  # fmt: skip

_CIRCLE = 950
_SAMPLES = 16
_OUTLINE = 6
"""Width of the outline in sample points, four to a pixel."""


def _points(shape: str, radius: int) -> NDArray[np.bool_]:
    """Return which of the 4 x 4 sample points of each pixel lie in the shape: bool (8 * radius, 8 * radius).

    Points are in eighths of a pixel times 1000, measured from the middle.
    """
    points = (2 * np.arange(8 * radius, dtype=np.int64) + 1 - 8 * radius) * 1000
    px, py = points[None, :], points[:, None]
    if shape == "circle":
        return px * px + py * py <= (8 * radius * _CIRCLE) ** 2
    inside = np.zeros((8 * radius, 8 * radius), dtype=bool)
    corners = [(8 * radius * x, 8 * radius * y) for x, y in POLYGONS[shape]]
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        crosses = (y1 > py) != (y2 > py)
        side = (px - x1) * (y2 - y1) - (x2 - x1) * (py - y1)
        inside ^= crosses & ((side < 0) == (y2 > y1))
    return inside


def _shrunk(points: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the points whose neighbours at the width of the outline all lie in the shape."""
    w, d = _OUTLINE, _OUTLINE * 5 // 7
    side = len(points)
    padded = np.pad(points, w)
    inner = points.copy()
    for dx, dy in ((w, 0), (-w, 0), (0, w), (0, -w), (d, d), (d, -d), (-d, d), (-d, -d)):
        inner &= padded[w + dy : w + dy + side, w + dx : w + dx + side]
    return inner


def _coverage(points: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return how many of each pixel's sample points are set, 0 to 16."""
    side = len(points) // 4
    counts: NDArray[np.int32] = points.reshape(side, 4, side, 4).astype(np.int32).sum(axis=(1, 3), dtype=np.int32)
    return counts


@lru_cache(maxsize=256)
def _patch(shape: str, color: str, size: str) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return what an object adds to the picture, in sixteenths, and what remains of the ground: (2r, 2r, 3)."""
    radius = RADII[size]
    points = _points(shape, radius)
    outer, inner = _coverage(points), _coverage(_shrunk(points))
    fill = np.array(RGB[color], dtype=np.int32)
    edge = fill * 11 // 16
    ink = inner[..., None] * fill + (outer - inner)[..., None] * edge + _SAMPLES // 2
    rest = np.repeat((_SAMPLES - outer)[..., None], 3, axis=2)
    return ink.astype(np.uint16), rest.astype(np.uint16)


def render(scene: Scene) -> NDArray[np.uint8]:
    """Return the picture of a scene: uint8 (128, 128, 3), RGB."""
    picture = background_picture(scene.background).copy()
    for item in scene.objects:
        ink, rest = _patch(item.shape, item.color, item.size)
        x1, y1, x2, y2 = item.box
        area = picture[y1:y2, x1:x2]
        area[...] = (area * rest + ink) >> 4
    return picture


def polygon(shape: str, x: int, y: int, radius: int) -> list[list[int]]:
    """Return the corners of an object in whole pixels, for annotations."""
    return [[x + (cx * radius) // 1000, y + (cy * radius) // 1000] for cx, cy in POLYGONS[shape]]
