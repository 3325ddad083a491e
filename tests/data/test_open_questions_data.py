"""OK-VQA, GQA and VizWiz in their official layouts, and each way in which their files can be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support import layouts
from vlbench.data.gqa import load_gqa
from vlbench.data.okvqa import load_okvqa
from vlbench.data.source import LocalFolder
from vlbench.data.vizwiz import load_vizwiz
from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_okvqa_has_stemmed_and_raw_answers(tmp_path: Path) -> None:
    layouts.okvqa(tmp_path)
    dataset = load_okvqa(LocalFolder(tmp_path))
    assert (dataset.name, dataset.split, dataset.partial) == ("okvqa", "val2014", True)
    assert dataset.counts == {"questions": 2, "images": 2} and dataset.official_counts == {"questions": 5_046}
    first = dataset.samples[0]
    assert first.answers == ("race",) * 6 + ("motocross race",) * 2 + ("riding",) * 2
    assert first.raw_answers == ("racing",) * 6 + ("motocross racing",) * 2 + ("riding",) * 2
    assert (first.question_type, first.answer_type) == ("four", "other")
    assert all(sample.image.load().size == (8, 6) for sample in dataset.samples)


def test_the_raw_answers_of_okvqa_are_in_the_fingerprint(tmp_path: Path) -> None:
    _, annotations = layouts.okvqa(tmp_path)
    before = load_okvqa(LocalFolder(tmp_path)).fingerprint
    document = layouts.okvqa_annotations()
    document["annotations"][0]["answers"][0]["raw_answer"] = "races"
    layouts.write(annotations, document)
    assert load_okvqa(LocalFolder(tmp_path)).fingerprint != before


def test_files_of_vqa_v1_under_the_names_of_okvqa_are_refused(tmp_path: Path) -> None:
    """The first VQA used the very same names; its answers have no raw form."""
    questions, annotations = layouts.okvqa(tmp_path)
    layouts.write(questions, layouts.vqa_questions())
    layouts.write(annotations, layouts.vqa_annotations())
    with pytest.raises(DataError, match=r"mscoco_val2014_annotations.*answers\[0\] has no 'raw_answer'"):
        load_okvqa(LocalFolder(tmp_path))


def test_gqa_questions_come_by_id_with_their_types(tmp_path: Path) -> None:
    layouts.gqa(tmp_path)
    dataset = load_gqa(LocalFolder(tmp_path))
    assert (dataset.name, dataset.split, dataset.partial) == ("gqa", "testdev_balanced", True)
    assert dataset.counts == {"questions": 4, "images": 3} and dataset.official_counts == {"questions": 12_578}
    assert [(s.question_id, s.answer_type, s.question_type) for s in dataset.samples] == [
        ("201307251", "binary", "verify"),
        ("201640614", "open", "query"),
        ("202225914", "binary", "choose"),
        ("20602949", "open", "query"),
    ]
    second = dataset.samples[1]
    assert (second.image_id, second.answers, second.groups) == ("n235859", ("woman",), {"semantic_type": "rel"})
    assert second.image is dataset.samples[2].image and second.image.name == "images/n235859.jpg"
    assert all(sample.image.load().size == (8, 6) for sample in dataset.samples)
    assert load_gqa(LocalFolder(tmp_path), None, 1).counts == {"questions": 1, "images": 1}


def test_gqa_takes_val_where_testdev_is_not_there_and_looks_into_the_folder_of_the_archive(tmp_path: Path) -> None:
    layouts.write(tmp_path / "questions1.2" / "val_balanced_questions.json", layouts.gqa_questions())
    dataset = load_gqa(LocalFolder(tmp_path))
    assert dataset.split == "val_balanced" and dataset.samples[0].image.name == "images/n161313.jpg"
    with pytest.raises(UsageError, match="unknown split 'val' of gqa; it has: testdev_balanced, val_balanced"):
        load_gqa(LocalFolder(tmp_path), "val")


def test_gqa_of_the_server_has_questions_only(tmp_path: Path) -> None:
    bare = {"1": {"question": "Is it?", "imageId": "n1", "isBalanced": False}}
    layouts.write(tmp_path / "submission_all_questions.json", bare)
    (sample,) = load_gqa(LocalFolder(tmp_path), "submission_all").samples
    assert (sample.answers, sample.answer_type, sample.question_type, sample.groups) == ((), "", "", {})


def test_vizwiz_questions_go_by_their_image(tmp_path: Path) -> None:
    layouts.vizwiz(tmp_path)
    dataset = load_vizwiz(LocalFolder(tmp_path))
    assert (dataset.name, dataset.split, dataset.partial) == ("vizwiz", "val", True)
    assert dataset.counts == {"questions": 4, "images": 4} and dataset.official_counts == {"questions": 4_319}
    first = dataset.samples[0]
    assert first.question_id == first.image_id == "VizWiz_val_00000000.jpg"
    assert first.answers == ("unanswerable",) * 8 + ("beach", "unsuitable")
    assert (first.answer_type, first.question_type, first.groups) == ("unanswerable", "", {"answerable": "no"})
    assert all(sample.image.load().size == (8, 6) for sample in dataset.samples)


@pytest.mark.parametrize("name", ["images/val/VizWiz_val_00000000.jpg", "images/VizWiz_val_00000000.jpg"])
def test_vizwiz_images_are_found_under_every_customary_name(tmp_path: Path, name: str) -> None:
    layouts.write(tmp_path / "Annotations" / "val.json", layouts.vizwiz_questions())
    layouts.picture(tmp_path / name)
    samples = load_vizwiz(LocalFolder(tmp_path)).samples
    assert samples[0].image.name == name and samples[1].image.name == "val/VizWiz_val_00000001.jpg"


def test_vizwiz_test_has_questions_only(tmp_path: Path) -> None:
    layouts.write(tmp_path / "test.json", [{"image": "VizWiz_test_00000000.jpg", "question": "What is it?"}])
    (sample,) = load_vizwiz(LocalFolder(tmp_path), "test").samples
    assert sample.answers == () and sample.image.name == "test/VizWiz_test_00000000.jpg"


OKVQA: dict[str, tuple[Callable[[Any], object], str]] = {
    "no raw answer": (lambda a: a[1]["answers"][3].pop("raw_answer"), "annotations[1].answers[3] has no 'raw_answer'"),
    "raw answer null": (
        lambda a: a[0]["answers"][0].update(raw_answer=None),
        "annotations[0].answers[0].raw_answer is null, not a string",
    ),
    "answer missing": (lambda a: a[0]["answers"][0].pop("answer"), "annotations[0].answers[0] has no 'answer'"),
    "no answers": (lambda a: a[0].update(answers=[]), "annotations[0].answers is empty"),
    "twice": (lambda a: a.append(a[0]), "duplicate annotations of question 2971475"),
    "without question": (lambda a: a[0].update(question_id=1), "annotations without a question: 1"),
    "missing": (lambda a: a.pop(), "questions without an annotation: 3397615"),
}
GQA: dict[str, tuple[Callable[[Any], object], str]] = {
    "not balanced": (
        lambda q: q["201307251"].update(isBalanced=False),
        "questions that are not balanced, which the official scorer leaves out: 201307251",
    ),
    "no balance": (lambda q: q["201307251"].pop("isBalanced"), "question 201307251 has no 'isBalanced'"),
    "no answer": (lambda q: q["201640614"].pop("answer"), "question 201640614 has no 'answer'"),
    "answer a number": (
        lambda q: q["201640614"].update(answer=2),
        "question 201640614: answer is an integer, not a string",
    ),
    "no image": (lambda q: q["201640614"].pop("imageId"), "question 201640614 has no 'imageId'"),
    "no types": (lambda q: q["201640614"].pop("types"), "question 201640614 has no 'types'"),
    "no structural type": (
        lambda q: q["201640614"]["types"].pop("structural"),
        "question 201640614: types has no 'structural'",
    ),
    "semantic type a list": (
        lambda q: q["201640614"]["types"].update(semantic=[]),
        "question 201640614: types.semantic is a list, not a string",
    ),
    "question a list": (lambda q: q.update({"7": []}), "question 7 is a list, not an object"),
    "empty": (lambda q: q.clear(), "has no questions"),
}
VIZWIZ: dict[str, tuple[Callable[[Any], object], str]] = {
    "image twice": (lambda q: q.append(q[0]), "duplicate images VizWiz_val_00000000.jpg"),
    "no image": (lambda q: q[2].pop("image"), "record [2] has no 'image'"),
    "no question": (lambda q: q[2].pop("question"), "record [2] has no 'question'"),
    "no answers": (lambda q: q[1].pop("answers"), "record [1] has no 'answers'"),
    "answers empty": (lambda q: q[1].update(answers=[]), "record [1].answers is empty"),
    "answer null": (
        lambda q: q[1]["answers"][4].update(answer=None),
        "record [1].answers[4].answer is null, not a string",
    ),
    "no type": (lambda q: q[1].pop("answer_type"), "record [1] has no 'answer_type'"),
    "no answerable": (lambda q: q[3].pop("answerable"), "record [3] has no 'answerable'"),
    "answerable a word": (lambda q: q[3].update(answerable="yes"), "record [3].answerable is a string, not an integer"),
    "answerable 2": (lambda q: q[3].update(answerable=2), "record [3].answerable is 2, neither 0 nor 1"),
    "empty": (lambda q: q.clear(), "has no records"),
}


def _one_line(error: DataError, path: Path, message: str) -> None:
    text = str(error)
    assert message in text and str(path) in text and "\n" not in text


@pytest.mark.parametrize("case", OKVQA)
def test_what_is_wrong_with_okvqa_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    _, path = layouts.okvqa(tmp_path)
    document = layouts.okvqa_annotations()
    change, message = OKVQA[case]
    change(document["annotations"])
    layouts.write(path, document)
    with pytest.raises(DataError) as error:
        load_okvqa(LocalFolder(tmp_path))
    _one_line(error.value, path, message)


@pytest.mark.parametrize("case", GQA)
def test_what_is_wrong_with_gqa_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    path, document = layouts.gqa(tmp_path), layouts.gqa_questions()
    change, message = GQA[case]
    change(document)
    layouts.write(path, document)
    with pytest.raises(DataError) as error:
        load_gqa(LocalFolder(tmp_path))
    _one_line(error.value, path, message)


@pytest.mark.parametrize("case", VIZWIZ)
def test_what_is_wrong_with_vizwiz_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    path, document = layouts.vizwiz(tmp_path), layouts.vizwiz_questions()
    change, message = VIZWIZ[case]
    change(document)
    layouts.write(path, document)
    with pytest.raises(DataError) as error:
        load_vizwiz(LocalFolder(tmp_path))
    _one_line(error.value, path, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "is empty"), ("{", "not valid JSON"), ('"text"', "the document is a string, not")],
)
def test_unreadable_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    for write, load in ((layouts.gqa, load_gqa), (layouts.vizwiz, load_vizwiz)):
        path = write(tmp_path)
        layouts.write(path, content)
        with pytest.raises(DataError) as error:
            load(LocalFolder(tmp_path))
        _one_line(error.value, path, message)
        path.unlink()
        with pytest.raises(DataError, match=rf"looked for {path.name}"):
            load(LocalFolder(tmp_path))


def test_real_okvqa_questions(realdata: Path, tmp_path: Path) -> None:
    """The official question files, with made-up answers since the annotations are not at hand."""
    from vlbench.data.source import parse_json

    for split, count, images in (("val2014", 5_046, 5_033), ("train2014", 9_009, 8_998)):
        name = f"OpenEnded_mscoco_{split}_questions.json"
        data = (realdata / "okvqa" / name).read_bytes()
        (tmp_path / name).write_bytes(data)
        answers = [{"answer_id": k, "answer": "race", "raw_answer": "racing"} for k in range(1, 11)]
        rows = [
            {**{k: q[k] for k in ("image_id", "question_id")}, "answers": answers, "answer_type": "other"}
            | {"question_type": "one"}
            for q in parse_json(data, name)["questions"]
        ]
        layouts.write(tmp_path / f"mscoco_{split}_annotations.json", {"annotations": rows})
        dataset = load_okvqa(LocalFolder(tmp_path), split)
        assert dataset.counts == {"questions": count, "images": images} and not dataset.partial


def test_a_real_gqa_question(realdata: Path, tmp_path: Path) -> None:
    data = (realdata / "allennlp_models" / "gqa" / "questions.json").read_bytes()
    (tmp_path / "testdev_balanced_questions.json").write_bytes(data)
    (sample,) = load_gqa(LocalFolder(tmp_path)).samples
    assert (sample.image_id, sample.answers, sample.answer_type) == ("n578564", ("picture",), "open")
