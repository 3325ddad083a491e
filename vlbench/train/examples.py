"""What training draws from: images with captions, tags, questions and choices.

``ScenesSource`` makes scenes of the train split on the fly, without end; ``FolderSource`` reads the official layouts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

from vlbench.errors import DataError
from vlbench.models.pixels import resize
from vlbench.train.recipe import CAPTIONED

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from PIL.Image import Image

    from vlbench.data.scenes import Scene
    from vlbench.data.source import DataRoot
    from vlbench.types import CaptionedImage, Dataset, ImageRef, Region, VCRItem, VisualQuestion


class ChoiceItem(NamedTuple):
    """A prompt, its choices and the number of the right one; texts point to regions as ``[label]``."""

    prompt: str
    choices: tuple[str, ...]
    label: int


class AskedQuestion(NamedTuple):
    """A question, the answer that most annotators gave, and what each of them said."""

    question: str
    answer: str
    answers: tuple[str, ...]


class Example(Protocol):
    """One training image with all that is known about it."""

    @property
    def captions(self) -> Sequence[str]:
        """Captions of the image, maybe none."""

    @property
    def tags(self) -> Sequence[str]:
        """Tags that are true of the image: of its scene graph, else the words of its captions."""

    @property
    def questions(self) -> Sequence[AskedQuestion]:
        """Questions with their answers."""

    @property
    def items(self) -> Sequence[ChoiceItem]:
        """Multiple-choice items."""

    @property
    def regions(self) -> Sequence[Region]:
        """Regions that texts point to, in pixels of an image of ``size``."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the original image."""

    def picture(self) -> Image:
        """Return the picture as it is, in RGB."""

    def pixels(self, side: int) -> np.ndarray:
        """Return uint8 (side, side, 3)."""


class Source(Protocol):
    """A numbered collection of training examples; ``trained_on`` names its datasets, as results show them."""

    name: str
    trained_on: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of examples."""

    def example(self, index: int) -> Example:
        """Return example ``index``."""


@dataclass(frozen=True)
class SceneExample:
    """A scene of the embedded benchmark."""

    scene: Scene

    @cached_property
    def captions(self) -> Sequence[str]:
        """Its five captions."""
        from vlbench.data.scenes import captions

        return captions(self.scene)

    @cached_property
    def tags(self) -> Sequence[str]:
        """Each object's colour with its shape, and its region with its shape, colour and size."""
        found = set()
        for item in self.scene.objects:
            found |= {item.name, *(f"{word} {item.region}" for word in (item.shape, item.color, item.size))}
        return sorted(found)

    @cached_property
    def questions(self) -> Sequence[AskedQuestion]:
        """Its VQA questions."""
        from vlbench.data.scenes import questions

        return [AskedQuestion(q.question, q.multiple_choice_answer, q.answers) for q in questions(self.scene)]

    @cached_property
    def items(self) -> Sequence[ChoiceItem]:
        """Answers, and rationales given the right answer, of its VCR items."""
        from vlbench.data.scenes import vcr_items
        from vlbench.data.vcr import render

        labels = [region.label for region in self.regions]

        def text(tokens: Sequence[str | tuple[int, ...]]) -> str:
            return render([token if isinstance(token, str) else list(token) for token in tokens], labels, "scene")

        found = []
        for item in vcr_items(self.scene):
            question, answers = text(item.question), tuple(text(answer) for answer in item.answer_choices)
            rationales = tuple(text(rationale) for rationale in item.rationale_choices)
            found.append(ChoiceItem(question, answers, item.answer_label))
            found.append(ChoiceItem(f"{question} {answers[item.answer_label]}", rationales, item.rationale_label))
        return found

    @cached_property
    def regions(self) -> Sequence[Region]:
        """The boxes of its objects."""
        from vlbench.data.vcr import object_labels
        from vlbench.types import Region

        labels = object_labels(["object"] * len(self.scene.objects))
        boxes = [tuple(float(value) for value in item.box) for item in self.scene.objects]
        return [Region(label, (b[0], b[1], b[2], b[3])) for label, b in zip(labels, boxes, strict=True)]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a scene's picture."""
        from vlbench.data.scenes import SIDE

        return SIDE, SIDE

    def picture(self) -> Image:
        """Draw the scene."""
        from PIL.Image import fromarray

        from vlbench.data.scenes import render

        return fromarray(render(self.scene))

    def pixels(self, side: int) -> np.ndarray:
        """Draw the scene and resize it."""
        return resize(self.picture(), side)


class ScenesSource:
    """The first ``count`` scenes of the train split, made when they are asked for."""

    def __init__(self, count: int) -> None:
        """Take ``count`` scenes."""
        self.name = f"scenes-train:{count}"
        self.trained_on: tuple[str, ...] = ("scenes",)
        self._count = count

    def __len__(self) -> int:
        """Return the number of scenes."""
        return self._count

    def example(self, index: int) -> SceneExample:
        """Return scene ``index`` of the train split."""
        from vlbench.data.scenes import scene

        return SceneExample(scene("train", index))


@dataclass(frozen=True)
class FolderExample:
    """An image of a dataset in its official layout."""

    image: ImageRef
    captions: tuple[str, ...] = ()
    questions: tuple[AskedQuestion, ...] = ()
    items: tuple[ChoiceItem, ...] = ()

    @cached_property
    def tags(self) -> Sequence[str]:
        """The words of its captions."""
        return sorted({word for caption in self.captions for word in re.findall(r"[^\W\d_]+", caption.lower())})

    @property
    def regions(self) -> Sequence[Region]:
        """The regions of the image."""
        return self.image.regions

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height; the image is decoded."""
        return self.image.load().size

    def picture(self) -> Image:
        """Decode the image; raises ``DataError`` naming a file that does not decode."""
        return self.image.load()

    def pixels(self, side: int) -> np.ndarray:
        """Decode and resize the image."""
        return resize(self.picture(), side)


class FolderSource:
    """The train splits of the datasets that some objectives need."""

    def __init__(self, root: DataRoot, objectives: Sequence[str], captions: Sequence[str] = ("coco",)) -> None:
        """Read the annotations, captions from those of the datasets ``captions`` (coco, flickr30k).

        Raises ``DataError`` where one is missing or malformed, or an image is missing.
        """
        self._examples: list[FolderExample] = []
        self.trained_on: tuple[str, ...] = ()
        for dataset in captions if CAPTIONED & set(objectives) else ():
            captioned = _captions_of(root, dataset)
            self._examples += _captioned(captioned.samples)
            self.trained_on += (f"{dataset}:{captioned.split}",)
        if {"vqa", "answer"} & set(objectives):
            from vlbench.data.vqa import TRAIN_SPLIT, load_vqa

            self._examples += _asked(load_vqa(root.folder("vqa"), TRAIN_SPLIT, None).samples)
            self.trained_on += (f"vqa:{TRAIN_SPLIT}",)
        if "vcr" in objectives:
            from vlbench.data.vcr import load_vcr

            self._examples += _chosen(load_vcr(root.folder("vcr"), "train", None).samples)
            self.trained_on += ("vcr:train",)
        missing = [e.image for e in self._examples if not e.image.source.exists(e.image.name)]
        if missing:
            first = missing[0].source.describe(missing[0].name)
            raise DataError(f"{len(missing)} of {len(self._examples)} training images are missing, first {first}")
        self.name = root.name

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._examples)

    def example(self, index: int) -> FolderExample:
        """Return image ``index``."""
        return self._examples[index]


def _captions_of(root: DataRoot, dataset: str) -> Dataset[CaptionedImage]:
    """Return the train split of a dataset of captions."""
    from vlbench.data.coco import TRAIN_SPLITS, load_coco, train_split
    from vlbench.data.flickr30k import load_flickr30k

    folder = root.folder(dataset)
    if dataset == "flickr30k":
        return load_flickr30k(folder, "train")
    return load_coco(folder, train_split(folder) or TRAIN_SPLITS[0])


def _captioned(samples: Sequence[CaptionedImage]) -> list[FolderExample]:
    return [FolderExample(s.image, captions=tuple(c.text.strip() for c in s.captions)) for s in samples]


def _asked(samples: Sequence[VisualQuestion]) -> list[FolderExample]:
    """Group questions by image; the answer to learn is the annotators' most frequent one."""
    grouped: dict[str, tuple[ImageRef, list[AskedQuestion]]] = {}
    for sample in samples:
        answer = max(sorted(set(sample.answers)), key=sample.answers.count)
        asked = AskedQuestion(sample.question, answer, sample.answers)
        grouped.setdefault(sample.image_id, (sample.image, []))[1].append(asked)
    return [FolderExample(image, questions=tuple(questions)) for image, questions in grouped.values()]


def _chosen(samples: Sequence[VCRItem]) -> list[FolderExample]:
    grouped: dict[str, tuple[ImageRef, list[ChoiceItem]]] = {}
    for s in samples:
        items = grouped.setdefault(s.image_id, (s.image, []))[1]
        items.append(ChoiceItem(s.question, s.answers, s.answer_label))
        items.append(ChoiceItem(f"{s.question} {s.answers[s.answer_label]}", s.rationales, s.rationale_label))
    return [FolderExample(image, items=tuple(items)) for image, items in grouped.values()]
