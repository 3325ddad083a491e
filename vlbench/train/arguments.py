"""``--trainer-arg KEY=VALUE``: fields of ``transformers.TrainingArguments`` that a recipe does not have."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from vlbench.errors import UsageError
from vlbench.plugins import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

LAST = "a run trains to its last step and goes on from its last checkpoint"
ORDER = "examples come in the order of the recipe's seed"
EVALUATION = "evaluation is by --eval-tasks, or afterwards by vlbench run"
OWN = {
    "output_dir": "--output",
    "max_steps": "--steps",
    "num_train_epochs": "--steps",
    "per_device_train_batch_size": "--batch-size, that of a whole step",
    "auto_find_batch_size": "--batch-size, that of a whole step",
    "learning_rate": "--learning-rate",
    "seed": "--seed",
    "data_seed": "--seed",
    "use_cpu": "--device",
    "warmup_steps": "warmup in a recipe",
    "weight_decay": "weight_decay in a recipe",
    "adam_beta1": "betas in a recipe",
    "adam_beta2": "betas in a recipe",
    "max_grad_norm": "clip in a recipe",
    "label_smoothing_factor": "label_smoothing in a recipe",
    "gradient_checkpointing_kwargs": "gradient_checkpointing takes all layers, without options",
    "activation_checkpointing_kwargs": "activation_checkpointing takes all layers, without options",
    "save_strategy": "save_every in a recipe",
    "save_steps": "save_every in a recipe",
    "save_only_model": LAST,
    "load_best_model_at_end": LAST,
    "resume_from_checkpoint": LAST,
    "ignore_data_skip": LAST,
    "train_sampling_strategy": ORDER,
    "remove_unused_columns": ORDER,
    "dataloader_drop_last": ORDER,
    "do_train": EVALUATION,
    "do_eval": EVALUATION,
    "do_predict": EVALUATION,
    "eval_strategy": EVALUATION,
    "eval_on_start": EVALUATION,
}
"""Fields that vlbench sets itself, with what the user sets in their place, or why there is nothing to set."""


def parse_trainer_arguments(pairs: Sequence[str]) -> dict[str, Any]:
    """Return the values of ``KEY=VALUE`` pairs in the types of their fields.

    Raises ``UsageError`` for an unknown key, one that vlbench sets itself, and a value of the wrong type.
    """
    from transformers import HfArgumentParser, TrainingArguments

    keys = [pair.partition("=")[0].strip() for pair in pairs]
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"--trainer-arg {pair!r} is not KEY=VALUE")
    check_keys(keys)
    fields: Any = TrainingArguments
    parser = HfArgumentParser(fields, exit_on_error=False, allow_abbrev=False)
    values: dict[str, Any] = {}
    for key, pair in zip(keys, pairs, strict=True):
        text = pair.partition("=")[2].strip()
        try:
            parsed = parser.parse_args(["--output_dir", "unused", f"--{key}={text}"])
        except argparse.ArgumentError as error:
            reason = " ".join(str(error).partition(": ")[2].split())
            raise UsageError(f"--trainer-arg {key}: {reason}") from error
        values[key] = getattr(parsed, key)
    return values


def check_keys(keys: Sequence[str]) -> None:
    """Raise ``UsageError`` where a key is no field of ``TrainingArguments``, or one that vlbench sets itself."""
    import dataclasses

    from transformers import TrainingArguments

    known = {field.name for field in dataclasses.fields(TrainingArguments) if field.init}
    for key in keys:
        if key in OWN:
            raise UsageError(f"trainer argument {key!r} is set by vlbench itself: {OWN[key]}")
        if key not in known:
            raise UsageError(
                f"unknown trainer argument {key!r}{nearest(key, known - set(OWN))}; "
                "the fields of transformers.TrainingArguments are taken"
            )
