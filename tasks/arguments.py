"""Reading ``--task-arg`` values and files of predictions: one place for what several tasks share."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vlbench.capabilities import LIKELIHOOD_ROUTES, route
from vlbench.data.checks import Table, first_few, refuse_duplicates
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from vlbench.types import Decoding

DECODING_HELP: Mapping[str, str] = {
    "max_new_tokens": "longest answer in tokens",
    "num_beams": "beams of the search; 1 is greedy",
    "length_penalty": "exponent on the length in the score of a beam",
    "repetition_penalty": "divides the score of tokens seen before; 1 is none",
}

_WAYS = ("per-token", *(way for name in LIKELIHOOD_ROUTES if (way := name.removeprefix("likelihood-")) != "per-token"))
LIKELIHOOD_HELP: Mapping[str, str] = {
    "likelihood": "how a generator's likelihood ranks choices: per-token (default), sum or less-blind",
}


def choosing(task: str, arguments: Mapping[str, str], capabilities: frozenset[str]) -> str | None:
    """Return the route by which a model chooses, None where it has none.

    ``likelihood`` given explicitly asks for that route; raises ``UsageError`` where the model has none.
    """
    form = choice(task, arguments, "likelihood", _WAYS)
    if "likelihood" not in arguments:
        return route("choose", capabilities)
    if "loglikelihood" not in capabilities:
        raise UsageError(f"--task-arg {task}:likelihood needs a model with loglikelihood, and this one has none")
    return f"likelihood-{form}"


def integer(task: str, arguments: Mapping[str, str], key: str, default: int, low: int) -> int:
    """Return an integer argument; raises ``UsageError`` where it is none or below ``low``."""
    text = arguments.get(key, str(default))
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if value < low:
        raise UsageError(f"--task-arg {task}:{key}={text} is not an integer of {low} or more")
    return value


def number(task: str, arguments: Mapping[str, str], key: str, default: float) -> float:
    """Return a positive or negative finite number; raises ``UsageError`` where it is none."""
    text = arguments.get(key, str(default))
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise UsageError(f"--task-arg {task}:{key}={text} is not a number")
    return value


def choice(task: str, arguments: Mapping[str, str], key: str, allowed: Sequence[str]) -> str:
    """Return one of the ``allowed`` words, by default the first; raises ``UsageError`` for any other."""
    value = arguments.get(key, allowed[0])
    if value not in allowed:
        raise UsageError(f"--task-arg {task}:{key}={value} is none of: {', '.join(allowed)}")
    return value


def template(task: str, arguments: Mapping[str, str], key: str, default: str, fields: Sequence[str]) -> str:
    """Return a format string; raises ``UsageError`` unless it has all ``fields`` and no others.

    Where a ``{choice}`` is due, ``{choices}`` will do: that is how a model that is asked for a letter sees them.
    """
    value = arguments.get(key, default)
    if "{choices}" in value:
        fields = ["choices" if name == "choice" else name for name in fields]
    marks = {name: f"\0{name}\0" for name in fields}
    try:
        filled = value.format(**marks)
    except (KeyError, IndexError, ValueError):
        filled = ""
    if not all(mark in filled for mark in marks.values()):
        wanted = " and ".join(f"{{{name}}}" for name in fields)
        raise UsageError(f"--task-arg {task}:{key}={value} must contain {wanted}, and no other braces")
    return value


def decoding(task: str, arguments: Mapping[str, str], default: Decoding) -> Decoding:
    """Return ``default`` with what the arguments change; raises ``UsageError`` for values out of range."""
    return dataclasses.replace(
        default,
        max_new_tokens=integer(task, arguments, "max_new_tokens", default.max_new_tokens, 1),
        num_beams=integer(task, arguments, "num_beams", default.num_beams, 1),
        length_penalty=number(task, arguments, "length_penalty", default.length_penalty),
        repetition_penalty=number(task, arguments, "repetition_penalty", default.repetition_penalty),
    )


def shown_prompt(prompt: str, used: Decoding) -> str:
    """Return prompt and decoding as the signature shows them.

    >>> from vlbench.types import Decoding
    >>> shown_prompt("", Decoding())
    'none[max_new_tokens=30,num_beams=1]'
    """
    return f"{prompt or 'none'}[{used}]"


def read_predictions(path: Path, ids: Collection[str], id_key: str, text_key: str) -> dict[str, str]:
    """Read ``[{id_key: …, text_key: …}]`` with exactly the ``ids`` of the split.

    Raises ``DataError`` naming the first ids that are missing, unknown or given twice.
    """
    folder = LocalFolder(path.parent)
    table = Table.read(folder.read_json(path.name), "", str(path))
    given = [table.identifier(i, id_key) for i in range(len(table))]
    refuse_duplicates(given, f"{id_key}s", str(path))
    refuse_other_ids(given, ids, f"{id_key}s", str(path))
    texts = (table.get(i, text_key, str) for i in range(len(table)))
    return dict(zip(given, texts, strict=True))


def refuse_other_ids(given: Collection[str], ids: Collection[str], what: str, where: str) -> None:
    """Raise ``DataError`` naming the first of ``ids`` that are not ``given``, and of those given that are unknown."""
    wanted, found = set(ids), set(given)
    missing = [name for name in ids if name not in found]
    unknown = [name for name in given if name not in wanted]
    problems = []
    if missing:
        problems.append(f"{len(missing)} of {len(wanted)} {what} of the split are not answered: {first_few(missing)}")
    if unknown:
        problems.append(f"{len(unknown)} {what} are not in the split: {first_few(unknown)}")
    if problems:
        raise DataError(f"{where}: {'; '.join(problems)}")
