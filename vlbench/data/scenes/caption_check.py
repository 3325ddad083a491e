"""Read a caption back and count which of its attributes are right for a scene."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

from vlbench.data.scenes.words import COLORS, REGIONS, SHAPES, SIZES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.data.scenes.scene import Scene

_MAX_MENTIONS = 7


class Mention(NamedTuple):
    """One object as a caption names it; None where it does not say."""

    size: str | None
    color: str | None
    shape: str
    position: str | None


@dataclass(frozen=True)
class AttributeCount:
    """How many attributes a caption says, how many of them are right, and how many objects it leaves out."""

    colors_right: int = 0
    colors_said: int = 0
    shapes_right: int = 0
    shapes_said: int = 0
    sizes_right: int = 0
    sizes_said: int = 0
    positions_right: int = 0
    positions_said: int = 0
    objects_mentioned: int = 0
    objects_in_scene: int = 0

    def __add__(self, other: AttributeCount) -> AttributeCount:
        """Add two counts, field by field."""
        return AttributeCount(*(a + b for a, b in zip(_fields(self), _fields(other), strict=True)))


def _fields(count: AttributeCount) -> list[int]:
    return [getattr(count, name) for name in AttributeCount.__dataclass_fields__]


_ADJECTIVE = "|".join((*SIZES, *COLORS))
_PLACES = "|".join(sorted(REGIONS, key=len, reverse=True))
_MENTION = re.compile(
    rf"(?P<adjectives>(?:\b(?:{_ADJECTIVE})\s+)*)\b(?P<shape>{'|'.join(SHAPES)})\b"
    rf"(?:\s+(?:is\s+)?(?:in|at|on)\s+the\s+(?P<position>{_PLACES})\b)?"
)


def parse_caption(text: str) -> list[Mention]:
    """Return the objects that a caption names, in its order.

    >>> parse_caption("A large orange star at the top and a red circle.")[0]
    Mention(size='large', color='orange', shape='star', position='top')
    """
    mentions = []
    for match in _MENTION.finditer(" ".join(text.lower().split())):
        words = match["adjectives"].split()
        size = next((word for word in reversed(words) if word in SIZES), None)
        color = next((word for word in reversed(words) if word in COLORS), None)
        mentions.append(Mention(size, color, match["shape"], match["position"]))
    return mentions


def caption_attributes(scene: Scene, text: str) -> AttributeCount:
    """Count the attributes in a caption that are right for the scene.

    Mentions are matched to objects one to one so that as many attributes as possible are right; the attributes of a
    mention without an object are wrong. At most the first seven mentions are matched, the others count as wrong.
    """
    mentions = parse_caption(text)
    truths = [Mention(o.size, o.color, o.shape, o.region) for o in scene.objects]
    slots: list[Mention | None] = [*truths, *([None] * (min(len(mentions), _MAX_MENTIONS) - len(truths)))]
    head = mentions[:_MAX_MENTIONS]
    orders = permutations(slots, len(head)) if head else iter([()])
    best = max(([_right(m, t) for m, t in zip(head, order, strict=True)] for order in orders), key=_total)
    size, color, shape, position = (sum(row[k] for row in best) for k in range(4))
    said = [sum(m[k] is not None for m in mentions) for k in range(4)]
    return AttributeCount(
        color, said[1], shape, said[2], size, said[0], position, said[3], len(mentions), len(scene.objects)
    )


def _right(mention: Mention, truth: Mention | None) -> tuple[bool, bool, bool, bool]:
    size, color, shape, position = (
        truth is not None and said is not None and said == true
        for said, true in zip(mention, truth or mention, strict=True)
    )
    return size, color, shape, position


def _total(rows: Sequence[tuple[bool, ...]]) -> int:
    return sum(sum(row) for row in rows)
