"""The vocabulary of the benchmark: shapes, colours, sizes and regions, with the English around them."""

from __future__ import annotations

SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross")
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
SIZES = ("small", "large")
REGIONS = (
    "top left",
    "top",
    "top right",
    "left",
    "center",
    "right",
    "bottom left",
    "bottom",
    "bottom right",
)
"""Cells of a three by three grid in reading order; cell = 3 * row + column."""

_PREPOSITIONS = {"top": "at", "bottom": "at", "left": "on", "right": "on"}

NUMBERS = ("zero", "one", "two", "three", "four")


def article(word: str) -> str:
    """Return "a" or "an" for the word that follows.

    >>> article("orange"), article("red")
    ('an', 'a')
    """
    return "an" if word[0] in "aeiou" else "a"


def place(region: str) -> str:
    """Return the region with its preposition.

    >>> place("top left"), place("bottom"), place("right")
    ('in the top left', 'at the bottom', 'on the right')
    """
    return f"{_PREPOSITIONS.get(region, 'in')} the {region}"


def plural(shape: str) -> str:
    """Return the plural of a shape.

    >>> plural("cross"), plural("star")
    ('crosses', 'stars')
    """
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"


def listing(phrases: list[str]) -> str:
    """Join phrases as English does.

    >>> listing(["a", "b", "c"]), listing(["a", "b"]), listing(["a"])
    ('a, b and c', 'a and b', 'a')
    """
    if len(phrases) == 1:
        return phrases[0]
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def sentence(text: str) -> str:
    """Return the text with a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}."
