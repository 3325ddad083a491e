"""VizWiz-VQA (Gurari et al. 2018): questions of blind people about photographs that they took, often unanswerable.

Layout: ``{train,val,test}.json``, a list with one question an image, in the root or in ``Annotations/``; images
``<split>/<image>`` in the root or in ``images/``, or all in ``images/``. The test split has no answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlbench.data.checks import Table, limited, pick_split, refuse_duplicates
from vlbench.data.gqa import first_words
from vlbench.data.vqa import Annotation, most_common, questions_dataset
from vlbench.errors import DataError
from vlbench.types import Dataset, ImageRef, VisualQuestion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlbench.data.source import LocalFolder

NAME = "vizwiz"
DEFAULT_SPLITS = ("val",)
OFFICIAL_COUNTS: Mapping[str, Mapping[str, int]] = {
    "val": {"questions": 4_319},
    "train": {"questions": 20_523},
    "test": {"questions": 8_000},
}
UNLABELLED = ("test",)
TRAIN_SPLIT = "train"
FILES = {
    split: tuple(f"{folder}{split}.json" for folder in ("", "Annotations/", "annotations/"))
    for split in OFFICIAL_COUNTS
}


def load_vizwiz(folder: LocalFolder, split: str | None = None, limit: int | None = None) -> Dataset[VisualQuestion]:
    """Read a split (default ``val``), with the ten answers except for ``test``. An image's name is its question's id.

    ``groups`` tells whether a question is ``answerable`` (yes or no). Raises ``DataError`` naming file and record where
    something is malformed, ``UsageError`` for an unknown split or a limit below 1. No image is opened.
    """
    split, name = pick_split(split, FILES, DEFAULT_SPLITS, folder, NAME)
    where = folder.describe(name)
    questions = Table.read(folder.read_json(name), "", where)
    names = [questions.identifier(i, "image") for i in range(len(questions))]
    refuse_duplicates(names, "images", where)
    labelled = split not in UNLABELLED
    samples = [_sample(questions, i, folder, split, labelled) for i in limited(range(len(questions)), limit)]
    rows = [[s.question_id, s.question, s.answers, s.answer_type, dict(s.groups)] for s in samples]
    return questions_dataset(NAME, split, tuple(samples), rows, OFFICIAL_COUNTS[split])


def read_answers(document: Any, where: str) -> list[Annotation]:
    """Return the answers of a parsed file, typed by the first two words of their questions.

    Raises ``DataError`` naming the record where it is malformed.
    """
    questions = Table.read(document, "", where)
    found = []
    for i in range(len(questions)):
        name, answers = questions.identifier(i, "image"), _answers(questions, i)
        kind = first_words(questions.get(i, "question", str))
        found.append(Annotation(name, name, answers, most_common(answers), kind, ""))
    return found


def _sample(questions: Table, index: int, folder: LocalFolder, split: str, labelled: bool) -> VisualQuestion:
    name = questions.identifier(index, "image")
    return VisualQuestion(
        question_id=name,
        image_id=name,
        image=ImageRef(folder, _find_image(folder, name, split)),
        question=questions.get(index, "question", str),
        answers=_answers(questions, index) if labelled else (),
        question_type="",
        answer_type=questions.get(index, "answer_type", str) if labelled else "",
        groups={"answerable": _answerable(questions, index)} if labelled else {},
    )


def _answers(questions: Table, index: int) -> tuple[str, ...]:
    answers = Table(questions.get(index, "answers", list), questions.place(index, "answers"))
    if not len(answers):
        raise DataError(f"{answers.name} is empty")
    return tuple(answers.get(k, "answer", str) for k in range(len(answers)))


def _answerable(questions: Table, index: int) -> str:
    value = questions.get(index, "answerable", int)
    if value not in (0, 1):
        raise DataError(f"{questions.place(index, 'answerable')} is {value}, neither 0 nor 1")
    return "yes" if value else "no"


def _find_image(folder: LocalFolder, name: str, split: str) -> str:
    """Return the first customary name that exists, else the official one."""
    candidates = [f"{split}/{name}", f"images/{split}/{name}", f"images/{name}"]
    return folder.first(*candidates) or candidates[0]
