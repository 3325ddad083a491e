"""Which scenes there are: every split is a deterministic sequence, and no content occurs in two splits.

A scene's content (cell, size, colour and shape of its objects) is hashed, and the hash decides which split may hold
it; so the splits are disjoint by construction, however many training scenes are drawn. In the evaluation splits no
two scenes have the same colours and shapes, so that a caption which names them fits one picture only.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import TYPE_CHECKING

from vlbench.data.scenes.rng import Rng, mix64
from vlbench.data.scenes.scene import CENTERS, RADII, SIDE, Background, Scene, SceneObject
from vlbench.data.scenes.words import COLORS, REGIONS, SHAPES, SIZES
from vlbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1
"""Raised with every change of a pixel or a word; scores on different versions are not comparable."""

SPLITS = {"train": None, "val": 500, "test": 500, "flickr-test": 500}
"""The splits and their sizes; "train" has no end."""

_SEED = 0x5CE7E5
_FIRST_ID = {"test": 1, "val": 100_001, "flickr-test": 200_001, "train": 1_000_001}
_NUMBER = {"train": 0, "val": 1, "test": 2, "flickr-test": 3}
_SHARES = ("train", "train", "train", "train", "train", "val", "test", "flickr-test")
_COUNTS = (1,) * 5 + (2,) * 30 + (3,) * 35 + (4,) * 30
_KINDS, _TINTS, _VARIANTS = 6, 14, 4

_Item = tuple[int, str, str, str]


def _draw_content(rng: Rng) -> tuple[_Item, ...]:
    """Return cell, size, colour and shape of each object, in no particular order."""
    cells = rng.sample(range(len(REGIONS)), rng.pick(_COUNTS))
    items: list[_Item] = []
    names: set[tuple[str, str]] = set()
    for cell in cells:
        while True:
            color, shape = rng.pick(COLORS), rng.pick(SHAPES)
            if items and rng.percent(40):
                other = rng.pick(items)
                color, shape = (other[2], shape) if rng.percent(50) else (color, other[3])
            if (color, shape) not in names:
                break
        names.add((color, shape))
        items.append((cell, rng.pick(SIZES), color, shape))
    return tuple(items)


def _owner(items: tuple[_Item, ...]) -> str:
    value = VERSION
    for cell, size, color, shape in sorted(items):
        code = ((cell * 2 + SIZES.index(size)) * len(COLORS) + COLORS.index(color)) * len(SHAPES) + SHAPES.index(shape)
        value = mix64(value * 4096 + code & 0xFFFFFFFFFFFFFFFF)
    return _SHARES[value >> 61]


def _content(split: str, index: int) -> tuple[Rng, tuple[_Item, ...]]:
    rng = Rng(_SEED, VERSION, _NUMBER[split], index)
    while True:
        items = _draw_content(rng)
        if _owner(items) == split:
            return rng, items


@lru_cache(maxsize=8)
def _evaluation(split: str) -> tuple[tuple[int, tuple[_Item, ...]], ...]:
    """Return candidate number and content for each scene of a bounded split."""
    found: list[tuple[int, tuple[_Item, ...]]] = []
    seen: set[frozenset[tuple[str, str]]] = set()
    candidate = 0
    while len(found) < (SPLITS[split] or 0):
        items = _content(split, candidate)[1]
        names = frozenset((color, shape) for _, _, color, shape in items)
        if names not in seen:
            seen.add(names)
            found.append((candidate, items))
        candidate += 1
    return tuple(found)


def _place(rng: Rng, items: tuple[_Item, ...]) -> tuple[SceneObject, ...]:
    """Move each object off the middle of its cell, less and less until no two boxes touch."""
    for reach in (9, 8, 7, 6, 5, 4, 3, 2, 1, 0):
        objects = tuple(
            SceneObject(
                shape,
                color,
                size,
                _near(rng, CENTERS[cell % 3], reach, RADII[size]),
                _near(rng, CENTERS[cell // 3], reach, RADII[size]),
            )
            for cell, size, color, shape in items
        )
        if not any(_touch(a, b) for i, a in enumerate(objects) for b in objects[:i]):
            break
    return objects


def _near(rng: Rng, center: int, reach: int, radius: int) -> int:
    return min(max(center - reach + rng.below(2 * reach + 1), radius + 2), SIDE - 2 - radius)


def _touch(a: SceneObject, b: SceneObject) -> bool:
    reach = a.radius + b.radius + 2
    return abs(a.x - b.x) < reach and abs(a.y - b.y) < reach


def scene(split: str, index: int) -> Scene:
    """Return scene ``index`` of a split: a pure function of both.

    Raises ``UsageError`` for an unknown split or an index beyond its end.
    """
    size = _size(split)
    if index < 0 or (size is not None and index >= size):
        raise UsageError(f"scene {index} is not in split {split} of scenes, which has {size or 'no end'}")
    if size is None:
        rng, items = _content(split, index)
    else:
        candidate, items = _evaluation(split)[index]
        rng = Rng(_SEED, VERSION, _NUMBER[split], candidate, 1)
    objects = _place(rng, items)
    background = Background(rng.below(_KINDS), rng.below(_TINTS), rng.below(_VARIANTS))
    return Scene(_FIRST_ID[split] + index, split, objects, background)


def split(name: str, count: int | None = None, start: int = 0) -> Iterator[Scene]:
    """Iterate over ``count`` scenes of a split from index ``start`` on; None: all of them (for train, without end).

    Raises ``UsageError`` for an unknown split. A bounded split ends where it ends, whatever the count.
    """
    ends = [end for end in (_size(name), None if count is None else start + count) if end is not None]
    return (scene(name, index) for index in (range(start, min(ends)) if ends else itertools.count(start)))


def _size(name: str) -> int | None:
    if name not in SPLITS:
        raise UsageError(f"unknown split {name!r} of scenes; there are {', '.join(SPLITS)}")
    return SPLITS[name]
