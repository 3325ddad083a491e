"""VQA v2 in its official layout, and each way in which its two files can be wrong or not belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support import layouts
from vlbench.data.source import LocalFolder
from vlbench.data.vqa import load_vqa, read_annotations
from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_questions_and_annotations_meet_by_id(tmp_path: Path) -> None:
    layouts.vqa(tmp_path)
    dataset = load_vqa(LocalFolder(tmp_path))
    assert (dataset.name, dataset.split, dataset.partial) == ("vqa", "val2014", True)
    assert dataset.counts == {"questions": 3, "images": 2} and dataset.official_counts == {"questions": 214_354}
    last = dataset.samples[-1]
    assert (last.question_id, last.image_id, last.question) == ("393225000", "393225", "What color is the cup?")
    assert last.answers == ("Red.",) * 9 + ("blue",)
    assert (last.question_type, last.answer_type) == ("what color is the", "other")
    assert all(s.image.load().size == (8, 6) for s in dataset.samples)
    assert dataset.samples[0].image is dataset.samples[1].image, "looked for and hashed once an image"


@pytest.mark.parametrize(
    "name",
    [
        "val2014/COCO_val2014_000000262148.jpg",
        "val2014/COCO_val2014_000000262148.png",
        "Images/mscoco/val2014/COCO_val2014_000000262148.jpg",
        "images/val2014/COCO_val2014_000000262148.png",
        "val2014/000000262148.png",
    ],
)
def test_images_are_found_under_every_customary_name(tmp_path: Path, name: str) -> None:
    layouts.vqa(tmp_path)
    for picture in (tmp_path / "val2014").iterdir():
        picture.unlink()
    layouts.picture(tmp_path / name)
    samples = load_vqa(LocalFolder(tmp_path)).samples
    assert samples[0].image.name == name
    assert samples[2].image.name == "val2014/COCO_val2014_000000393225.jpg"


def test_files_may_lie_in_the_folders_of_the_official_code(tmp_path: Path) -> None:
    questions, annotations = layouts.vqa(tmp_path)
    for path, folder in ((questions, "Questions"), (annotations, "Annotations")):
        (tmp_path / folder).mkdir()
        path.rename(tmp_path / folder / path.name)
    assert load_vqa(LocalFolder(tmp_path)).counts["questions"] == 3


def test_test_splits_have_no_annotations_and_share_their_images(tmp_path: Path) -> None:
    for split in ("test2015", "test-dev2015"):
        layouts.write(tmp_path / f"v2_OpenEnded_mscoco_{split}_questions.json", layouts.vqa_questions())
        sample = load_vqa(LocalFolder(tmp_path), split).samples[0]
        assert sample.answers == () and sample.image.name == "test2015/COCO_test2015_000000262148.jpg"


def test_limit(tmp_path: Path) -> None:
    layouts.vqa(tmp_path)
    few = load_vqa(LocalFolder(tmp_path), None, 2)
    assert few.counts == {"questions": 2, "images": 1}
    assert few.fingerprint != load_vqa(LocalFolder(tmp_path)).fingerprint
    with pytest.raises(UsageError, match="unknown split 'val' of vqa; it has: train2014, val2014"):
        load_vqa(LocalFolder(tmp_path), "val")


BREAKS: dict[str, tuple[Callable[[list[Any]], object], Callable[[list[Any]], object], str, str]] = {
    "question twice": (lambda q: q.append(q[0]), lambda a: None, "questions", "duplicate question ids 262148000"),
    "annotation twice": (
        lambda q: None,
        lambda a: a.append(a[0]),
        "annotations",
        "duplicate annotations of question 393225000",
    ),
    "annotation without question": (
        lambda q: q.pop(0),
        lambda a: None,
        "annotations",
        "annotations without a question: 262148000",
    ),
    "question without annotation": (
        lambda q: None,
        lambda a: a.pop(0),
        "annotations",
        "questions without an annotation: 393225000",
    ),
    "other image": (
        lambda q: q[1].update(image_id=5),
        lambda a: None,
        "questions",
        "another image than their annotations: 262148001 (image 5 and 262148)",
    ),
    "no question text": (lambda q: q[2].pop("question"), lambda a: None, "questions", "questions[2] has no 'question'"),
    "no answers": (lambda q: None, lambda a: a[1].update(answers=[]), "annotations", "annotations[1].answers is empty"),
    "answer a number": (
        lambda q: None,
        lambda a: a[1]["answers"][4].update(answer=2),
        "annotations",
        "annotations[1].answers[4].answer is an integer, not a string",
    ),
    "no type": (
        lambda q: None,
        lambda a: a[0].pop("question_type"),
        "annotations",
        "annotations[0] has no 'question_type'",
    ),
    "id a list": (
        lambda q: q[0].update(question_id=[1]),
        lambda a: None,
        "questions",
        "questions[0].question_id is a list, not an id",
    ),
}


@pytest.mark.parametrize("case", BREAKS)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    paths = layouts.vqa(tmp_path)
    questions, annotations = layouts.vqa_questions(), layouts.vqa_annotations()
    change_questions, change_annotations, blamed, message = BREAKS[case]
    change_questions(questions["questions"])
    change_annotations(annotations["annotations"])
    layouts.write(paths[0], questions)
    layouts.write(paths[1], annotations)
    with pytest.raises(DataError) as error:
        load_vqa(LocalFolder(tmp_path))
    text = str(error.value)
    assert message in text and str(paths[blamed == "annotations"]) in text and "\n" not in text


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("content", "message"),
    [("", "is empty"), ("{", "not valid JSON"), ("[]", "a list, not an object"), ("{}", "it is not the official file")],
)
def test_unreadable_files_are_named(tmp_path: Path, which: int, content: str, message: str) -> None:
    paths = layouts.vqa(tmp_path)
    layouts.write(paths[which], content)
    with pytest.raises(DataError) as error:
        load_vqa(LocalFolder(tmp_path))
    assert str(paths[which]) in str(error.value) and message in str(error.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    questions, annotations = layouts.vqa(tmp_path)
    annotations.unlink()
    with pytest.raises(DataError, match=r"v2_mscoco_val2014_annotations\.json .* missing"):
        load_vqa(LocalFolder(tmp_path))
    questions.unlink()
    with pytest.raises(DataError, match=r"looked for v2_OpenEnded_mscoco_val2014_questions\.json"):
        load_vqa(LocalFolder(tmp_path))


def test_majority_falls_back_to_the_ten_answers() -> None:
    document = layouts.vqa_annotations()
    for row in document["annotations"]:
        del row["multiple_choice_answer"]
    assert [a.majority for a in read_annotations(document, "x")] == ["Red.", "no", "down"]


def test_real_photographs(realdata: Path) -> None:
    dataset = load_vqa(LocalFolder(realdata / "vqa_photos"))
    assert dataset.counts == {"questions": 7, "images": 2}
    assert all(s.image.source.exists(s.image.name) and len(s.answers) == 10 for s in dataset.samples)
