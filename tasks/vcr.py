"""Visual commonsense reasoning on VCR: answers, rationales, and both together."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vlbench.data.vcr import NO_LABEL, load_vcr
from vlbench.edits import MARKS_VERSION
from vlbench.errors import DataError
from vlbench.task import Protocol, Task
from vlbench.tasks.arguments import LIKELIHOOD_HELP, choice, choosing, template
from vlbench.tasks.vcr_files import ItemScores, read_table, write_table
from vlbench.tasks.vcr_marks import drawn, marked, pointed
from vlbench.types import ChoiceScores, Choose, Dataset, Failure, Metric, Response, SampleRow, VCRItem
from vlbench.views import SampleView

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from vlbench.data.source import DataRoot

METRICS = ("q_to_a", "qa_to_r", "q_to_ar")


class Vcr(Task[VCRItem]):
    """Choose one of four answers, then one of four rationales given the *gold* answer."""

    name = "vcr"
    dataset = "vcr"
    primary_metric = "q_to_ar"
    argument_help: ClassVar[Mapping[str, str]] = {
        **LIKELIHOOD_HELP,
        "template": "text that ranks a choice, with {prompt} and {choice} (default {prompt} {choice})",
        "marks": "how texts point: off (regions and tags, default), draw (outlines in the picture) or draw-boxes",
    }

    def __init__(self, arguments: Mapping[str, str] | None = None) -> None:
        """Read the arguments; raises ``UsageError`` for one that is unknown or out of range."""
        super().__init__(arguments)
        choosing(self.name, self.arguments, frozenset({"loglikelihood"}))
        self._template = template(self.name, self.arguments, "template", "{prompt} {choice}", ("prompt", "choice"))
        self._marks = choice(self.name, self.arguments, "marks", ("off", "draw", "draw-boxes"))

    def protocol(self, capabilities: frozenset[str]) -> Protocol:
        """Return ``choose``, or ``choose/<route>`` where choosing is derived."""
        way = choosing(self.name, self.arguments, capabilities)
        if way is None:
            raise self.unsupported(capabilities, "choose, match, loglikelihood or embeddings")
        name = "choose" if way == "choose" else f"choose/{way}"
        prompt = "{question} -> {answer}; {question} {gold answer} -> {rationale}"
        extra = {} if self._marks == "off" else {"marks": f"{self._marks}-v{MARKS_VERSION}"}
        return Protocol(name, routes={"choose": way}, prompt=prompt, template=self._template, extra=extra)

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[VCRItem]:
        """Read the items; those of the test split have no labels."""
        return load_vcr(root.folder(self.dataset), split, limit)

    def views(self, dataset: Dataset[VCRItem]) -> Iterable[tuple[str, SampleView]]:
        """Return the items, what their texts point to marked in the picture."""
        return ((sample.annot_id, _view(sample)) for sample in dataset.samples)

    def requests(self, sample: VCRItem, protocol: Protocol) -> Sequence[Choose]:
        """Ask for the answer, and for the rationale of the gold answer; without one, for that of each answer."""
        given = sample.answers if _unlabelled(sample) else (sample.answers[sample.answer_label],)
        asked = [
            Choose((sample.image,), sample.question, sample.answers),
            *(Choose((sample.image,), f"{sample.question} {answer}", sample.rationales) for answer in given),
        ]
        if self._marks == "off":
            return asked
        return [marked(request, outlines=self._marks == "draw") for request in asked]

    def score(self, sample: VCRItem, responses: Sequence[Response], protocol: Protocol) -> SampleRow:
        """Score both choices; a sample of which one request failed is wrong in all three."""
        reason = next((response.reason for response in responses if isinstance(response, Failure)), "")
        if reason:
            return _failed(sample, reason)
        chosen = [response.scores for response in responses if isinstance(response, ChoiceScores)]
        return _unscored(sample, chosen) if _unlabelled(sample) else _row(sample, chosen[0], chosen[1])

    def aggregate(self, rows: Sequence[SampleRow], dataset: Dataset[VCRItem]) -> Mapping[str, Metric]:
        """Average the credits (fractions); a split without labels has none."""
        if any(_unlabelled(sample) for sample in dataset.samples):
            reason = f"split {dataset.split} has no labels; its scores come from the leaderboard"
            return {name: Metric(None, reason=reason) for name in METRICS}
        return {name: Metric(float(np.mean([row.scores[name] for row in rows]))) for name in METRICS}

    def predictions(self, path: Path, dataset: Dataset[VCRItem]) -> Mapping[str, ItemScores]:
        """Read the leaderboard's table; raises ``DataError`` for a split without labels to score against."""
        if any(_unlabelled(sample) for sample in dataset.samples):
            raise DataError(
                f"{self.name}: split {dataset.split} has no labels to score against; choose another --split"
            )
        return read_table(path, [sample.annot_id for sample in dataset.samples])

    def score_predictions(self, predictions: Mapping[str, ItemScores], dataset: Dataset[VCRItem]) -> list[SampleRow]:
        """Score the answers, and the rationales that were conditioned on the gold answer."""
        return [
            _row(sample, given.answers, given.rationales[sample.answer_label])
            for sample in dataset.samples
            for given in (predictions[sample.annot_id],)
        ]

    def submission(self, rows: Sequence[SampleRow], dataset: Dataset[VCRItem]) -> tuple[str, bytes] | None:
        """Return name and bytes of the leaderboard's table for a split without labels; None for any other."""
        if not any(_unlabelled(sample) for sample in dataset.samples):
            return None
        items = ((row.sample_id, ItemScores(**row.statistics) if row.status == "ok" else None) for row in rows)
        return f"vcr_{dataset.split}.csv", write_table(items)

    def notes(self, dataset: Dataset[VCRItem], limit: int | None) -> Sequence[str]:
        """Say so where only some questions were asked."""
        if limit is None and not dataset.partial:
            return ()
        return (
            f"only {dataset.counts['questions']} questions were asked: these are not the numbers of the full split",
        )


def _unlabelled(sample: VCRItem) -> bool:
    return NO_LABEL in (sample.answer_label, sample.rationale_label)


def _view(sample: VCRItem) -> SampleView:
    texts = (sample.question, *sample.answers, *sample.rationales)
    image = drawn(sample.image, pointed(sample.image, texts), outlines=True)
    if _unlabelled(sample):
        choices = (sample.answers, *(sample.rationales for _ in sample.answers))
        return SampleView(sample.question, (), (image,), choices)
    right = (sample.answers[sample.answer_label], sample.rationales[sample.rationale_label])
    return SampleView(sample.question, right, (image,), (sample.answers, sample.rationales))


def _row(sample: VCRItem, answers: Sequence[float], rationales: Sequence[float]) -> SampleRow:
    """Score what was chosen: the answer, and the rationale of the gold answer."""
    credits = credit(answers, sample.answer_label), credit(rationales, sample.rationale_label)
    return SampleRow(
        sample_id=sample.annot_id,
        image_id=sample.image_id,
        response=f"{int(np.argmax(answers))} {int(np.argmax(rationales))}",
        status="ok",
        scores=dict(zip(METRICS, (*credits, credits[0] * credits[1]), strict=True)),
        slices=_slices(sample),
    )


def _unscored(sample: VCRItem, chosen: Sequence[Sequence[float]]) -> SampleRow:
    """Keep the scores of a sample without labels: those of the answers, then of the rationales of each answer."""
    return SampleRow(
        sample_id=sample.annot_id,
        image_id=sample.image_id,
        response=" ".join(str(int(np.argmax(scores))) for scores in chosen),
        status="ok",
        scores={},
        statistics={"answers": list(chosen[0]), "rationales": [list(scores) for scores in chosen[1:]]},
    )


def _failed(sample: VCRItem, reason: str) -> SampleRow:
    scores = {} if _unlabelled(sample) else dict.fromkeys(METRICS, 0.0)
    return SampleRow(sample.annot_id, sample.image_id, "", "failed", scores, _slices(sample), reason=reason)


def _slices(sample: VCRItem) -> dict[str, str | int]:
    return {"objects": len(sample.image.regions)}


def credit(scores: Sequence[float], label: int) -> float:
    """Return the chance that the choice ``label`` is taken: the highest wins, of n tied ones each with 1/n.

    >>> credit((0.1, 0.9, 0.9, 0.2), 1), credit((0.1, 0.9, 0.9, 0.2), 0)
    (0.5, 0.0)
    """
    highest = max(scores)
    return 1.0 / list(scores).count(highest) if scores[label] == highest else 0.0
