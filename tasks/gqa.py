"""GQA: compositional questions with one answer each, by exact match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlbench.data.gqa import FILES, TRAIN_SPLIT, load_gqa, read_answers
from vlbench.tasks.open_questions import OpenQuestions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlbench.data.source import LocalFolder
    from vlbench.data.vqa import Annotation
    from vlbench.types import Dataset, VisualQuestion


class Gqa(OpenQuestions):
    """Exact accuracy overall, for binary and open questions, and by structural and semantic type.

    The official scorer normalises neither side: "Yes." is not "yes".
    """

    name = "gqa"
    dataset = "gqa"
    train_files = FILES[TRAIN_SPLIT]
    id_key = "questionId"
    answer_key = "prediction"

    def read(self, folder: LocalFolder, split: str | None, limit: int | None) -> Dataset[VisualQuestion]:
        """Read questions and, except for the splits of the evaluation server, answers."""
        return load_gqa(folder, split, limit)

    def read_train(self, document: Any, where: str) -> list[Annotation]:
        """Return the train answers, by the first two words of the question."""
        return read_answers(document, where)

    def measure(self, answer: str, sample: VisualQuestion) -> Mapping[str, float]:
        """Return whether the answer is the gold one, character for character."""
        return {"accuracy": float(answer == sample.answers[0])}
