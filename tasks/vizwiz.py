"""VizWiz-VQA: questions of blind people, by the accuracy of its own evaluation code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlbench.data.vizwiz import FILES, TRAIN_SPLIT, load_vizwiz, read_answers
from vlbench.metrics.vqa import normalize_answer, strict_match, unanswerable_scores, vizwiz_accuracy
from vlbench.tasks.open_questions import OpenQuestions, unlabelled
from vlbench.types import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.data.source import LocalFolder
    from vlbench.data.vqa import Annotation
    from vlbench.types import Dataset, SampleRow, VisualQuestion

UNANSWERABLE = "unanswerable"


class VizWiz(OpenQuestions):
    """Official accuracy overall and by type, the exact match, and how well "unanswerable" is told as an answer."""

    name = "vizwiz"
    dataset = "vizwiz"
    score_names = ("accuracy", "strict")
    train_files = FILES[TRAIN_SPLIT]
    id_key = "image"

    def read(self, folder: LocalFolder, split: str | None, limit: int | None) -> Dataset[VisualQuestion]:
        """Read questions and, except for the test split, answers."""
        return load_vizwiz(folder, split, limit)

    def read_train(self, document: Any, where: str) -> list[Annotation]:
        """Return the train answers, by the first two words of the question."""
        return read_answers(document, where)

    def measure(self, answer: str, sample: VisualQuestion) -> Mapping[str, float]:
        """Return the accuracy of VizWiz and the exact match."""
        return {
            "accuracy": vizwiz_accuracy(answer, sample.answers),
            "strict": strict_match(answer, sample.answers),
        }

    def statistics(self, answer: str) -> Mapping[str, float]:
        """Tell whether the answer is "unanswerable"."""
        return {UNANSWERABLE: float(normalize_answer(answer) == UNANSWERABLE)}

    def aggregate(self, rows: Sequence[SampleRow], dataset: Dataset[VisualQuestion]) -> Mapping[str, Metric]:
        """Add precision, recall and F1 (fractions) of the answer "unanswerable"."""
        metrics = dict(super().aggregate(rows, dataset))
        if unlabelled(dataset) or not rows:
            return metrics
        told = [row.statistics.get(UNANSWERABLE, 0.0) for row in rows]
        scores = unanswerable_scores(told, [row.slices["answerable"] == "no" for row in rows])
        for name, value in scores.items():
            reason = "no question is unanswerable, or none was called so" if value is None else None
            metrics[f"{UNANSWERABLE}_{name}"] = Metric(value, reason=reason)
        return metrics
