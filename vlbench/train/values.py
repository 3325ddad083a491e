"""The values of a recipe, field by field: each function returns one in its type, or says what it takes instead."""

from __future__ import annotations

import contextlib
import json
import math
from typing import TYPE_CHECKING, Any

from vlbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def number(name: str, value: Any, least: float = 0.0, most: float = math.inf, *, above: bool = False) -> float:
    """Return a finite number from ``least`` (or ``above`` it) to ``most``, also one that was read as text.

    YAML 1.1 reads ``5e-4``, without a point, as text.

    >>> number("learning_rate", "5e-4")
    0.0005
    """
    read = _read(value)
    if not least <= read <= most or (above and read == least) or math.isinf(read):
        bounds = f"above {least:g}" if above else f"from {least:g}"
        bounds += "" if math.isinf(most) else f" to {most:g}"
        raise UsageError(f"{name} is {_told(value)}; it takes a number {bounds}")
    return read


def whole(name: str, value: Any, least: int = 1, most: float = math.inf) -> int:
    """Return a whole number from ``least`` to ``most``, also one that was read as text.

    >>> whole("steps", "1e3")
    1000
    """
    read = _read(value)
    if not least <= read <= most or not read.is_integer():
        bounds = f"from {least}" + ("" if math.isinf(most) else f" to {most:.0f}")
        raise UsageError(f"{name} is {_told(value)}; it takes a whole number {bounds}")
    return int(read)


def text(name: str, value: Any) -> str:
    """Return a text; nothing is the empty one."""
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{name} is {_told(value)}; it takes a text")
    return value or ""


def mapping(name: str, value: Any, each: Callable[[str, Any], Any] = lambda _, value: value) -> Mapping[str, Any]:
    """Return a mapping from texts to what ``each`` makes of its values; nothing is the empty one.

    >>> mapping("objectives", {"itc": 1}, number)
    {'itc': 1.0}
    """
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UsageError(f"{name} is {_told(value)}; it takes a mapping, such as {{name: value}}")
    return {key: each(f"{name}.{key}", one) for key, one in value.items()}


def plain(name: str, value: Any) -> Any:
    """Return what JSON has, and refuse what YAML makes of a date."""
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} is {_told(value)}; put it in quotation marks") from error
    return value


def size(name: str, value: Any) -> Any:
    """Return a setting of a model; those that are fractions may be read as text, such as ``1e-12``.

    >>> size("model.text_epsilon", "1e-12")
    1e-12
    """
    if name.endswith("dropout"):
        return number(name, value, most=1 - 1e-9)
    return number(name, value, above=True) if name.endswith("epsilon") else plain(name, value)


def pair(name: str, value: Any) -> tuple[float, float]:
    """Return two numbers from 0 to below 1."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise UsageError(f"{name} is {_told(value)}; it takes two numbers, such as [0.9, 0.98]")
    first, second = (number(name, one, most=1 - 1e-9) for one in value)
    return first, second


def _read(value: Any) -> float:
    """Return the number that ``value`` is or tells, NaN where it is none."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            return float(value)
    return math.nan


def _told(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= 60 else f"{told[:57]}..."
