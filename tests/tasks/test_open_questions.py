"""What GQA, OK-VQA and VizWiz add to VQA: their scores, their files, their vocabularies, and extraction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import layouts
from vlbench.data.source import DataRoot
from vlbench.errors import DataError, UnsupportedTask, UsageError
from vlbench.runner.manifest import signature
from vlbench.tasks.gqa import Gqa
from vlbench.tasks.vizwiz import VizWiz
from vlbench.tasks.vqa import OkVqa, Vqa
from vlbench.testing import TaskContract
from vlbench.testing.tasks import drive
from vlbench.types import Choose, Failure, Generate, Generated, Request, Response

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vlbench.task import Protocol
    from vlbench.tasks.open_questions import OpenQuestions

EMBEDS = frozenset({"embed_images", "embed_texts"})
GENERATES = frozenset({"generate"})


class TestGqaContract(TaskContract):
    @pytest.fixture
    def task(self) -> Gqa:
        return Gqa()

    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        layouts.gqa(tmp_path / "gqa")
        layouts.gqa_train(tmp_path / "gqa")
        return DataRoot(tmp_path)


class TestGqaRankingContract(TestGqaContract):
    @pytest.fixture
    def protocol(self, task: Gqa) -> Protocol:
        return task.protocol(EMBEDS)


class TestOkVqaContract(TaskContract):
    @pytest.fixture
    def task(self) -> OkVqa:
        return OkVqa()

    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        layouts.okvqa(tmp_path / "okvqa")
        return DataRoot(tmp_path)


class TestVizWizContract(TaskContract):
    @pytest.fixture
    def task(self) -> VizWiz:
        return VizWiz()

    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        layouts.vizwiz(tmp_path / "vizwiz")
        return DataRoot(tmp_path)


class TestVizWizExtractionContract(TestVizWizContract):
    @pytest.fixture
    def task(self) -> VizWiz:
        return VizWiz({"extract": "1"})


def scored(task: OpenQuestions, root: Path, answers: list[dict[str, Any]]) -> Mapping[str, float | None]:
    """Score a file of answers in the official results format."""
    dataset = task.load(DataRoot(root), None, None)
    path = root / "results.json"
    layouts.write(path, answers)
    rows = task.score_predictions(task.predictions(path, dataset), dataset)
    return {name: metric.value for name, metric in task.aggregate(rows, dataset).items()}


def test_gqa_is_exact(tmp_path: Path) -> None:
    layouts.gqa(tmp_path)
    given = {"201307251": "no", "201640614": "Woman", "202225914": "red.", "20602949": "wall"}
    answers = [{"questionId": name, "prediction": text} for name, text in given.items()]
    assert scored(Gqa(), tmp_path, answers) == {
        "accuracy": 0.5,
        "accuracy/answer_type/binary": 0.5,
        "accuracy/answer_type/open": 0.5,
        "accuracy/question_type/choose": 0.0,
        "accuracy/question_type/query": 0.5,
        "accuracy/question_type/verify": 1.0,
        "accuracy/semantic_type/attr": 0.0,
        "accuracy/semantic_type/global": 1.0,
        "accuracy/semantic_type/rel": 0.5,
    }
    assert scored(Gqa({"extract": "1"}), tmp_path, answers)["accuracy"] == 1.0
    with pytest.raises(DataError, match="1 of 4 questionIds of the split are not answered: 201307251"):
        scored(Gqa(), tmp_path, answers[1:])
    with pytest.raises(DataError, match=r"record \[0\] has no 'questionId'"):
        scored(Gqa(), tmp_path, [{"question_id": "201307251", "answer": "no"}])


def test_okvqa_is_scored_against_stems_and_beside_it_against_what_was_typed(tmp_path: Path) -> None:
    layouts.okvqa(tmp_path)
    answers = [{"question_id": 2971475, "answer": "Racing!"}, {"question_id": 3397615, "answer": "leaf"}]
    assert scored(OkVqa(), tmp_path, answers) == {
        "accuracy": 0.5,  # "racing" is no stem, "leaf" is one
        "raw_accuracy": 0.5,  # and the other way round
        "strict": 0.5,
        "accuracy/answer_type/other": 0.5,
        "accuracy/question_type/four": 0.5,
    }


def test_vizwiz_tells_the_unanswerable_by_the_answer(tmp_path: Path) -> None:
    layouts.vizwiz(tmp_path)
    given = ["Unanswerable", "Night time.", "two", "unanswerable"]
    answers = [{"image": f"VizWiz_val_{n:08d}.jpg", "answer": text} for n, text in enumerate(given)]
    assert scored(VizWiz(), tmp_path, answers) == pytest.approx(
        {
            "accuracy": (1.0 + 1.0 + 0.9 + 0.6) / 4,
            "strict": 0.25,
            "accuracy/answer_type/number": 0.9,
            "accuracy/answer_type/other": 0.8,
            "accuracy/answer_type/unanswerable": 1.0,
            "accuracy/answerable/no": 1.0,
            "accuracy/answerable/yes": 2.5 / 3,
            "unanswerable_precision": 0.5,
            "unanswerable_recall": 1.0,
            "unanswerable_f1": 2 / 3,
        }
    )


def test_a_failed_question_of_vizwiz_was_not_called_unanswerable(tmp_path: Path) -> None:
    layouts.vizwiz(tmp_path)
    task = VizWiz()
    dataset = task.load(DataRoot(tmp_path), None, None)
    rows = drive(task, dataset, task.protocol(GENERATES), lambda _: Failure("too dark"))
    metrics = task.aggregate(rows, dataset)
    assert metrics["unanswerable_recall"].value == 0.0
    assert metrics["unanswerable_precision"].value is None and metrics["unanswerable_precision"].reason


def test_shortlists_of_gqa_go_by_the_first_two_words(tmp_path: Path) -> None:
    layouts.gqa(tmp_path)
    path = layouts.gqa_train(tmp_path)
    task = Gqa({"topk": "2"})
    protocol = task.protocol(EMBEDS)
    dataset = task.load(DataRoot(tmp_path), None, None)
    requests = [task.requests(sample, protocol)[0] for sample in dataset.samples]
    assert [request.choices for request in requests if isinstance(request, Choose)] == [
        ("no", "yes"),  # "Is it"
        ("man", "woman"),  # "Who is"
        ("yes",),  # "Is the"
        ("no", "man"),  # no train question starts like that: "no" is the most frequent, then two are equally frequent
    ]
    path.unlink()
    with pytest.raises(DataError, match=r"gqa: .*train_balanced_questions.json is missing.*gqa:vocabulary=FILE"):
        task.load(DataRoot(tmp_path), None, None)


def test_shortlists_of_vizwiz_and_okvqa_come_from_their_own_train_answers(tmp_path: Path) -> None:
    layouts.vizwiz(tmp_path / "vizwiz")
    train = [layouts.vizwiz_question("VizWiz_train_00000000.jpg", "What is that?", ["dog"] * 10, "other", 1)]
    layouts.write(tmp_path / "vizwiz" / "train.json", train)
    layouts.okvqa(tmp_path / "okvqa")
    document = layouts.okvqa_annotations()
    for n, row in enumerate(document["annotations"]):
        row["question_id"] = n
    layouts.write(tmp_path / "okvqa" / "mscoco_train2014_annotations.json", document)
    for task, choices in ((VizWiz(), ("dog",)), (OkVqa(), ("leaf", "race"))):
        protocol = task.protocol(EMBEDS)
        sample = task.load(DataRoot(tmp_path), None, None).samples[0]
        (request,) = task.requests(sample, protocol)
        assert isinstance(request, Choose) and request.choices == choices


@pytest.mark.parametrize(
    ("task", "name", "document", "expected"),
    [
        (
            Gqa(),
            "test_balanced_questions.json",
            {"5": {"question": "Is it?", "imageId": "n1", "isBalanced": True}},
            [{"questionId": "5", "prediction": "Yes, it is."}],
        ),
        (
            VizWiz(),
            "test.json",
            [{"image": "VizWiz_test_00000000.jpg", "question": "Is it?"}],
            [{"image": "VizWiz_test_00000000.jpg", "answer": "Yes, it is."}],
        ),
    ],
)
def test_submissions_are_in_the_official_results_format(
    tmp_path: Path, task: OpenQuestions, name: str, document: Any, expected: Any
) -> None:
    layouts.write(tmp_path / name, document)
    split = name.removesuffix(".json").removesuffix("_questions")
    dataset = task.load(DataRoot(tmp_path), split, None)
    rows = drive(task, dataset, task.protocol(GENERATES), lambda _: Generated("Yes, it is."))
    made = task.submission(rows, dataset)
    assert made is not None and made[0] == f"{task.name}_{split}.json" and json.loads(made[1]) == expected
    assert {metric.value for metric in task.aggregate(rows, dataset).values()} == {None}


def test_extraction_is_a_protocol_of_its_own_and_keeps_the_response(tmp_path: Path) -> None:
    layouts.vqa(tmp_path)
    answers = {"Where": "He is looking down at the table.", "Is": "No, there is no dog.", "What": "It is Red."}

    def answer(request: Request) -> Response:
        assert isinstance(request, Generate)
        return Generated(answers[request.prompt.split()[0]])

    lines = []
    accuracies = []
    for arguments in ({}, {"extract": "off"}, {"extract": "1"}):
        task = Vqa(arguments)
        protocol = task.protocol(GENERATES | EMBEDS)
        dataset = task.load(DataRoot(tmp_path), None, None)
        rows = drive(task, dataset, protocol, answer)
        assert [row.response for row in rows] == list(answers.values())
        lines.append(signature(task, dataset, protocol, None))
        accuracies.append([row.scores["accuracy"] for row in rows])
    assert "|protocol:generate|" in lines[0] and lines[0] == lines[1]
    assert lines[2] == lines[0].replace("|protocol:generate|", "|protocol:generate/extract-1|")
    assert accuracies == [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]]
    assert [row.statistics for row in rows][1:] == [{"answer": "no"}, {"answer": "red"}]
    assert Vqa().predictions_protocol().name == "predictions"
    assert Vqa({"extract": "1"}).predictions_protocol().name == "predictions/extract-1"


def test_extraction_is_for_written_answers_only() -> None:
    with pytest.raises(UsageError, match="vqa:extract=2 is none of: off, 1"):
        Vqa({"extract": "2"})
    with pytest.raises(UnsupportedTask, match="vqa needs generate; the model can only embed_images, embed_texts"):
        Vqa({"extract": "1"}).protocol(EMBEDS)
