"""SugarCrepe: the right caption of an image against one that is wrong in an object, an attribute or a relation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vlbench.capabilities import LIKELIHOOD_ROUTES, route
from vlbench.data.checks import expect
from vlbench.data.source import LocalFolder
from vlbench.data.sugarcrepe import (
    CATEGORIES,
    TYPES,
    WITHDRAWN,
    CaptionPair,
    category_files,
    load_references,
    load_sugarcrepe,
    read_items,
)
from vlbench.errors import DataError
from vlbench.metrics.compositional import category_means
from vlbench.task import Protocol, Task
from vlbench.tasks.arguments import refuse_other_ids
from vlbench.types import (
    ChoiceScores,
    Choose,
    Dataset,
    Failure,
    Match,
    MatchScore,
    Metric,
    Request,
    Response,
    SampleRow,
)
from vlbench.views import SampleView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from vlbench.data.source import DataRoot

QUESTION = "Which caption best describes the image?"


class SugarCrepe(Task[CaptionPair]):
    """Compare two captions of an image; accuracy by category, by type and on average."""

    name = "sugarcrepe"
    dataset = "sugarcrepe"
    primary_metric = "accuracy"

    def protocol(self, capabilities: frozenset[str]) -> Protocol:
        """Match both captions where that is possible, else choose in both orders, else compare likelihoods."""
        way = route("match", capabilities)
        if way is not None:
            return Protocol("match" if way == "match" else f"match/{way}", routes={"match": way})
        way = route("choose", capabilities)
        if way is None:
            raise self.unsupported(capabilities, "match, embed_images and embed_texts, choose, or loglikelihood")
        if way in LIKELIHOOD_ROUTES:
            return Protocol(f"choose/{way}", routes={"choose": way})
        name = "choose-both-orders"
        if way == "choose":
            return Protocol(name, prompt=QUESTION)
        return Protocol(f"{name}/{way}", routes={"choose": way}, prompt=QUESTION)

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[CaptionPair]:
        """Read the items; no image is opened."""
        return load_sugarcrepe(root.folder(self.dataset), split, limit, root.folder("coco"))

    def load_references(self, path: Path, split: str | None = None) -> Dataset[CaptionPair]:
        """Read the items of a folder; files of recorded answers hold them as well."""
        return load_references(path, split)

    def views(self, dataset: Dataset[CaptionPair]) -> Iterable[tuple[str, SampleView]]:
        """Return the items: both captions to choose from, and the right one."""
        return (
            (s.item_id, SampleView(" / ".join(sorted((s.caption, s.negative_caption))), (s.caption,), (s.image,)))
            for s in dataset.samples
        )

    def requests(self, sample: CaptionPair, protocol: Protocol) -> Sequence[Request]:
        """Ask about both captions; a model that chooses sees each of them first once, so that no place is favoured."""
        texts = sample.caption, sample.negative_caption
        if protocol.name.startswith("match"):
            return [Match(sample.image, text) for text in texts]
        if protocol.name.startswith("choose-both-orders"):
            return [Choose((sample.image,), QUESTION, order) for order in (texts, texts[::-1])]
        return [Choose((sample.image,), "", texts)]

    def score(self, sample: CaptionPair, responses: Sequence[Response], protocol: Protocol) -> SampleRow:
        """Count the right caption where it scores strictly higher; the mean of both orders where there are two."""
        reason = next((response.reason for response in responses if isinstance(response, Failure)), "")
        if reason:
            return _row(sample, "", 0.0, reason)
        if protocol.name.startswith("match"):
            pairs = [tuple(response.value for response in responses if isinstance(response, MatchScore))]
        else:
            pairs = [response.scores for response in responses if isinstance(response, ChoiceScores)]
        if len(pairs) == 2:
            pairs[1] = pairs[1][::-1]
        credits = [float(right > wrong) for right, wrong in pairs]
        taken = [sample.caption if credit else sample.negative_caption for credit in credits]
        return _row(sample, " | ".join(dict.fromkeys(taken)), sum(credits) / len(credits))

    def predictions(self, path: Path, dataset: Dataset[CaptionPair]) -> Mapping[str, str]:
        """Read the chosen caption of every item: a folder with one file a category, or one file by category and id.

        An answer is the caption as text, or a record as the authors' own for GPT-4V:
        ``{"answer": {"multiple_choice_answer": caption, …}, …}``, empty for neither. Answers to items that have been
        withdrawn are left out. Raises ``DataError`` naming items that are missing, unknown, or another's.
        """
        items = {sample.item_id: sample for sample in dataset.samples}
        answers = {}
        for item_id, place, record in _records(path):
            if item_id in items or item_id not in WITHDRAWN:
                answers[item_id] = _answer(record, items.get(item_id), place)
        refuse_other_ids(answers, items, "items", str(path))
        return answers

    def score_predictions(self, predictions: Mapping[str, str], dataset: Dataset[CaptionPair]) -> list[SampleRow]:
        """Count answers that are the right caption to the letter; one that is neither caption is wrong."""
        return [
            _row(sample, answer, float(answer == sample.caption))
            for sample in dataset.samples
            for answer in (predictions[sample.item_id],)
        ]

    def aggregate(self, rows: Sequence[SampleRow], dataset: Dataset[CaptionPair]) -> Mapping[str, Metric]:
        """Average (fractions) in each category; types and ``accuracy`` are plain means of their categories."""
        values = [row.scores["accuracy"] for row in rows]
        means = category_means(values, [str(row.slices["category"]) for row in rows], CATEGORIES)
        metrics = {"accuracy": _mean(means, CATEGORIES)}
        for kind in TYPES:
            own = [name for name in CATEGORIES if name.startswith(kind)]
            metrics[f"accuracy/type/{kind}"] = _mean(means, own)
        return metrics | {f"accuracy/category/{name}": _mean(means, [name]) for name in CATEGORIES}

    def notes(self, dataset: Dataset[CaptionPair], limit: int | None) -> Sequence[str]:
        """Say so where only some items were asked."""
        if limit is None and not dataset.partial:
            return ()
        return (f"{dataset.counts['items']} items were asked: these are not the numbers of the official files",)


def _mean(means: Mapping[str, float | None], categories: Sequence[str]) -> Metric:
    values = [means[name] for name in categories]
    missing = [name for name in categories if means[name] is None]
    if missing:
        return Metric(None, reason=f"no item of category {missing[0]} was asked")
    return Metric(float(np.mean([value for value in values if value is not None])))


def _row(sample: CaptionPair, response: str, accuracy: float, reason: str = "") -> SampleRow:
    return SampleRow(
        sample_id=sample.item_id,
        image_id=sample.image_id,
        response=response,
        status="failed" if reason else "ok",
        scores={"accuracy": accuracy},
        slices={"category": sample.category},
        reason=reason,
    )


def _records(path: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield item id, place and record of each answer."""
    if path.is_dir():
        folder = LocalFolder(path)
        documents = {c: (folder.read_json(f), folder.describe(f)) for c, f in category_files(folder).items()}
    else:
        where = str(path)
        whole = expect(LocalFolder(path.parent).read_json(path.name), dict, f"{where}: the document")
        unknown = [name for name in whole if name not in CATEGORIES]
        if unknown:
            raise DataError(f"{where}: {unknown[0]!r} is no category; they are {', '.join(CATEGORIES)}")
        documents = {name: (document, f"{where}: {name}") for name, document in whole.items()}
    for category, (document, where) in documents.items():
        for key, record in read_items(document, where).items():
            yield f"{category}/{key}", f"{where}: item {key}", record


def _answer(record: Any, sample: CaptionPair | None, place: str) -> str:
    if isinstance(record, str):
        return record
    answer = expect(record, dict, place).get("answer")
    if isinstance(answer, dict):
        answer = answer.get("multiple_choice_answer")
    if not isinstance(answer, str):
        raise DataError(f"{place} has no answer.multiple_choice_answer, which is a caption or empty")
    if sample is not None and record.get("caption", sample.caption) != sample.caption:
        raise DataError(f"{place} answers for another caption than that of {sample.item_id}; the files do not fit")
    return answer
