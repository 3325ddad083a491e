"""Which attributes exclude each other and which predicates can be turned round: what makes a false statement false.

Scene graphs are not exhaustive: that "the white wall" is not annotated as tall does not make it low. So only words are
used of which the tables below say that the changed statement contradicts the true one.
"""

from __future__ import annotations

import re

ATTRIBUTES: dict[str, tuple[tuple[str, ...], ...]] = {
    "colour": (
        ("white",),
        ("black",),
        ("red",),
        ("green", "dark green", "light green", "lime green"),
        ("blue", "dark blue", "light blue", "navy", "navy blue"),
        ("yellow",),
        ("orange",),
        ("brown", "tan", "light brown", "dark brown"),
        ("gray", "grey", "silver", "dark gray", "light gray", "dark grey", "light grey"),
        ("pink",),
        ("purple",),
    ),
    "size": (("small", "little", "tiny"), ("large", "big", "huge")),
    "height": (("short",), ("tall",)),
    "age": (("young", "new"), ("old",)),
    "material": (
        ("wooden", "wood"),
        ("metal", "metallic", "steel", "iron"),
        ("plastic",),
        ("glass",),
        ("brick",),
        ("stone", "rock"),
        ("concrete", "cement"),
        ("leather",),
        ("paper",),
    ),
    "openness": (("open", "opened"), ("closed", "shut")),
    "fullness": (("empty",), ("full", "filled")),
    "moisture": (("wet",), ("dry",)),
    "cleanness": (("clean",), ("dirty",)),
}
"""Groups of words that exclude each other, by group; the words of one tuple mean much the same."""

CLASS_OF: dict[str, tuple[str, int]] = {
    word: (group, number)
    for group, classes in ATTRIBUTES.items()
    for number, words in enumerate(classes)
    for word in words
}
"""For a word its group and the number of its class in the group."""

OPPOSITES: dict[str, str] = {
    "on": "under",
    "on top of": "under",
    "above": "below",
    "over": "under",
    "under": "on top of",
    "underneath": "on top of",
    "beneath": "on top of",
    "below": "above",
    "in": "outside of",
    "inside": "outside of",
    "inside of": "outside of",
    "outside of": "inside of",
    "in front of": "behind",
    "behind": "in front of",
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "left of": "right of",
    "right of": "left of",
}
"""What a predicate is replaced by: one that excludes it."""

_SIDES: tuple[tuple[frozenset[str], frozenset[str]], ...] = (
    (frozenset({"on", "on top of", "above", "over"}), frozenset({"under", "underneath", "beneath", "below"})),
    (frozenset({"in", "inside", "inside of"}), frozenset({"outside of"})),
    (frozenset({"in front of"}), frozenset({"behind"})),
    (frozenset({"to the left of", "left of"}), frozenset({"to the right of", "right of"})),
)
"""Predicates that say much the same, beside those that exclude them."""

ONE_WAY: frozenset[str] = frozenset(OPPOSITES) | {
    "carrying", "carries", "covering", "covered in", "covered by", "crossing", "cutting", "drinking", "driving",
    "driving on", "eating", "flying", "growing on", "hanging from", "hanging on", "has", "have", "holding", "holds",
    "laying on", "lying on", "made of", "mounted on", "of", "painted on", "parked on", "part of", "printed on",
    "pulling", "pushing", "reading", "riding", "sitting at", "sitting in", "sitting on", "sits on", "standing in",
    "standing on", "swinging", "throwing", "using", "walking on", "wearing", "wears", "written on",
}  # fmt: skip
"""Predicates that do not hold the other way round; unlike "next to", "near", "with" or "touching"."""

_NAME = re.compile(r"[a-z]+(?:[ '-][a-z]+){0,2}")
_LEADING = re.compile(r"^(?:is|are) ")
_TRAILING = re.compile(r" (?:a|an|the)$")


def plain(text: str) -> str:
    """Return ``text`` in lower case with single blanks."""
    return " ".join(text.lower().split())


def object_name(text: str) -> str:
    """Return the name of an object in lower case; "" where it is no name of one to three words, or that of a colour.

    >>> object_name("Fire Hydrant"), object_name("monitor is off."), object_name("yellow")
    ('fire hydrant', '', '')
    """
    name = plain(text)
    is_colour = name in CLASS_OF and CLASS_OF[name][0] == "colour"
    return name if _NAME.fullmatch(name) and not is_colour else ""


def predicate(text: str) -> str:
    """Return a predicate without the verb before it and the article behind it.

    >>> predicate("ARE ON"), predicate("sitting at a"), predicate("on")
    ('on', 'sitting at', 'on')
    """
    return _TRAILING.sub("", _LEADING.sub("", plain(text)))


def sides(word: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the predicates that say much the same as ``word``, itself among them, and those that exclude it."""
    for one, other in _SIDES:
        if word in one:
            return one, other
        if word in other:
            return other, one
    return frozenset({word}), frozenset()
