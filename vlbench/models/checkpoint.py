"""Checkpoints of built-in models: a folder with config.json, model.safetensors and tokenizer.json."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlbench.errors import ModelError
from vlbench.models.config import ModelConfig
from vlbench.models.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import torch

    from vlbench.models.model import VisionLanguageModel

WEIGHTS = "model.safetensors"
UNFINISHED = ".vlbench-unfinished"
"""Where the files of a checkpoint are written before they are there; what lies in it is thrown away."""


@dataclass(frozen=True)
class Checkpoint:
    """A model with its tokenizer."""

    model: VisionLanguageModel
    tokenizer: TextTokenizer


@contextlib.contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Yield an empty folder, whose files then move to ``folder``, weights last: by them a checkpoint is a finished one.

    A process that is killed meanwhile leaves none behind, so that the same command can go on.
    """
    made = folder / UNFINISHED
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        yield made
        for path in sorted(made.iterdir(), key=lambda path: (path.name.startswith("model"), path.name)):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def save_checkpoint(folder: Path, checkpoint: Checkpoint, dtype: torch.dtype | None = None) -> None:
    """Write a checkpoint folder, its floating-point weights as ``dtype`` (default: as they are)."""
    from safetensors.torch import save_file

    state = {
        name: (tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in checkpoint.model.state_dict().items()
    }
    with written_whole(folder) as whole:
        save_file(state, whole / WEIGHTS)
        checkpoint.model.config.save(whole)
        checkpoint.tokenizer.save(whole)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint folder, float32, in eval mode; raises ``ModelError`` naming what is wrong with it."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from vlbench.models.model import VisionLanguageModel

    config = ModelConfig.read(folder)
    tokenizer = TextTokenizer.read(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise ModelError(f"{path} is missing; a checkpoint is config.json, {WEIGHTS} and tokenizer.json")
    if len(tokenizer) > config.vocabulary:
        raise ModelError(f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model only {config.vocabulary}")
    try:
        state = load_file(path)
        with torch.random.fork_rng():
            model = VisionLanguageModel(config)
        model.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise ModelError(f"{path} does not fit its config.json ({' '.join(str(error).split())[:200]})") from error
    return Checkpoint(model.eval(), tokenizer)
