"""VQA v2 (Goyal et al. 2017): questions with the answers of ten annotators.

Layout: ``v2_OpenEnded_mscoco_<split>_questions.json`` and ``v2_mscoco_<split>_annotations.json`` in the root (or in
``Questions/`` and ``Annotations/``); images ``<split>/COCO_<split>_<12 digits>.jpg`` in the root, in ``Images/mscoco/``
or in ``images/``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from vlbench.data.checks import Table, limited, pick_split, refuse, refuse_duplicates
from vlbench.errors import DataError
from vlbench.fingerprints import dataset_fingerprint
from vlbench.types import Dataset, ImageRef, VisualQuestion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.data.source import LocalFolder


class Layout(NamedTuple):
    """How a dataset in the layout of VQA names its files; ``prefix`` is the version, which OK-VQA leaves out.

    ``raw_answers`` tells that an answer stands stemmed under ``answer`` and as given under ``raw_answer``.
    """

    name: str
    prefix: str
    official_counts: Mapping[str, Mapping[str, int]]
    raw_answers: bool = False

    def question_files(self, split: str) -> tuple[str, ...]:
        """Return the names under which the questions of a split may lie."""
        name = f"{self.prefix}OpenEnded_mscoco_{split}_questions.json"
        return tuple(f"{folder}{name}" for folder in ("", "Questions/", "questions/", "annotations/"))

    def annotation_files(self, split: str) -> tuple[str, ...]:
        """Return the names under which the annotations of a split may lie."""
        name = f"{self.prefix}mscoco_{split}_annotations.json"
        return tuple(f"{folder}{name}" for folder in ("", "Annotations/", "annotations/"))


NAME = "vqa"
DEFAULT_SPLITS = ("val2014",)
OFFICIAL_COUNTS: Mapping[str, Mapping[str, int]] = {
    "train2014": {"questions": 443_757},
    "val2014": {"questions": 214_354},
    "test2015": {"questions": 447_793},
    "test-dev2015": {"questions": 107_394},
}
UNLABELLED = ("test2015", "test-dev2015")
TRAIN_SPLIT = "train2014"


VQA_V2 = Layout(NAME, "v2_", OFFICIAL_COUNTS)
FILES = {split: VQA_V2.question_files(split) for split in OFFICIAL_COUNTS}


class Annotation(NamedTuple):
    """What the annotators said about one question; ``majority`` is ``multiple_choice_answer``, or what most said."""

    question_id: str
    image_id: str
    answers: tuple[str, ...]
    majority: str
    question_type: str
    answer_type: str
    raw_answers: tuple[str, ...] = ()


def annotation_files(split: str) -> tuple[str, ...]:
    """Return the names under which the annotations of a split of VQA v2 may lie."""
    return VQA_V2.annotation_files(split)


def load_vqa(
    folder: LocalFolder, split: str | None = None, limit: int | None = None, layout: Layout = VQA_V2
) -> Dataset[VisualQuestion]:
    """Read the questions of a split (default ``val2014``) and, except for the test splits, their answers.

    Raises ``DataError`` naming file and ids where something is malformed or the two files do not belong together,
    ``UsageError`` for an unknown split or a limit below 1. No image is opened.
    """
    files = {known: layout.question_files(known) for known in layout.official_counts}
    split, name = pick_split(split, files, DEFAULT_SPLITS, folder, layout.name)
    where = folder.describe(name)
    questions = Table.read(folder.read_json(name), "questions", where)
    ids = [questions.identifier(i, "question_id") for i in range(len(questions))]
    refuse_duplicates(ids, "question ids", where)
    annotations = {} if split in UNLABELLED else _matching(folder, layout, split, ids)
    wrong = [
        f"{ids[i]} (image {questions.identifier(i, 'image_id')} and {annotations[ids[i]].image_id})"
        for i in range(len(ids) if annotations else 0)
        if annotations[ids[i]].image_id != questions.identifier(i, "image_id")
    ]
    refuse(wrong, "questions about another image than their annotations", where)
    images: dict[str, ImageRef] = {}
    chosen = []
    for i in limited(range(len(ids)), limit):
        image_id = questions.identifier(i, "image_id")
        if image_id not in images:
            images[image_id] = ImageRef(folder, _find_image(folder, image_id, split))
        chosen.append(_sample(questions, i, annotations.get(ids[i]), images[image_id]))
    return _dataset(layout, split, tuple(chosen))


def read_annotations(document: Any, where: str, raw_answers: bool = False) -> list[Annotation]:
    """Return the annotations of a parsed file; raises ``DataError`` where it is malformed or an id occurs twice.

    With ``raw_answers`` each answer must also have a ``raw_answer``.
    """
    table = Table.read(document, "annotations", where)
    found = []
    for i in range(len(table)):
        answers = Table(table.get(i, "answers", list), table.place(i, "answers"))
        if not len(answers):
            raise DataError(f"{answers.name} is empty")
        given = tuple(answers.get(k, "answer", str) for k in range(len(answers)))
        row = table.rows[i]
        majority = (
            table.get(i, "multiple_choice_answer", str) if "multiple_choice_answer" in row else most_common(given)
        )
        found.append(
            Annotation(
                table.identifier(i, "question_id"),
                table.identifier(i, "image_id"),
                given,
                majority,
                table.get(i, "question_type", str),
                table.get(i, "answer_type", str),
                tuple(answers.get(k, "raw_answer", str) for k in range(len(answers))) if raw_answers else (),
            )
        )
    refuse_duplicates([annotation.question_id for annotation in found], "annotations of question", where)
    return found


def most_common(answers: Sequence[str]) -> str:
    """Return the most frequent answer, of several the first."""
    return Counter(answers).most_common(1)[0][0]


def _matching(folder: LocalFolder, layout: Layout, split: str, ids: Sequence[str]) -> dict[str, Annotation]:
    names = layout.annotation_files(split)
    name = folder.first(*names)
    if name is None:
        raise DataError(f"annotations {folder.describe(names[0])} of the {layout.name} questions are missing")
    where = folder.describe(name)
    read = read_annotations(folder.read_json(name), where, layout.raw_answers)
    annotations = {annotation.question_id: annotation for annotation in read}
    known = set(ids)
    refuse([i for i in annotations if i not in known], "annotations without a question", where)
    refuse([i for i in ids if i not in annotations], "questions without an annotation", where)
    return annotations


def _sample(questions: Table, index: int, annotation: Annotation | None, image: ImageRef) -> VisualQuestion:
    return VisualQuestion(
        question_id=questions.identifier(index, "question_id"),
        image_id=questions.identifier(index, "image_id"),
        image=image,
        question=questions.get(index, "question", str),
        answers=annotation.answers if annotation else (),
        question_type=annotation.question_type if annotation else "",
        answer_type=annotation.answer_type if annotation else "",
        raw_answers=annotation.raw_answers if annotation else (),
    )


def _find_image(folder: LocalFolder, image_id: str, split: str) -> str:
    """Return the first official name that exists, else the most official one."""
    images = "test2015" if split in UNLABELLED else split
    number = image_id.zfill(12)
    candidates = [
        f"{place}{images}/{stem}{number}{suffix}"
        for place in ("", "Images/mscoco/", "images/", "Images/")
        for stem in (f"COCO_{images}_", "")
        for suffix in (".jpg", ".png")
    ]
    return folder.first(*candidates) or candidates[0]


def _dataset(layout: Layout, split: str, samples: tuple[VisualQuestion, ...]) -> Dataset[VisualQuestion]:
    rows: list[list[object]] = [
        [s.question_id, s.image_id, s.question, s.answers, s.question_type, s.answer_type] for s in samples
    ]
    if layout.raw_answers:
        rows = [[*row, sample.raw_answers] for row, sample in zip(rows, samples, strict=True)]
    return questions_dataset(layout.name, split, samples, rows, layout.official_counts[split])


def questions_dataset(
    name: str,
    split: str,
    samples: tuple[VisualQuestion, ...],
    rows: Sequence[object],
    official_counts: Mapping[str, int],
) -> Dataset[VisualQuestion]:
    """Return the dataset of ``samples`` with its counts, fingerprinted over ``rows``, one a sample."""
    counts = {"questions": len(samples), "images": len({s.image_id for s in samples})}
    return Dataset(name, split, samples, counts, official_counts, "sha256:" + dataset_fingerprint(rows))
