"""Zero-shot classification of an image folder, by the names of its classes in an ensemble of prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vlbench.data.image_folder import LabelledImage, LabelledImages, load_image_folder, read_lines
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError
from vlbench.metrics.classification import class_weights, mean_per_class
from vlbench.metrics.retrieval import Found, Search, normalise
from vlbench.task import Protocol, Rounds, Task
from vlbench.types import (
    Dataset,
    Embedding,
    EmbedImage,
    EmbedText,
    Failure,
    Metric,
    Response,
    SampleRow,
    content_key,
)
from vlbench.views import SampleView

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from vlbench.data.source import DataRoot

KS = (1, 5)
TEMPLATES_FILE = "templates.txt"
NAMED_TEMPLATES = ("openai", "simple", "name")


class ZeroshotClassification(Task[LabelledImage]):
    """Rank the classes of a folder for every image by cosine; top-1, top-5, mean recall of a class."""

    name = "zeroshot_classification"
    dataset = "imagenet"
    primary_metric = "accuracy@1"
    argument_help: ClassVar[Mapping[str, str]] = {
        "templates": "prompts: openai (CLIP's 80), simple (CLIP's 7), name (the bare name), or a file with one a line "
        f"and {{}} for the name (default: {TEMPLATES_FILE} of the data, else openai)",
    }

    def __init__(self, arguments: Mapping[str, str] | None = None) -> None:
        """Store the arguments; raises ``UsageError`` for one that is unknown."""
        super().__init__(arguments)
        self._templates: Sequence[str] = ()
        # Filled in by `load`: only the data root tells the templates.
        self._extra: dict[str, str] = {}

    def protocol(self, capabilities: frozenset[str]) -> Protocol:
        """Return ``embed``, with the templates in ``extra`` once the data is loaded."""
        if not {"embed_images", "embed_texts"} <= capabilities:
            raise self.unsupported(capabilities, "embed_images and embed_texts")
        return Protocol("embed", prompt="ensemble", extra=self._extra)

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> LabelledImages:
        """Read names of images and classes, and the templates; no image is opened."""
        folder = root.folder(self.dataset)
        dataset = load_image_folder(folder, split, limit)
        name, self._templates = read_templates(self.arguments.get("templates", ""), folder)
        self._extra["templates"] = f"{name}-{len(self._templates)}-{content_key(*self._templates)[:16]}"
        return dataset

    def views(self, dataset: Dataset[LabelledImage]) -> Iterable[tuple[str, SampleView]]:
        """Return the images with the names of their classes."""
        assert isinstance(dataset, LabelledImages)
        return (
            (sample.image_id, SampleView("", (dataset.class_names[sample.label],), (sample.image,)))
            for sample in dataset.samples
        )

    def rounds(self, dataset: Dataset[LabelledImage], protocol: Protocol) -> Rounds:
        """Embed images and prompts, and rank the classes of every image."""
        assert isinstance(dataset, LabelledImages)
        images = [EmbedImage(sample.image) for sample in dataset.samples]
        prompts = [[EmbedText(fill(t, name)) for t in self._templates] for name in dataset.class_names]
        responses = yield [*images, *(prompt for own in prompts for prompt in own)]
        weights, lost = _weights([[responses[prompt.key] for prompt in own] for own in prompts])
        seen = [responses[image.key] for image in images]
        vectors, failed = _vectors(seen, weights.shape[1])
        found = Search(
            normalise(vectors),
            weights,
            [[sample.label] for sample in dataset.samples],
            np.array([not reason for reason in failed]),
            np.array([not reason for reason in lost]),
        ).run(top=0)
        reasons = [
            own or (f"the prompts of its class failed: {lost[sample.label]}" if lost[sample.label] else "")
            for own, sample in zip(failed, dataset.samples, strict=True)
        ]
        return _rows(dataset, found, reasons)

    def aggregate(self, rows: Sequence[SampleRow], dataset: Dataset[LabelledImage]) -> Mapping[str, Metric]:
        """Average expected hits (fractions); top-5 needs more than five classes."""
        assert isinstance(dataset, LabelledImages)
        number = {name: label for label, name in enumerate(dataset.classes)}
        hits = [row.scores["accuracy@1"] for row in rows]
        metrics: dict[str, Metric] = {}
        for k in KS:
            name = f"accuracy@{k}"
            if k < len(dataset.classes):
                metrics[name] = Metric(float(np.mean([row.scores[name] for row in rows])))
            else:
                metrics[name] = Metric(None, reason=f"there are only {len(dataset.classes)} classes")
        recall = mean_per_class(hits, [number[str(row.slices["class"])] for row in rows])
        return metrics | {"mean_per_class_recall": Metric(recall)}

    def notes(self, dataset: Dataset[LabelledImage], limit: int | None) -> Sequence[str]:
        """Say so where the images or classes are not the whole split."""
        if limit is None and not dataset.partial:
            return ()
        counts = dataset.counts
        return (
            f"only {counts['images']} images were classified, among {counts['classes']} classes: "
            "these are not the numbers of the full split",
        )


def read_templates(given: str, folder: LocalFolder) -> tuple[str, tuple[str, ...]]:
    """Return a name for the templates, and the templates, each with ``{}`` for the name of a class.

    ``given`` is one of ``NAMED_TEMPLATES``, a file, or empty: the data's own, else CLIP's. In a file ``{c}`` stands for
    the name as well. Raises ``DataError`` for a file that is missing, or a line with no or several places for it.
    """
    if given in NAMED_TEMPLATES or not (given or folder.exists(TEMPLATES_FILE)):
        return given or "openai", _clip_templates(given)
    path = Path(given)
    source, name = (LocalFolder(path.parent), path.name) if given else (folder, TEMPLATES_FILE)
    templates = [line.replace("{c}", "{}") for line in read_lines(source, name)]
    for number, line in enumerate(templates, 1):
        if line.count("{}") != 1:
            raise DataError(f"{source.describe(name)}: template {number} {line!r} must have one {{}} for the name")
    return "file", tuple(templates)


def fill(template: str, name: str) -> str:
    """Return the prompt for a class.

    >>> fill("a photo of a {}.", "great white shark")
    'a photo of a great white shark.'
    """
    return template.replace("{}", name)


def _clip_templates(name: str) -> tuple[str, ...]:
    if name == "name":
        return ("{}",)
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

    functions = SIMPLE_IMAGENET_TEMPLATES if name == "simple" else OPENAI_IMAGENET_TEMPLATES
    return tuple(function("{}") for function in functions)


def _weights(prompts: Sequence[Sequence[Response]]) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Return unit vectors (classes, d), zero where a prompt failed, and why ("" elsewhere)."""
    lost = [next((r.reason for r in own if isinstance(r, Failure)), "") for own in prompts]
    width = next((len(r.vector) for own in prompts for r in own if isinstance(r, Embedding)), 1)
    empty = np.zeros((1, width), dtype=np.float32)
    ensembles = (
        empty if reason else np.stack([r.vector for r in own if isinstance(r, Embedding)])
        for own, reason in zip(prompts, lost, strict=True)
    )
    return class_weights(ensembles), lost


def _vectors(responses: Sequence[Response], width: int) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Return vectors (images, d), zero where embedding failed, and why ("" elsewhere)."""
    empty = np.zeros(width, dtype=np.float32)
    reasons = [response.reason if isinstance(response, Failure) else "" for response in responses]
    return np.stack([r.vector if isinstance(r, Embedding) else empty for r in responses]), reasons


def _rows(dataset: LabelledImages, found: Found, reasons: Sequence[str]) -> list[SampleRow]:
    hits = {f"accuracy@{k}": found.ranks.hits(k).tolist() for k in KS if k < len(dataset.classes)}
    ranks = found.ranks.expected_rank().tolist()
    return [
        SampleRow(
            sample_id=sample.image_id,
            image_id=sample.image_id,
            response=dataset.class_names[found.best[i]] if found.best[i] >= 0 else "",
            status="failed" if reasons[i] else "ok",
            scores={name: values[i] for name, values in hits.items()},
            slices={"class": dataset.classes[sample.label]},
            statistics={"rank": ranks[i]},
            reason=reasons[i],
        )
        for i, sample in enumerate(dataset.samples)
    ]
