"""``pretrain`` and ``finetune``: from names and folders to a trained checkpoint."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

from vlbench.errors import ModelError, UsageError
from vlbench.plugins import nearest
from vlbench.train.answers import HEADS, give_answers, learn_answers, take_answers
from vlbench.train.recipe import captions_for, classifying, learnable, objectives_of
from vlbench.train.values import whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from vlbench.models.checkpoint import Checkpoint
    from vlbench.runner.progress import Reporter
    from vlbench.train.evaluation import EvaluationPlan
    from vlbench.train.examples import Source
    from vlbench.train.recipe import Recipe

TOKENIZER_EXAMPLES = 4000
"""Examples whose texts the tokenizer and the list of tags are made from."""

MAX_TAGS = 1000

ANSWER_SCENES = 200_000
"""Scenes up to which all are asked for their answers; of a folder all are."""


def pretrain(
    data: Path | str | None,
    recipe: Recipe,
    output: Path,
    *,
    dtype: str = "float32",
    device: str = "auto",
    plan: EvaluationPlan | None = None,
    reporter: Reporter | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Train a new model on ``data`` (None: scenes) by ``recipe`` and write its checkpoint folder.

    ``plan`` says what is evaluated meanwhile, here and in ``finetune``.
    """
    from vlbench.fingerprints import module_fingerprint
    from vlbench.train.teacher import Teacher
    from vlbench.train.trainer import train

    recipe = _taught(recipe)
    source = open_source(data, recipe)
    teacher = Teacher.load(recipe.teacher, device) if recipe.teacher else None
    checkpoint = new_checkpoint(source, recipe, say)
    if teacher is not None:
        model = checkpoint.model
        seen = _union(model.config.trained_on, teacher.trained_on)
        model.config = dataclasses.replace(model.config, trained_on=seen)
        say(f"learning from {recipe.teacher}")
    weights = sum(parameter.numel() for parameter in checkpoint.model.parameters())
    say(
        f"pretraining {weights / 1e6:.2f} M parameters, {checkpoint.model.config.fusion} fusion, "
        f"by {', '.join(recipe.objectives)} on {source.name}, {len(source)} images"
    )
    # The recipe has only the names of what a new model begins with and learns from.
    about = {"weights": module_fingerprint(checkpoint.model)} if recipe.init_image or recipe.init_text else {}
    if teacher is not None:
        about["teacher_weights"] = teacher.fingerprint
    told: dict[str, Any] = {"reporter": reporter, "say": say, "teacher": teacher}
    train(checkpoint, source, recipe, output, dtype=dtype, device=device, about=about, plan=plan, **told)


def finetune(
    start: Path,
    tasks: Sequence[str],
    data: Path | str | None,
    recipe: Recipe,
    output: Path,
    *,
    vqa_head: str = "generate",
    dtype: str = "float32",
    device: str = "auto",
    plan: EvaluationPlan | None = None,
    reporter: Reporter | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Go on from the checkpoint folder ``start`` with the objectives of ``tasks`` and write a new checkpoint folder.

    With ``vqa_head`` "classify" (one of ``HEADS``) questions are answered by choosing among the training answers.

    Raises ``UsageError`` for a task that nothing trains for, ``ModelError`` where ``start`` is no checkpoint.
    """
    from vlbench.fingerprints import module_fingerprint
    from vlbench.models.checkpoint import load_checkpoint
    from vlbench.models.config import is_checkpoint
    from vlbench.train.trainer import train
    from vlbench.train.words import adapt_words

    _refuse_beginnings(recipe)
    if vqa_head not in HEADS:
        raise UsageError(f"--vqa-head {vqa_head!r} is none of {', '.join(HEADS)}")
    if "vqa" not in objectives_of(tasks) and vqa_head != "generate":
        raise UsageError(f"--vqa-head {vqa_head} is for the task vqa, which --task does not name")
    if not is_checkpoint(start):
        raise ModelError(f"{start} is not a checkpoint folder of a built-in model (vlbench pretrain makes one)")
    checkpoint = load_checkpoint(start)
    about = {"model": str(start), "weights": module_fingerprint(checkpoint.model), "tasks": list(tasks)}
    about["vqa_head"] = vqa_head
    recipe = _aimed(recipe, tasks, checkpoint.model.config.fusion, vqa_head, everything=data is None, say=say)
    source = open_source(data, recipe, tasks)
    # Scenes have the words that a model trained on them has; a folder is named by its layout, whatever it holds.
    if data is not None or not set(source.trained_on) <= set(checkpoint.model.config.trained_on):
        checkpoint = adapt_words(checkpoint, list(sampled_texts(source)), say)
    model = checkpoint.model
    recipe = _tagging(recipe, model.config.tags, source, say)
    if "answer" in recipe.objectives:
        give_answers(model, _answers(source, recipe, say), recipe.seed)
    elif "vqa" in recipe.objectives and model.config.answers:
        # It would answer in place of what is now learned.
        say(f"answers are to be written: the answering head of {start} is left out")
        take_answers(model)
    model.config = dataclasses.replace(
        model.config,
        objectives=_union(model.config.objectives, tuple(recipe.objectives)),
        trained_on=_union(model.config.trained_on, source.trained_on),
    )
    say(f"fine-tuning {start} for {', '.join(tasks)} on {source.name}, {len(source)} images")
    told: dict[str, Any] = {"reporter": reporter, "say": say}
    train(checkpoint, source, recipe, output, dtype=dtype, device=device, about=about, plan=plan, **told)


def _refuse_beginnings(recipe: Recipe) -> None:
    """Raise ``UsageError`` where a recipe of fine-tuning names what only a new model can begin with or learn from."""
    given = [name for name in ("teacher", "init_image", "init_text") if getattr(recipe, name)]
    if given or "distill" in recipe.objectives:
        what = given[0] if given else "distill"
        raise UsageError(f"{what} in a recipe is for vlbench pretrain; vlbench finetune goes on from --model")


def _aimed(
    recipe: Recipe, tasks: Sequence[str], fusion: str, vqa_head: str, *, everything: bool, say: Callable[[str], None]
) -> Recipe:
    """Return the recipe with the objectives of ``tasks``, and of tags and masked words those that it has.

    These need captions, which a folder of questions alone does not have, unlike data with ``everything``.
    """
    wanted = objectives_of(tasks, fusion)
    if vqa_head == "classify":
        recipe = classifying(recipe)
        wanted = tuple("answer" if name == "vqa" else name for name in wanted)
    captioned = everything or bool({"itc", "itm", "caption"} & set(wanted))
    beside = {"tag", "mlm"} & set(learnable(fusion)) if captioned else set()
    weights = {name: weight for name, weight in recipe.objectives.items() if name in wanted or name in beside}
    why = f"{fusion} fusion does not learn it" if captioned else "the task's data have no captions"
    for name in recipe.objectives:
        if name in ("tag", "mlm") and name not in weights:
            say(f"the objective {name} is left out: {why}")
    missing = {name: 1.0 for name in wanted if name not in weights}
    return dataclasses.replace(recipe, objectives={**weights, **missing})


def _tagging(recipe: Recipe, tags: Sequence[str], source: Source, say: Callable[[str], None]) -> Recipe:
    """Return the recipe without the objective ``tag`` where the model's ``tags`` are true of no image of ``source``.

    It would learn of every image that there is nothing on it.
    """
    if "tag" not in recipe.objectives or not set(tags).isdisjoint(_tags(source)):
        return recipe
    say(f"tags are left out: none of the model's {len(tags)} tags is one of {source.name}")
    return dataclasses.replace(recipe, objectives={k: v for k, v in recipe.objectives.items() if k != "tag"})


def _taught(recipe: Recipe) -> Recipe:
    """Return ``recipe`` with the objective that a teacher is for; raises ``UsageError`` for one without the other."""
    if recipe.teacher and "distill" not in recipe.objectives:
        return dataclasses.replace(recipe, objectives={**recipe.objectives, "distill": 1.0})
    if "distill" in recipe.objectives and not recipe.teacher:
        raise UsageError("the objective distill learns from a model: --teacher MODEL")
    return recipe


def open_source(data: Path | str | None, recipe: Recipe, tasks: Sequence[str] = ()) -> Source:
    """Return the training examples of ``data``, or of scenes, that ``tasks`` of fine-tuning learn from."""
    from vlbench.data.roots import open_root
    from vlbench.train.examples import FolderSource, ScenesSource
    from vlbench.train.shards import ShardSource, shards_in

    if data is None:
        return ScenesSource(recipe.scenes)
    if shards := shards_in(data):
        return ShardSource(shards, tuple(recipe.objectives))
    source = FolderSource(open_root(data), tuple(recipe.objectives), captions_for(tasks))
    if not len(source):
        raise UsageError(f"{data} holds no training images for {', '.join(recipe.objectives)}")
    return source


def new_checkpoint(source: Source, recipe: Recipe, say: Callable[[str], None] = lambda _: None) -> Checkpoint:
    """Make a model and a tokenizer from the recipe's seed and the source, with the pretrained towers it begins with."""
    import torch

    from vlbench.models.checkpoint import Checkpoint
    from vlbench.models.config import FUSIONS, SIZES, ModelConfig, layers_by_fusion
    from vlbench.models.model import VisionLanguageModel
    from vlbench.models.tokenizer import TextTokenizer
    from vlbench.train.towers import Towers

    wanted = dict(recipe.model)
    size = str(wanted.pop("size", "tiny"))
    if size not in SIZES:
        raise UsageError(f"unknown model size {size!r}; there are {', '.join(SIZES)}")
    if recipe.fusion not in FUSIONS:
        raise UsageError(
            f"unknown fusion {recipe.fusion!r}{nearest(recipe.fusion, FUSIONS)}; one of {', '.join(FUSIONS)}"
        )
    towers = Towers.of(recipe)
    vocabulary = whole("model.vocabulary", wanted.pop("vocabulary", 1024))
    tokenizer = towers.tokenizer or TextTokenizer.train(sampled_texts(source), vocabulary)
    tags = _tags(source) if "tag" in recipe.objectives else ()
    answers = _answers(source, recipe, say) if "answer" in recipe.objectives else ()
    given = {"vocabulary", "tags", "answers", "model_type"}
    known = {field.name for field in dataclasses.fields(ModelConfig)} - given
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise UsageError(f"the recipe's model has an unknown key {unknown[0]!r}; there are {', '.join(sorted(known))}")
    lists = {key: tuple(value) for key, value in wanted.items() if isinstance(value, list)}
    sizes = towers.fitted({**SIZES[size], **wanted, **lists})
    settings = {
        **sizes,
        "vocabulary": len(tokenizer),
        "tags": tags,
        "answers": answers,
        "objectives": tuple(recipe.objectives),
        "trained_on": _union(source.trained_on, towers.trained_on),
    }
    torch.manual_seed(recipe.seed)
    try:
        # First of all: what follows counts with its numbers.
        ModelConfig(**settings)
        layers = (sizes[f"{part}_layers"] for part in ("vision", "text", "fusion"))
        model = VisionLanguageModel(ModelConfig(**{**settings, **layers_by_fusion(recipe.fusion, *layers)}))
    except (ValueError, TypeError, RuntimeError) as error:
        raise UsageError(f"the recipe's model cannot be: {' '.join(str(error).split())}") from error
    towers.install(model, say)
    return Checkpoint(model, tokenizer)


def _sampled(source: Source) -> Iterator[Any]:
    from vlbench.train.examples import ScenesSource

    count = min(len(source), TOKENIZER_EXAMPLES)
    # Any scenes will do, but a folder has images with captions first and those with questions last.
    spread = count if isinstance(source, ScenesSource) else len(source)
    return (source.example(number * spread // count) for number in range(count))


def sampled_texts(source: Source) -> Iterator[str]:
    """All texts of the first examples, whatever the objectives: fine-tuning needs the words too."""
    for example in _sampled(source):
        yield from example.captions
        for asked in example.questions:
            yield from (asked.question, asked.answer)
        for item in example.items:
            yield from (item.prompt, *item.choices)


def _tags(source: Source) -> tuple[str, ...]:
    """Return the most frequent tags, those of equal frequency by name."""
    counts = Counter(itertools.chain.from_iterable(example.tags for example in _sampled(source)))
    return tuple(sorted(counts, key=lambda tag: (-counts[tag], tag))[:MAX_TAGS])


def _answers(source: Source, recipe: Recipe, say: Callable[[str], None]) -> tuple[str, ...]:
    """Return the vocabulary of the answering head, from all questions of a folder, and of the first of many scenes."""
    from vlbench.train.examples import ScenesSource

    endless = isinstance(source, ScenesSource) and len(source) > ANSWER_SCENES
    examples = _sampled(source) if endless else map(source.example, range(len(source)))
    found = learn_answers(examples, recipe.min_answer_count)
    say(f"answers: {found}")
    return found.answers


def _union(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))
