"""A built-in model of a few thousand weights, random but real, as a checkpoint folder."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from vlbench.models.checkpoint import Checkpoint, save_checkpoint
from vlbench.train.recipe import Recipe
from vlbench.train.run import new_checkpoint, open_source

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING = ("itc", "itm", "mlm", "caption", "tag", "vqa", "vcr")


@cache
def nano(objectives: tuple[str, ...] = EVERYTHING, fusion: str = "interactive") -> Checkpoint:
    """Return a random nano model for ``objectives``, in eval mode."""
    model = {"size": "nano", "vocabulary": 400, "fusion": fusion}
    recipe = Recipe(objectives=dict.fromkeys(objectives, 1.0), model=model, scenes=60)
    checkpoint = new_checkpoint(open_source(None, recipe), recipe)
    checkpoint.model.eval()
    return checkpoint


def write_nano(folder: Path, objectives: tuple[str, ...] = EVERYTHING, fusion: str = "interactive") -> Path:
    """Write the checkpoint folder and return it."""
    save_checkpoint(folder, nano(objectives, fusion))
    return folder
