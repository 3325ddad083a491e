"""Backgrounds: muted tints in six plain patterns, which compress well and leave every object colour distinct."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from vlbench.data.scenes.scene import SIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vlbench.data.scenes.scene import Background

TINTS = (
    (246, 243, 236),
    (226, 236, 245),
    (227, 240, 229),
    (244, 230, 228),
    (236, 231, 245),
    (248, 240, 218),
    (216, 220, 225),
    (198, 214, 216),
    (224, 212, 196),
    (174, 190, 206),
    (170, 190, 178),
    (196, 182, 192),
    (104, 116, 132),
    (152, 140, 130),
)
KINDS = ("plain", "horizon", "frame", "stripes", "bands", "wall")


def _shade(tint: NDArray[np.int32], sixteenths: int) -> NDArray[np.uint8]:
    """Return the tint darkened to ``sixteenths`` / 32 + 1/2 of itself."""
    return (tint * (16 + sixteenths) // 32).astype(np.uint8)


@lru_cache(maxsize=512)
def background_picture(background: Background) -> NDArray[np.uint8]:
    """Return the picture behind the objects: uint8 (128, 128, 3). Shared: copy it before drawing."""
    tint = np.array(TINTS[background.tint], dtype=np.int32)
    kind, variant = KINDS[background.kind], background.variant
    picture = np.empty((SIDE, SIDE, 3), dtype=np.uint8)
    picture[...] = _shade(tint, 16)
    if kind == "horizon":
        picture[56 + 14 * variant :] = _shade(tint, 12)
    elif kind == "frame":
        width = 2 + 2 * variant
        middle = picture[width:-width, width:-width].copy()
        picture[...] = _shade(tint, 10)
        picture[width:-width, width:-width] = middle
    elif kind == "stripes":
        period = (8, 12, 16, 24)[variant]
        rows = np.arange(SIDE) // period % 2 == 1
        picture[rows] = _shade(tint, 14)
    elif kind == "bands":
        steps = 4 + variant
        for step in range(steps):
            picture[SIDE * step // steps : SIDE * (step + 1) // steps] = _shade(tint, 16 - step)
    elif kind == "wall":
        picture[:, 24 + 26 * variant :] = _shade(tint, 13)
    picture.setflags(write=False)
    return picture
