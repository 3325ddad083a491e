"""Recipes: everything that decides a training run, as YAML. The one that was used lies in the checkpoint folder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlbench.errors import UsageError
from vlbench.plugins import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OBJECTIVES = ("itc", "itm", "mlm", "caption", "tag", "vqa", "vcr")
TASK_OBJECTIVES: Mapping[str, tuple[str, ...]] = {
    "coco_retrieval": ("itc", "itm"),
    "flickr30k_retrieval": ("itc", "itm"),
    "coco_caption": ("caption",),
    "vqa": ("vqa",),
    "vcr": ("vcr",),
    "retrieval": ("itc", "itm"),
    "captioning": ("caption",),
}
FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Recipe:
    """How to train. Weights of ``objectives`` multiply their losses.

    ``every`` maps an objective to n where it takes part in each n-th step only; ``tag_first`` is the share of the steps
    at the start in which only tags are learned (a model can solve retrieval without seeing shapes; tags make it look);
    ``scenes`` is the number of train scenes of ``--data scenes``.
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
    scenes: int = 1_000_000
    seed: int = 0
    save_every: int = 500

    def __post_init__(self) -> None:
        """Raise ``UsageError`` for values that cannot be."""
        for name in (*self.objectives, *self.every):
            if name not in OBJECTIVES:
                raise UsageError(
                    f"unknown objective {name!r}{nearest(name, OBJECTIVES)}; there are {', '.join(OBJECTIVES)}"
                )
        if not any(weight > 0 for weight in self.objectives.values()):
            raise UsageError("no objective has a weight above 0")
        for name in ("steps", "batch_size", "questions_per_image", "items_per_step", "scenes", "save_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it takes a whole number from 1")

    def active(self, step: int) -> tuple[str, ...]:
        """Return the objectives of a step, in the order of ``OBJECTIVES``."""
        wanted = {name for name, weight in self.objectives.items() if weight > 0}
        if "tag" in wanted and step < self.tag_first * self.steps:
            return ("tag",)
        # Each objective has its turn at another remainder, so that the costly ones do not fall on one step.
        wanted -= {name for turn, (name, n) in enumerate(self.every.items()) if step % n != turn % n}
        return tuple(name for name in OBJECTIVES if name in wanted)

    def save(self, path: Path) -> None:
        """Write the recipe as YAML, in full."""
        import yaml

        document = {
            key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(self).items()
        }
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def available() -> list[str]:
    """Return the names of the recipes that ship with vlbench."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_recipe(name: str, overrides: Mapping[str, Any]) -> Recipe:
    """Read a recipe by its name, or from a YAML file, with values of the user in place of its own.

    Raises ``UsageError`` for an unknown name or key.
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
    given = {**document, **{key: value for key, value in overrides.items() if value is not None}}
    known = [f.name for f in dataclasses.fields(Recipe)]
    for key in given:
        if key not in known:
            raise UsageError(f"recipe {path} has an unknown key {key!r}{nearest(key, known)}")
    lists = {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
    try:
        return Recipe(**{**given, **lists})
    except TypeError as error:
        raise UsageError(f"recipe {path} has a value of the wrong kind ({error})") from error


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


def objectives_of(tasks: Sequence[str]) -> tuple[str, ...]:
    """Return the objectives that train for ``tasks``; raises ``UsageError`` for a task that nothing trains for."""
    found: list[str] = []
    for task in tasks:
        if task not in TASK_OBJECTIVES:
            raise UsageError(
                f"cannot fine-tune for {task!r}{nearest(task, TASK_OBJECTIVES)}; there are {', '.join(TASK_OBJECTIVES)}"
            )
        found += [name for name in TASK_OBJECTIVES[task] if name not in found]
    return tuple(found)
