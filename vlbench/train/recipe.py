"""Recipes: everything that decides a training run, as YAML. The one that was used lies in the checkpoint folder."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlbench.errors import UsageError
from vlbench.plugins import nearest
from vlbench.train.values import mapping, number, pair, plain, size, text, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

OBJECTIVES = ("itc", "itm", "mlm", "caption", "tag", "vqa", "vcr", "answer", "distill")
CAPTIONED = frozenset({"itc", "itm", "mlm", "caption", "tag", "distill"})
"""Objectives that learn from captions."""
COMPARING = ("itc", "itm", "distill")
"""Objectives that set the images of a batch beside each other."""
TASK_OBJECTIVES: Mapping[str, tuple[str, ...]] = {
    "coco_retrieval": ("itc", "itm"),
    "flickr30k_retrieval": ("itc", "itm"),
    "coco_caption": ("caption",),
    "vqa": ("vqa",),
    "vcr": ("vcr",),
    "retrieval": ("itc", "itm"),
    "captioning": ("caption",),
}
TASK_CAPTIONS: Mapping[str, str] = {"flickr30k_retrieval": "flickr30k"}
"""Whose captions a task learns from, where they are not those of COCO."""
LATE_OBJECTIVES = ("itc", "tag", "vcr", "distill")
"""What two towers without a token of one that sees the other can learn."""
FOLDER = Path(__file__).parent / "recipes"
_share, _above = partial(number, most=1.0), partial(number, above=True)
KINDS: Mapping[str, Callable[[str, Any], Any]] = {
    # A weight of 0 would be recorded as learned.
    "objectives": partial(mapping, each=_above),
    "model": partial(mapping, each=size),
    "every": partial(mapping, each=whole),
    "tag_first": _share,
    "steps": whole,
    "batch_size": whole,
    "learning_rate": _above,
    "warmup": _share,
    "weight_decay": number,
    "betas": pair,
    "clip": number,
    "label_smoothing": _share,
    "mask_fraction": _share,
    "questions_per_image": whole,
    "items_per_step": whole,
    "min_answer_count": whole,
    "scenes": whole,
    # What numpy takes.
    "seed": partial(whole, least=0, most=2**32 - 1),
    "save_every": whole,
    "teacher": text,
    "init_image": text,
    "init_text": text,
    "trainer": partial(mapping, each=plain),
}
"""What turns the value of each field into its type, or refuses it."""


@dataclass(frozen=True)
class Recipe:
    """How to train. Weights of ``objectives`` multiply their losses.

    ``every`` maps an objective to n where it takes part in each n-th step only; ``tag_first`` is the share of the steps
    at the start in which only tags are learned (a model can solve retrieval without seeing shapes; tags make it look);
    an answer is one of those that ``answer`` learns if it is the most given one to ``min_answer_count`` questions;
    ``teacher`` is the model that ``distill`` learns from; ``init_image`` and ``init_text`` name the pretrained towers
    that a new model begins with; ``scenes`` is the number of train scenes of ``--data
    scenes``; ``trainer`` holds further fields of ``transformers.TrainingArguments``.
    """

    objectives: Mapping[str, float]
    model: Mapping[str, Any] = field(default_factory=dict)
    every: Mapping[str, int] = field(default_factory=dict)
    tag_first: float = 0.0
    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 7e-4
    warmup: float = 0.08
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    label_smoothing: float = 0.0
    mask_fraction: float = 0.4
    questions_per_image: int = 3
    items_per_step: int = 16
    min_answer_count: int = 1
    scenes: int = 1_000_000
    seed: int = 0
    save_every: int = 500
    teacher: str = ""
    init_image: str = ""
    init_text: str = ""
    trainer: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Put each value in its type; raise ``UsageError`` for what cannot be."""
        for name, kind in KINDS.items():
            object.__setattr__(self, name, kind(name, getattr(self, name)))
        for name in (*self.objectives, *self.every):
            if name not in OBJECTIVES:
                raise UsageError(
                    f"unknown objective {name!r}{nearest(name, OBJECTIVES)}; there are {', '.join(OBJECTIVES)}"
                )
        refused = [name for name in self.objectives if name not in learnable(self.fusion)]
        if refused:
            raise UsageError(
                f"late fusion cannot learn {', '.join(refused)}, in which words look at the image; it learns "
                f"{', '.join(LATE_OBJECTIVES)} (--objectives, or --fusion early|interactive)"
            )
        if not self.objectives:
            raise UsageError(f"a recipe needs objectives, such as {{itc: 1}}; there are {', '.join(OBJECTIVES)}")

    @property
    def fusion(self) -> str:
        """The fusion strategy of a new model."""
        return str(self.model.get("fusion", "interactive"))

    def active(self, step: int) -> tuple[str, ...]:
        """Return the objectives of a step, in the order of ``OBJECTIVES``."""
        wanted = set(self.objectives)
        if "tag" in wanted and step < self.tag_first * self.steps:
            return ("tag",)
        # Each objective has its turn at another remainder, so that the costly ones do not fall on one step.
        wanted -= {name for turn, (name, n) in enumerate(self.every.items()) if step % n != turn % n}
        return tuple(name for name in OBJECTIVES if name in wanted)

    def document(self) -> dict[str, Any]:
        """Return the recipe in full, in the types that it has when it is read again."""
        document: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return document

    def save(self, path: Path) -> None:
        """Write the recipe as YAML, in full."""
        import yaml

        path.write_text(yaml.safe_dump(self.document(), sort_keys=False), encoding="utf-8")


def classifying(recipe: Recipe) -> Recipe:
    """Return ``recipe`` with answers as classes (``answer``) in place of answers as texts (``vqa``)."""

    def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
        return {"answer" if name == "vqa" else name: value for name, value in values.items()}

    return dataclasses.replace(recipe, objectives=renamed(recipe.objectives), every=renamed(recipe.every))


def available() -> list[str]:
    """Return the names of the recipes that ship with vlbench."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_recipe(name: str, overrides: Mapping[str, Any]) -> Recipe:
    """Read a recipe by its name, or from a YAML file, with values of the user in place of its own.

    Raises ``UsageError`` for an unknown name or key, or a value that cannot be.
    """
    import yaml

    path = FOLDER / f"{name}.yaml" if name in available() else Path(name)
    if not path.is_file():
        raise UsageError(
            f"unknown recipe {name!r}{nearest(name, available())}; there are {', '.join(available())}, or a file"
        )
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"recipe {path} cannot be read ({' '.join(str(error).split())})") from error
    if not isinstance(document, dict):
        raise UsageError(f"recipe {path} is not a YAML mapping")
    given = _overridden(document, {key: value for key, value in overrides.items() if value is not None})
    known = [f.name for f in dataclasses.fields(Recipe)]
    for key in given:
        if key not in known:
            raise UsageError(f"recipe {path} has an unknown key {key!r}{nearest(key, known)}")
    return Recipe(**{"objectives": None, **given})


def _overridden(document: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``document`` with ``overrides``; of ``model`` key by key.

    A fusion strategy of the user's takes those of the recipe's objectives that it can learn; objectives of the user's
    stay as they are, to be refused.
    """
    given = {**document, **overrides}
    if "model" in overrides:
        given["model"] = {**mapping("model", document.get("model")), **overrides["model"]}
        if "fusion" in overrides["model"] and "objectives" not in overrides:
            able = learnable(str(overrides["model"]["fusion"]))
            of_recipe = mapping("objectives", document.get("objectives"))
            given["objectives"] = {k: v for k, v in of_recipe.items() if k in able}
    return given


def learnable(fusion: str) -> tuple[str, ...]:
    """Return the objectives that a model of a fusion strategy can learn."""
    return LATE_OBJECTIVES if fusion == "late" else OBJECTIVES


def parse_objectives(text: str) -> dict[str, float]:
    """Read ``itc:1,itm:0.5,caption`` (weight 1 where none is given); raises ``UsageError``.

    >>> parse_objectives("itc:1,mlm:0.5,caption")
    {'itc': 1.0, 'mlm': 0.5, 'caption': 1.0}
    """
    weights: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, weight = part.partition(":")
        try:
            weights[name] = float(weight or 1)
        except ValueError:
            raise UsageError(f"--objectives {part!r}: {weight!r} is not a number") from None
    return weights


def objectives_of(tasks: Sequence[str], fusion: str = "interactive") -> tuple[str, ...]:
    """Return the objectives that train a model of ``fusion`` for ``tasks``.

    Raises ``UsageError`` for a task that nothing trains for, or nothing that the strategy can learn.
    """
    found: list[str] = []
    for task in tasks:
        if task not in TASK_OBJECTIVES:
            raise UsageError(
                f"cannot fine-tune for {task!r}{nearest(task, TASK_OBJECTIVES)}; there are {', '.join(TASK_OBJECTIVES)}"
            )
        able = [name for name in TASK_OBJECTIVES[task] if name in learnable(fusion)]
        if not able:
            raise UsageError(f"a model of {fusion} fusion cannot learn {task}: its words do not look at the image")
        found += [name for name in able if name not in found]
    return tuple(found)


def captions_for(tasks: Sequence[str]) -> tuple[str, ...]:
    """Return the datasets whose captions train a model for ``tasks``.

    >>> captions_for(["flickr30k_retrieval", "vqa", "captioning"]), captions_for([])
    (('flickr30k', 'coco'), ('coco',))
    """
    captioned = [task for task in tasks if CAPTIONED & set(TASK_OBJECTIVES[task])]
    return tuple(dict.fromkeys(TASK_CAPTIONS.get(task, "coco") for task in captioned)) or ("coco",)
