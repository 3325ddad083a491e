"""Whether an unfinished run goes on: its last whole checkpoint, and what it was begun with."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from vlbench.errors import DataError, UsageError
from vlbench.train.distributed import is_first
from vlbench.train.recipe import read_recipe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vlbench.train.recipe import Recipe

STATE = "trainer"
RECIPE = "recipe.yaml"
RUN = "run.json"


def begin(output: Path, recipe: Recipe, about: Mapping[str, Any]) -> str | None:
    """Return the checkpoint in ``output`` that training goes on from; without one write what the run is begun with.

    That is the recipe and ``about``, what else decides the weights, in JSON's types. Raises ``UsageError`` where the
    checkpoint is of a run that was begun with something else, ``DataError`` where the folder cannot be written.
    """
    last = last_complete(output / STATE)
    if last is not None:
        _refuse_others(output, recipe, about)
        return last
    try:
        output.mkdir(parents=True, exist_ok=True)
        if is_first():
            recipe.save(output / RECIPE)
            (output / RUN).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {output} ({error.strerror}); choose another --output") from error
    return None


def last_complete(folder: Path) -> str | None:
    """Return the last checkpoint that was written to its end: the trainer writes ``trainer_state.json`` last.

    A process that was killed while it saved leaves a later one without, from which nothing could go on.
    """
    complete: dict[int, str] = {}
    for path in folder.glob("checkpoint-*/trainer_state.json"):
        with contextlib.suppress(ValueError):
            complete[int(json.loads(path.read_text(encoding="utf-8"))["global_step"])] = str(path.parent)
    return complete[max(complete)] if complete else None


def _refuse_others(output: Path, recipe: Recipe, about: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` naming what the run in ``output`` was begun with and these are not."""
    remedy = "choose another --output"
    if not (output / RECIPE).is_file():
        raise UsageError(f"{output} holds an unfinished run without {RECIPE}, of which nothing is known; {remedy}")
    there, now = _flat(read_recipe(str(output / RECIPE), {}).document()), _flat(recipe.document())
    # Folders of earlier versions have no such file; of them only the recipe is known.
    if (output / RUN).is_file():
        there |= _read(output / RUN)
        now |= about
        # The same weights and data may be named by another path: by a relative one, or after a new installation.
        if there.get("weights") == now.get("weights") is not None:
            there.pop("model", None)
            now.pop("model", None)
    differing = [name for name in {**there, **now} if there.get(name) != now.get(name)]
    if differing:
        told = ", ".join(f"{name} {_told(there.get(name))}, not {_told(now.get(name))}" for name in differing)
        raise UsageError(f"{output} holds an unfinished run with {told}; {remedy}, or go on with the same command")


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); choose another --output") from error
    return document if isinstance(document, dict) else {}


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a recipe, those of its mappings as ``model.width``."""
    parts = {
        f"{key}.{name}": one
        for key, value in document.items()
        if isinstance(value, dict)
        for name, one in value.items()
    }
    return {**{key: value for key, value in document.items() if not isinstance(value, dict)}, **parts}


def _told(value: Any) -> str:
    if value in (None, ""):
        return "unset"
    # The first letters of a hash tell it apart.
    return str(value)[:19] if str(value).startswith("sha256:") else str(value)
