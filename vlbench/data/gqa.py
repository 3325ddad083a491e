"""GQA (Hudson & Manning 2019): compositional questions made from scene graphs, each with one answer.

Layout: ``<split>_questions.json``, an object of questions by id, in the root or in ``questions/`` or ``questions1.2/``
(the archive's name); images ``images/<image id>.jpg``. The official scorer counts balanced questions only, so the
labelled splits are the balanced ones; those for the evaluation server have no answers and no types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlbench.data.checks import Table, expect, limited, pick_split, refuse
from vlbench.data.vqa import Annotation, questions_dataset
from vlbench.errors import DataError
from vlbench.types import Dataset, ImageRef, VisualQuestion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlbench.data.source import LocalFolder

NAME = "gqa"
DEFAULT_SPLITS = ("testdev_balanced", "val_balanced")
OFFICIAL_COUNTS: Mapping[str, Mapping[str, int]] = {
    "testdev_balanced": {"questions": 12_578},
    "val_balanced": {"questions": 132_062},
    "train_balanced": {"questions": 943_000},
    "test_balanced": {"questions": 95_336},
    "challenge_balanced": {"questions": 50_726},
    "submission_all": {"questions": 4_237_524},
}
UNLABELLED = ("test_balanced", "challenge_balanced", "submission_all")
TRAIN_SPLIT = "train_balanced"
FILES = {
    split: tuple(f"{folder}{split}_questions.json" for folder in ("", "questions/", "questions1.2/"))
    for split in OFFICIAL_COUNTS
}


class _Questions(Table):
    """Questions by id; an error calls one by its id."""

    def __init__(self, document: object, where: str) -> None:
        """Hold the questions of a parsed file; raises ``DataError`` where it is none, or empty."""
        by_id = expect(document, dict, f"{where}: the document")
        super().__init__(Table.read({"questions": list(by_id.values())}, "questions", where).rows, where)
        self.ids = list(by_id)

    def place(self, index: int, key: str = "") -> str:
        """Return the file with the id of the question."""
        return f"{self.name}: question {self.ids[index]}" + (f": {key}" if key else "")

    def inner(self, index: int, key: str, name: str) -> str:
        """Return a text of an object of a question; raises ``DataError`` where it is absent or none."""
        holder = self.get(index, key, dict)
        if name not in holder:
            raise DataError(f"{self.place(index, key)} has no {name!r}")
        return expect(holder[name], str, f"{self.place(index, key)}.{name}")


def load_gqa(folder: LocalFolder, split: str | None = None, limit: int | None = None) -> Dataset[VisualQuestion]:
    """Read a split (default ``testdev_balanced``, else ``val_balanced``), with answers except for the server's splits.

    ``answer_type`` is ``open`` for questions of structural type "query" and ``binary`` for all others, as the official
    scorer has it; ``question_type`` is the structural type; ``groups`` has the semantic one. Raises ``DataError``
    naming file and question where something is malformed or a question is not balanced, ``UsageError`` for an unknown
    split or a limit below 1. No image is opened.
    """
    split, name = pick_split(split, FILES, DEFAULT_SPLITS, folder, NAME)
    where = folder.describe(name)
    questions = _Questions(folder.read_json(name), where)
    labelled = split not in UNLABELLED
    if labelled:
        wrong = [questions.ids[i] for i in range(len(questions)) if not questions.get(i, "isBalanced", bool)]
        refuse(wrong, "questions that are not balanced, which the official scorer leaves out", where)
    images: dict[str, ImageRef] = {}
    samples = []
    for i in limited(range(len(questions)), limit):
        image_id = questions.identifier(i, "imageId")
        if image_id not in images:
            images[image_id] = ImageRef(folder, _find_image(folder, image_id))
        samples.append(_sample(questions, i, images[image_id], labelled))
    rows = [[s.question_id, s.image_id, s.question, s.answers, s.question_type, dict(s.groups)] for s in samples]
    return questions_dataset(NAME, split, tuple(samples), rows, OFFICIAL_COUNTS[split])


def read_answers(document: Any, where: str) -> list[Annotation]:
    """Return the answers of a parsed file, typed by the first two words of their questions.

    Raises ``DataError`` naming the question where it is malformed.
    """
    questions = _Questions(document, where)
    found = []
    for i in range(len(questions)):
        answer = questions.get(i, "answer", str)
        kind = first_words(questions.get(i, "question", str))
        found.append(Annotation(questions.ids[i], questions.identifier(i, "imageId"), (answer,), answer, kind, ""))
    return found


def first_words(question: str) -> str:
    """Return the first two words of a question, which stand for its type where a dataset has none by prefix."""
    return " ".join(question.split()[:2])


def _sample(questions: _Questions, index: int, image: ImageRef, labelled: bool) -> VisualQuestion:
    structural = questions.inner(index, "types", "structural") if labelled else ""
    answer_type = "open" if structural == "query" else "binary"
    return VisualQuestion(
        question_id=questions.ids[index],
        image_id=questions.identifier(index, "imageId"),
        image=image,
        question=questions.get(index, "question", str),
        answers=(questions.get(index, "answer", str),) if labelled else (),
        question_type=structural,
        answer_type=answer_type if labelled else "",
        groups={"semantic_type": questions.inner(index, "types", "semantic")} if labelled else {},
    )


def _find_image(folder: LocalFolder, image_id: str) -> str:
    """Return the first customary name that exists, else the official one."""
    candidates = [f"{place}{image_id}.jpg" for place in ("images/", "allImages/images/")]
    return folder.first(*candidates) or candidates[0]
