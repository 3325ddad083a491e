"""Training through ``transformers.Trainer``: the loop, checkpoints and resuming are its own."""

from __future__ import annotations

import csv
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from vlbench.errors import EvaluationFailed, UsageError
from vlbench.models.checkpoint import Checkpoint, save_checkpoint
from vlbench.runner.devices import check_gpu
from vlbench.runner.progress import Silent
from vlbench.train.arguments import check_keys
from vlbench.train.collate import Collator, Draws
from vlbench.train.distributed import is_first
from vlbench.train.evaluation import Evaluation, rows_up_to
from vlbench.train.recipe import COMPARING
from vlbench.train.resume import STATE, begin
from vlbench.train.step import TrainingModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vlbench.runner.progress import Reporter
    from vlbench.train.evaluation import EvaluationPlan
    from vlbench.train.examples import Source
    from vlbench.train.recipe import Recipe
    from vlbench.train.teacher import Teacher


class Trainable(Protocol):
    """What ``fit`` trains: a module that takes ``batch``, returns ``{"loss": …}`` and keeps the losses by name."""

    losses: dict[str, float]

    def __call__(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Return the loss of a batch."""


LOG = "training_log.csv"
LOG_EVERY = 20


def train(
    checkpoint: Checkpoint,
    source: Source,
    recipe: Recipe,
    output: Path,
    *,
    dtype: str = "float32",
    device: str = "auto",
    about: Mapping[str, Any] | None = None,
    plan: EvaluationPlan | None = None,
    teacher: Teacher | None = None,
    reporter: Reporter | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Train ``checkpoint.model`` in place and write the checkpoint folder ``output``.

    Under torchrun each process takes its share of every batch, and the batches are those of one process. A run that was
    killed goes on from its last saved step when it is called again with the same arguments, and makes the same batches
    as an undisturbed one; ``about`` is what its arguments are beside the recipe and the data. ``plan`` says what is
    evaluated meanwhile. Weights are saved as ``dtype``. Raises ``UsageError`` where the unfinished run in the folder is
    another one, ``DataError`` where it cannot be written, ``EvaluationFailed`` where the loss is no longer a number.
    """
    scale = teacher.scale if teacher else 1.0
    wrapped = TrainingModel(checkpoint.model.train(), recipe.objectives, recipe.label_smoothing, scale)
    collator = Collator(checkpoint.tokenizer, checkpoint.model.config, recipe, teacher)

    def save(folder: Path) -> None:
        save_checkpoint(folder, checkpoint)

    evaluation = Evaluation(plan, save, output, device) if plan else None
    trainer = fit(
        wrapped,
        source,
        collator,
        recipe,
        output,
        device=device,
        about=about,
        evaluation=evaluation,
        reporter=reporter,
        say=say,
    )
    checkpoint.model.eval()
    if trainer.is_world_process_zero():
        save_checkpoint(output, Checkpoint(checkpoint.model.cpu(), checkpoint.tokenizer), getattr(torch, dtype))


def fit(
    wrapped: Trainable,
    source: Source,
    collator: Callable[..., dict[str, Any]],
    recipe: Recipe,
    output: Path,
    *,
    device: str,
    about: Mapping[str, Any] | None = None,
    evaluation: Evaluation | None = None,
    reporter: Reporter | None = None,
    say: Callable[[str], None],
) -> Trainer:
    """Run the loop over the draws of ``source``; only its state, the logs and what the run is begun with are written.

    That is the recipe, the data, and ``about``: what else decides the weights, in JSON's types. ``reporter`` counts
    the steps.
    """
    reporter = reporter or Silent()
    arguments = _arguments(recipe, output, device)
    data = str(Path(source.name).resolve()) if Path(source.name).exists() else source.name
    last = begin(output, recipe, {"data": data, "images": len(source), **(about or {})})
    if last is not None:
        say(f"going on from {last}")
    if evaluation is not None and is_first():
        evaluation.check()
    callbacks = [_Log(output / LOG, recipe, wrapped, say, reporter), *([_Due(evaluation)] if evaluation else [])]
    trainer = _trainer(wrapped, arguments, source, recipe, collator, callbacks)
    trainer.evaluation, trainer.say = evaluation, say
    try:
        trainer.train(resume_from_checkpoint=last)
    finally:
        reporter.stop()
    return trainer


def _trainer(
    wrapped: Trainable,
    arguments: TrainingArguments,
    source: Source,
    recipe: Recipe,
    collator: Callable[..., dict[str, Any]],
    callbacks: list[TrainerCallback],
) -> _KeyedTrainer:
    """Return the trainer; raises ``UsageError`` where it is to report to what is not installed."""
    from transformers import PrinterCallback

    assert isinstance(wrapped, torch.nn.Module)
    try:
        trainer = _KeyedTrainer(
            model=wrapped,
            args=arguments,
            train_dataset=Draws(source, recipe),
            data_collator=collator,
            callbacks=callbacks,
        )
    except RuntimeError as error:
        if "to be installed" not in str(error):
            raise
        reports = recipe.trainer.get("report_to")
        raise UsageError(f"report_to={reports}: {error} (for example: pip install {reports})") from error
    # It prints a dictionary a step; the log is ours.
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(recipe: Recipe, output: Path, device: str) -> TrainingArguments:
    check_gpu(device)
    check_keys(list(recipe.trainer))
    cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    reports = recipe.trainer.get("report_to", "none") not in ("none", ["none"], [])
    own: dict[str, Any] = {
        "output_dir": str(output / STATE),
        "max_steps": recipe.steps,
        "per_device_train_batch_size": _share(recipe),
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": math.ceil(recipe.warmup * recipe.steps),
        "weight_decay": recipe.weight_decay,
        "adam_beta1": recipe.betas[0],
        "adam_beta2": recipe.betas[1],
        "max_grad_norm": recipe.clip,
        "seed": recipe.seed,
        "save_strategy": "steps",
        "save_steps": recipe.save_every,
        "save_total_limit": 1,
        "logging_strategy": "steps" if reports else "no",
        "logging_steps": LOG_EVERY,
        "report_to": "none",
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "use_cpu": cpu,
        "bf16": not cpu and torch.cuda.is_bf16_supported() and not recipe.trainer.get("fp16"),
        # Objectives take turns, so that not every weight has a gradient at every step.
        "ddp_find_unused_parameters": True,
    }
    try:
        made = TrainingArguments(**{**own, **recipe.trainer})
    except (ValueError, TypeError, ImportError, OSError) as error:
        raise UsageError(f"the trainer refuses its arguments: {' '.join(str(error).split())}") from error
    # Where a machine has several GPUs the trainer would cut a batch into pieces by DataParallel, and its rows name
    # images by their place in the whole. One process trains on one GPU; torchrun starts several.
    made._n_gpu = min(made.n_gpu, 1)  # noqa: SLF001
    return made


def _share(recipe: Recipe) -> int:
    """Return the images of a batch that one process has at once; raises ``UsageError`` for shares that cannot be."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    parts = recipe.trainer.get("gradient_accumulation_steps", 1)
    if not isinstance(parts, int) or parts < 1:
        raise UsageError(f"gradient_accumulation_steps is {parts}; it takes a whole number from 1")
    if recipe.batch_size % (processes * parts):
        shares = f"{parts} accumulated parts" if processes == 1 else f"{processes} processes"
        shares += f" of {parts} accumulated parts each" if processes > 1 and parts > 1 else ""
        raise UsageError(f"{shares} cannot share batches of {recipe.batch_size}; take another --batch-size")
    contrast = [name for name in COMPARING if name in recipe.objectives]
    if contrast and recipe.batch_size // parts < 2:
        raise UsageError(
            f"{', '.join(contrast)}: the images of a batch are compared, and one alone teaches nothing; take "
            f"--batch-size {2 * parts} or more"
        )
    return recipe.batch_size // (processes * parts)


class _KeyedTrainer(Trainer):
    """A trainer whose examples come in the order of the draws, which are shuffled already.

    What it evaluates is ``evaluation``, whose values go to the callbacks as those of its own evaluation would.
    """

    evaluation: Evaluation | None = None
    say: Callable[[str], None]

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Evaluate by the harness, in the first process; the others wait."""
        values: dict[str, float] = {}
        if self.evaluation is not None and is_first():
            values = {f"eval_{k}": v for k, v in self.evaluation.run(self.state.global_step, self.say).items()}
            self.log(values)
        self.accelerator.wait_for_everyone()
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, values)
        return values

    def _get_train_sampler(self, *_: Any, **__: Any) -> torch.utils.data.Sampler[int]:
        return torch.utils.data.SequentialSampler(self.train_dataset)  # type: ignore[arg-type]

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss of a batch."""
        outputs = model(**inputs)
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]


class _Due(TrainerCallback):
    """Asks for an evaluation when one is due."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin the log of evaluations."""
        if is_first():
            self._evaluation.begin(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask."""
        control.should_evaluate = self._evaluation.due(state.global_step, state.max_steps)


class _Log(TrainerCallback):
    """Writes the losses as CSV and says a line now and then; stops a run whose loss is no number."""

    def __init__(
        self, path: Path, recipe: Recipe, model: Trainable, say: Callable[[str], None], reporter: Reporter
    ) -> None:
        self._reporter = reporter
        self._path, self._recipe, self._model, self._say = path, recipe, model, say
        self._sums: dict[str, list[float]] = {}
        self._started = time.monotonic()
        self._step_ended = self._started
        self._first: int | None = None
        self._names = list(recipe.objectives)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin the log; of a run that goes on keep the rows up to its checkpoint, since later steps are made again."""
        self._reporter.start(self._recipe.steps, state.global_step, "steps")
        if not is_first():
            return
        kept = rows_up_to(self._path, state.global_step)
        self._append(["step", "learning_rate", "examples_per_second", *self._names], "w")
        for row in kept:
            self._append(row)

    def _append(self, row: list[Any], mode: str = "a") -> None:
        with self._path.open(mode, newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Gather the losses of a step."""
        if self._first is None:
            self._first, self._started = state.global_step, time.monotonic()
        self._gather(state.global_step)
        self._reporter.advance(1)
        # Also where it is saved: the means since then are all that a run that goes on from there can know.
        due = any(state.global_step % every == 0 for every in (LOG_EVERY, self._recipe.save_every))
        if due or state.global_step == self._recipe.steps:
            self._flush(state.global_step, kwargs["lr_scheduler"].get_last_lr()[0])
        self._step_ended = time.monotonic()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the time of an evaluation out of the speed."""
        self._started += time.monotonic() - self._step_ended

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Gather the losses of a part of a step, where gradients are accumulated."""
        self._gather(state.global_step + 1)

    def _gather(self, step: int) -> None:
        for name, loss in self._model.losses.items():
            if not math.isfinite(loss):
                raise EvaluationFailed(f"the {name} loss is {loss} at step {step}; lower the learning rate")
            self._sums.setdefault(name, []).append(loss)

    def _flush(self, step: int, rate: float) -> None:
        means: Mapping[str, float] = {name: sum(values) / len(values) for name, values in self._sums.items()}
        self._sums = {}
        if not is_first():
            return
        elapsed = max(time.monotonic() - self._started, 1e-9)
        speed = (step - (self._first or 0)) * self._recipe.batch_size / elapsed
        self._append(
            [step, f"{rate:.3e}", f"{speed:.1f}", *(f"{means[n]:.4f}" if n in means else "" for n in self._names)]
        )
        shown = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        if speed:  # unknown after the first step
            left = (self._recipe.steps - step) * self._recipe.batch_size / speed
            shown += f"  {speed:.0f} examples/s, {left:.0f} s left"
        self._say(f"step {step}/{self._recipe.steps}  {shown}")
