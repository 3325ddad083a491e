"""Visual question answering on VQA v2 and OK-VQA by the official accuracy: generated answers, or a ranked shortlist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from vlbench.data.okvqa import LAYOUT as OK_VQA
from vlbench.data.okvqa import load_okvqa
from vlbench.data.vqa import TRAIN_SPLIT, VQA_V2, load_vqa, read_annotations
from vlbench.metrics.vqa import strict_match, vqa_accuracy
from vlbench.tasks.open_questions import OpenQuestions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlbench.data.source import LocalFolder
    from vlbench.data.vqa import Annotation
    from vlbench.types import Dataset, VisualQuestion


class Vqa(OpenQuestions):
    """Official accuracy overall, by answer type and by question type, and the exact match beside it."""

    name = "vqa"
    dataset = "vqa"
    score_names: ClassVar[tuple[str, ...]] = ("accuracy", "strict")
    train_files = VQA_V2.annotation_files(TRAIN_SPLIT)
    integer_ids = True

    def read(self, folder: LocalFolder, split: str | None, limit: int | None) -> Dataset[VisualQuestion]:
        """Read questions and, except for the test splits, answers."""
        return load_vqa(folder, split, limit)

    def read_train(self, document: Any, where: str) -> list[Annotation]:
        """Return the train annotations."""
        return read_annotations(document, where)

    def measure(self, answer: str, sample: VisualQuestion) -> Mapping[str, float]:
        """Return the official accuracy and the exact match."""
        return {
            "accuracy": vqa_accuracy(answer, sample.answers),
            "strict": strict_match(answer, sample.answers),
        }


class OkVqa(Vqa):
    """The official accuracy, which is against stemmed answers, and the same against the answers as they were typed."""

    name = "okvqa"
    dataset = "okvqa"
    score_names = ("accuracy", "raw_accuracy", "strict")
    train_files = OK_VQA.annotation_files(TRAIN_SPLIT)

    def read(self, folder: LocalFolder, split: str | None, limit: int | None) -> Dataset[VisualQuestion]:
        """Read questions with stemmed and raw answers."""
        return load_okvqa(folder, split, limit)

    def measure(self, answer: str, sample: VisualQuestion) -> Mapping[str, float]:
        """Return the accuracy against either form, and the exact match with the stemmed one."""
        return {**super().measure(answer, sample), "raw_accuracy": vqa_accuracy(answer, sample.raw_answers)}
