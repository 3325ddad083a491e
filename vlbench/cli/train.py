"""``vlbench pretrain`` and ``vlbench finetune``: train built-in models, and go on training external ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.train.evaluation import EvaluationPlan
    from vlbench.train.recipe import Recipe

BESIDE = ("tag", "mlm")
"""Objectives that a built-in model can be fine-tuned by beside those of its tasks."""
DTYPES = ("float32", "float16", "bfloat16")

Data = Annotated[
    str | None,
    typer.Option(help="Folder with the datasets, with .tar shards, or scenes. Default: $VLBENCH_DATA, else scenes."),
]
Output = Annotated[Path, typer.Option(help="Checkpoint folder to write; an unfinished one is continued.")]
Steps = Annotated[int | None, typer.Option(help="Steps, in place of the recipe's.")]
BatchSize = Annotated[int | None, typer.Option(help="Images a step, in place of the recipe's.")]
Rate = Annotated[float | None, typer.Option("--learning-rate", help="Highest learning rate, in place of the recipe's.")]
Seed = Annotated[int | None, typer.Option(help="Seed, in place of the recipe's.")]
Objectives = Annotated[
    str | None,
    typer.Option(metavar="NAME[:WEIGHT],…", help="Objectives: itc, itm, mlm, caption, tag, vqa, vcr, answer, distill."),
]
SaveDtype = Annotated[str, typer.Option("--save-dtype", help="Of the saved weights: float32, float16 or bfloat16.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
TrainerArg = Annotated[
    list[str] | None,
    typer.Option("--trainer-arg", metavar="KEY=VALUE", help="Field of transformers.TrainingArguments; repeatable."),
]
Size = Annotated[str | None, typer.Option(help="Size of the model: tiny, small or base (the recipe's, else tiny).")]
InitImage = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|ORG/NAME|open_clip:ARCH/TAG", help="Image tower to begin with: ViT, or CLIP's vision tower."
    ),
]
InitText = Annotated[
    str | None, typer.Option(metavar="FOLDER|ORG/NAME", help="Text tower to begin with, and its tokenizer: BERT.")
]
VqaHead = Annotated[
    str, typer.Option(help="How a built-in model answers questions: generate, or classify among training answers.")
]
Start = Annotated[
    str,
    typer.Option(
        help="What to start from: a checkpoint folder, or what run --model takes; "
        "vision_encoder_decoder:ENCODER+DECODER joins two, vision_encoder_decoder:tiny is new."
    ),
]
Tune = Annotated[str, typer.Option(help="Weights of an external model that learn: full, lora (extra lora) or head.")]
EvalTasks = Annotated[
    str | None, typer.Option(help="Tasks, by commas, that the model is evaluated on meanwhile, on validation splits.")
]
EvalData = Annotated[str | None, typer.Option(help="What they are evaluated on, as run --data. Default: --data.")]
EvalEvery = Annotated[
    int | None, typer.Option(help="Steps from one evaluation to the next (500); the last step has one too.")
]
EvalLimit = Annotated[int | None, typer.Option(help="Only the first N samples of each evaluation.")]


def pretrain(
    output: Output,
    data: Data = None,
    recipe: Annotated[str, typer.Option(help="Name of a recipe, or a YAML file.")] = "scenes-pretrain",
    fusion: Annotated[
        str | None, typer.Option(help="How image and text meet: early, late or interactive (the recipe's, else this).")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Model to learn from, as run --model takes it: objective distill, weight 1.")
    ] = None,
    size: Size = None,
    init_image: InitImage = None,
    init_text: InitText = None,
    objectives: Objectives = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    learning_rate: Rate = None,
    seed: Seed = None,
    save_dtype: SaveDtype = "float32",
    device: Device = "auto",
    trainer_arg: TrainerArg = None,
    eval_tasks: EvalTasks = None,
    eval_data: EvalData = None,
    eval_every: EvalEvery = None,
    eval_limit: EvalLimit = None,
) -> None:
    """Train a new built-in model; the result is a checkpoint folder that --model takes."""
    from vlbench.cli.run import data_root
    from vlbench.train.run import pretrain as train

    model = {key: value for key, value in {"fusion": fusion, "size": size}.items() if value is not None}
    start = {"model": model or None, "teacher": teacher, "init_image": init_image, "init_text": init_text}
    chosen = _recipe(recipe, objectives, steps, batch_size, learning_rate, seed, trainer_arg, start)
    _check(output, save_dtype, device)
    plan = _plan(eval_tasks, data, eval_data, eval_every, eval_limit)
    told = _telling()
    train(data_root(data), chosen, output, dtype=save_dtype, device=device, plan=plan, **told)
    told["say"](f"checkpoint in {output} (vlbench run --model {output})")


def finetune(
    model: Start,
    task: Annotated[str, typer.Option(help="Tasks to train for, by commas: what run calls them.")],
    output: Output,
    data: Data = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Name of a recipe, or a YAML file. Default: scenes-finetune, external-finetune for others."),
    ] = None,
    tune: Tune = "full",
    vqa_head: VqaHead = "generate",
    objectives: Objectives = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    learning_rate: Rate = None,
    seed: Seed = None,
    save_dtype: SaveDtype = "float32",
    device: Device = "auto",
    trainer_arg: TrainerArg = None,
    eval_tasks: EvalTasks = None,
    eval_data: EvalData = None,
    eval_every: EvalEvery = None,
    eval_limit: EvalLimit = None,
) -> None:
    """Go on training a model for one task or several."""
    from vlbench.cli.run import data_root
    from vlbench.models import CHECKPOINTS
    from vlbench.models.config import ModelConfig, is_checkpoint

    tasks = [name.strip() for name in task.split(",") if name.strip()]
    if not tasks:
        raise UsageError("--task is empty")
    folder = next((path for path in (Path(model), CHECKPOINTS / model) if is_checkpoint(path)), None)
    default = "scenes-finetune" if folder else "external-finetune"
    chosen = _recipe(recipe or default, objectives, steps, batch_size, learning_rate, seed, trainer_arg)
    beside = (*BESIDE, *(["answer"] if vqa_head == "classify" else [])) if folder else ()
    _refuse_strays(objectives, tasks, beside, ModelConfig.read(folder).fusion if folder else "interactive")
    _check(output, save_dtype, device)
    plan = _plan(eval_tasks, data, eval_data, eval_every, eval_limit)
    common: dict[str, Any] = {"dtype": save_dtype, "device": device, "plan": plan, **_telling()}
    if folder and tune != "full":
        raise UsageError(f"--tune {tune} is for external models; a built-in one is trained whole")
    if folder is not None:
        from vlbench.train.run import finetune as train

        train(folder, tasks, data_root(data), chosen, output, vqa_head=vqa_head, **common)
    else:
        if vqa_head != "generate":
            raise UsageError(f"--vqa-head {vqa_head} is for built-in models; an external one writes its answers")
        from vlbench.train.external import finetune_external

        finetune_external(model, tasks, data_root(data), chosen, output, tune=tune, **common)
    common["say"](f"checkpoint in {output} (vlbench run --model {output})")


def _recipe(
    name: str,
    objectives: str | None,
    steps: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    seed: int | None,
    trainer_arg: list[str] | None,
    start: dict[str, Any] | None = None,
) -> Recipe:
    from vlbench.train.arguments import parse_trainer_arguments
    from vlbench.train.recipe import parse_objectives, read_recipe

    given: dict[str, Any] = {
        "objectives": None if objectives is None else parse_objectives(objectives),
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        **(start or {}),
        "trainer": parse_trainer_arguments(trainer_arg) if trainer_arg else None,
    }
    return read_recipe(name, given)


def _plan(
    tasks: str | None, data: str | None, eval_data: str | None, every: int | None, limit: int | None
) -> EvaluationPlan | None:
    from vlbench.cli.run import data_root
    from vlbench.train.evaluation import EVERY, EvaluationPlan

    if tasks is None:
        options = {"--eval-data": eval_data, "--eval-every": every, "--eval-limit": limit}
        for name in (name for name, value in options.items() if value is not None):
            raise UsageError(f"{name} is for --eval-tasks, which is not given")
        return None
    names = tuple(dict.fromkeys(name.strip() for name in tasks.split(",") if name.strip()))
    if not names:
        raise UsageError("--eval-tasks is empty")
    return EvaluationPlan(names, data_root(eval_data or data), EVERY if every is None else every, limit)


def _refuse_strays(objectives: str | None, tasks: Sequence[str], beside: Sequence[str], fusion: str) -> None:
    """Refuse objectives of the user's that a model of ``fusion`` learns neither for ``tasks`` nor ``beside`` them."""
    from vlbench.train.recipe import learnable, objectives_of, parse_objectives

    wanted = objectives_of(tasks, fusion)
    beside = [name for name in beside if name in learnable(fusion)]
    for name in parse_objectives(objectives or ""):
        if name not in wanted and name not in beside:
            also = f", and beside it {', '.join(beside)}" if beside else ""
            raise UsageError(
                f"--objectives {name}: --task {','.join(tasks)} learns by {', '.join(wanted)}{also}; "
                "leave it out, or name its task"
            )


def _check(output: Path, save_dtype: str, device: str) -> None:
    """Refuse what would be found out only after the training."""
    from vlbench.runner.devices import check_gpu

    if save_dtype not in DTYPES:
        raise UsageError(f"--save-dtype {save_dtype!r} is none of {', '.join(DTYPES)}")
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device {device!r} is none of auto, cpu, cuda")
    check_gpu(device)
    # Weights beyond 50 GB are written in parts, with an index.
    if any((output / name).exists() for name in ("model.safetensors", "model.safetensors.index.json")):
        raise DataError(f"{output} holds a finished checkpoint already; choose another --output")


def _telling() -> dict[str, Any]:
    """Return who tells: on a terminal the reporter that ``run`` has, with a bar of steps; elsewhere plain lines."""
    from vlbench.runner.progress import StderrReporter

    # Of the processes that torchrun starts one speaks for all.
    if os.environ.get("RANK", "0") != "0":
        return {"say": lambda _: None}
    if not sys.stderr.isatty():
        return {"say": _say}
    reporter = StderrReporter()
    return {"say": reporter.say, "reporter": reporter}


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
