"""VQA: generated answers, ranked shortlists, and where the shortlists come from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support import layouts
from vlbench.data.source import DataRoot, LocalFolder
from vlbench.errors import DataError, UnsupportedTask, UsageError
from vlbench.runner.manifest import signature
from vlbench.tasks.vqa import Vqa
from vlbench.tasks.vqa_vocabulary import Vocabulary, read_vocabulary
from vlbench.testing import TaskContract
from vlbench.testing.tasks import drive
from vlbench.types import ChoiceScores, Choose, Failure, Generate, Generated, Request, Response

if TYPE_CHECKING:
    from pathlib import Path

    from vlbench.task import Protocol

EMBEDS = frozenset({"embed_images", "embed_texts"})


class TestVqaContract(TaskContract):
    @pytest.fixture
    def task(self) -> Vqa:
        return Vqa()

    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        layouts.vqa(tmp_path / "vqa")
        layouts.vqa_train(tmp_path / "vqa")
        return DataRoot(tmp_path)


class TestVqaRankingContract(TestVqaContract):
    @pytest.fixture
    def protocol(self, task: Vqa) -> Protocol:
        return task.protocol(EMBEDS)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    layouts.vqa(tmp_path)
    layouts.vqa_train(tmp_path)
    return DataRoot(tmp_path)


def test_generated_answers_are_scored_officially(root: DataRoot) -> None:
    task = Vqa()
    dataset = task.load(root, None, None)
    protocol = task.protocol(EMBEDS | {"generate"})
    assert protocol.name == "generate" and protocol.prompt == "{question}[max_new_tokens=10,num_beams=1]"
    answers = {"Where is he looking?": "table\n", "Is there a dog?": "No", "What color is the cup?": " the red"}

    def answer(request: Request) -> Response:
        assert isinstance(request, Generate)
        return Generated(answers[request.prompt])

    rows = drive(task, dataset, protocol, answer)
    assert [row.response for row in rows] == ["table", "No", "the red"]
    # One annotator of ten; all ten said "no", so capitals count; normalised, because the ten disagree.
    assert [row.scores["accuracy"] for row in rows] == pytest.approx([0.3, 0.0, 1.0])
    metrics = {name: metric.value for name, metric in task.aggregate(rows, dataset).items()}
    assert metrics == pytest.approx(
        {
            "accuracy": 1.3 / 3,
            "strict": 0.0,
            "accuracy/answer_type/other": 0.65,
            "accuracy/answer_type/yes/no": 0.0,
            "accuracy/question_type/is there": 0.0,
            "accuracy/question_type/none of the above": 0.3,
            "accuracy/question_type/what color is the": 1.0,
        }
    )


def test_shortlists_are_frequent_train_answers_of_the_longest_type(root: DataRoot) -> None:
    task = Vqa({"topk": "2"})
    dataset = task.load(root, None, None)
    protocol = task.protocol(EMBEDS)
    assert protocol.name == "rank-top2/embed" and protocol.routes == {"choose": "embed"}
    choices = [task.requests(sample, protocol)[0] for sample in dataset.samples]
    assert all(isinstance(request, Choose) for request in choices)
    assert [request.choices for request in choices] == [  # type: ignore[attr-defined]
        ("down", "yes"),  # of no type: the most frequent of all train answers
        ("yes", "no"),  # "is there", not "is"
        ("red", "blue"),  # "blue" and "green" are equally frequent: alphabetical
    ]
    assert choices[1].prompt == "Is there a dog?"  # type: ignore[attr-defined]


def test_answers_under_test_are_never_in_the_shortlist(root: DataRoot) -> None:
    """The annotations of the questions may say anything: the shortlists do not follow them."""

    def shortlists(first_answer: str) -> list[tuple[str, ...]]:
        document = layouts.vqa_annotations()
        for row in document["annotations"]:
            row["multiple_choice_answer"] = first_answer
            for given in row["answers"]:
                given["answer"] = first_answer
            row["question_type"] = "is"
        layouts.write(root.path / "v2_mscoco_val2014_annotations.json", document)
        task = Vqa()
        protocol = task.protocol(EMBEDS)
        dataset = task.load(root, None, None)
        assert dataset.samples[0].answers == (first_answer,) * 10
        return [task.requests(sample, protocol)[0].choices for sample in dataset.samples]  # type: ignore[attr-defined]

    assert shortlists("secret") == shortlists("hidden")
    assert "secret" not in str(shortlists("secret"))


def test_the_split_under_test_cannot_be_its_own_vocabulary(root: DataRoot) -> None:
    path = root.path / "v2_mscoco_val2014_annotations.json"
    task = Vqa({"vocabulary": str(path)})
    task.protocol(EMBEDS)
    with pytest.raises(DataError, match=r"val2014_annotations.*answers under test.*26214800"):
        task.load(root, None, 1)
    layouts.write(
        root.path / "v2_OpenEnded_mscoco_train2014_questions.json",
        {"questions": [{"image_id": 1, "question": "?", "question_id": 1000 + n} for n in range(16)]},
    )
    task = Vqa()
    task.protocol(EMBEDS)
    with pytest.raises(DataError, match="train2014_annotations.*answers under test"):
        task.load(root, "train2014", None)


def test_without_train_answers_the_error_offers_a_vocabulary(root: DataRoot, tmp_path: Path) -> None:
    """Already when data is read, which comes before the model is loaded; a generating model needs none."""
    (root.path / "v2_mscoco_train2014_annotations.json").unlink()
    task = Vqa()
    task.protocol(EMBEDS)
    with pytest.raises(DataError, match=r"v2_mscoco_train2014_annotations.json is missing.*vqa:vocabulary=FILE"):
        task.load(root, None, None)
    task = Vqa()
    task.protocol(frozenset({"generate"}))
    assert task.load(root, None, None).counts["questions"] == 3
    layouts.write(tmp_path / "lists.json", {"is there": ["yes", "no", "2"], "what": ["red"], "": ["down"]})
    task = Vqa({"vocabulary": str(tmp_path / "lists.json"), "topk": "2"})
    protocol = task.protocol(EMBEDS)
    choices = [task.requests(s, protocol)[0].choices for s in task.load(root, None, None).samples]  # type: ignore[attr-defined]
    assert choices == [("down",), ("yes", "no"), ("red",)]


def test_vocabulary_and_k_are_in_the_signature_whichever_comes_first(root: DataRoot) -> None:
    def line(task: Vqa, protocol_first: bool) -> str:
        if protocol_first:
            protocol = task.protocol(EMBEDS)
            dataset = task.load(root, None, None)
        else:
            dataset = task.load(root, None, None)
            protocol = task.protocol(EMBEDS)
        return signature(task, dataset, protocol, None)

    usual = line(Vqa(), True)
    assert "|protocol:rank-top16/embed|" in usual and "|vocabulary:" in usual and "|template:" in usual
    assert line(Vqa(), False) == usual
    assert line(Vqa({"topk": "2"}), True) != usual
    assert line(Vqa({"template": "{prompt} The answer is {choice}."}), True) != usual
    document = json.loads((root.path / "v2_mscoco_train2014_annotations.json").read_text())
    document["annotations"][0]["multiple_choice_answer"] = "of course"
    layouts.write(root.path / "v2_mscoco_train2014_annotations.json", document)
    assert line(Vqa(), True) != usual


def test_ranked_answers_are_scored_and_ties_share(root: DataRoot) -> None:
    task = Vqa()
    protocol = task.protocol(EMBEDS)
    dataset = task.load(root, None, None)

    def answer(request: Request) -> Response:
        assert isinstance(request, Choose)
        if request.prompt.startswith("Is there"):
            return ChoiceScores((1.0, 1.0))
        if request.prompt.startswith("What"):
            return Failure("no such image")
        return ChoiceScores(tuple(float(choice == "down") for choice in request.choices))

    rows = drive(task, dataset, protocol, answer)
    assert [row.scores["accuracy"] for row in rows] == [1.0, 0.5, 0.0]
    assert [row.status for row in rows] == ["ok", "ok", "failed"]
    assert rows[0].response == "down" and rows[2].reason == "no such image"


@pytest.mark.parametrize(
    ("capabilities", "name"),
    [
        (EMBEDS, "rank-top16/embed"),
        (EMBEDS | {"match"}, "rank-top16/match"),
        (frozenset({"choose"}), "rank-top16/choose"),
        (frozenset({"loglikelihood"}), "rank-top16/likelihood-per-token"),
        (frozenset({"loglikelihood", "generate"}), "generate"),
    ],
)
def test_protocols_follow_the_capabilities(capabilities: frozenset[str], name: str) -> None:
    assert Vqa().protocol(capabilities).name == name


def test_the_way_of_answering_can_be_chosen() -> None:
    assert Vqa({"answer": "rank"}).protocol(EMBEDS | {"generate"}).name == "rank-top16/embed"
    with pytest.raises(UnsupportedTask, match="vqa needs generate"):
        Vqa({"answer": "generate"}).protocol(EMBEDS)
    with pytest.raises(UnsupportedTask, match="vqa needs generate, choose"):
        Vqa().protocol(frozenset({"embed_images"}))
    for bad in ({"answer": "guess"}, {"topk": "0"}, {"template": "{choice}"}, {"prompt": "{x} {question}"}):
        with pytest.raises(UsageError, match="vqa:"):
            Vqa(bad)


def test_the_likelihood_that_ranks_can_be_chosen() -> None:
    likely = frozenset({"generate", "loglikelihood"})
    assert Vqa({"likelihood": "less-blind"}).protocol(likely).name == "rank-top16/likelihood-less-blind"
    assert Vqa({"likelihood": "sum", "answer": "rank"}).protocol(likely).routes == {"choose": "likelihood-sum"}
    with pytest.raises(UsageError, match="vqa:likelihood needs a model with loglikelihood"):
        Vqa({"likelihood": "sum"}).protocol(frozenset({"generate"}))
    with pytest.raises(UsageError, match="it does not go with answer=generate"):
        Vqa({"likelihood": "sum", "answer": "generate"})
    with pytest.raises(UsageError, match="vqa:likelihood=best is none of: per-token, sum, less-blind"):
        Vqa({"likelihood": "best"})


def test_the_prompt_is_what_the_model_gets(root: DataRoot) -> None:
    task = Vqa({"prompt": "Q: {question} A:", "max_new_tokens": "5"})
    protocol = task.protocol(frozenset({"generate"}))
    request = task.requests(task.load(root, None, None).samples[1], protocol)[0]
    assert isinstance(request, Generate)
    assert (request.prompt, request.decoding.max_new_tokens) == ("Q: Is there a dog? A:", 5)
    assert protocol.prompt == "Q: {question} A:[max_new_tokens=5,num_beams=1]"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Is the cat red?", "is the"),
        ("IS  THE cat red?", "is the"),
        ("Is there a cat?", "is there a"),
        ("Is there an egg?", "is there a"),
        ("Is this?", "is"),
        ("Isn't it?", "is"),
        ("is the", "is the"),
        ("I", "overall"),
        ("The cat?", "overall"),
        ("", "overall"),
    ],
)
def test_the_type_is_the_longest_that_the_question_starts_with(question: str, expected: str) -> None:
    vocabulary = Vocabulary({name: (name,) for name in ("is", "is the", "is there a")}, ("overall",))
    assert vocabulary.shortlist(question) == (expected,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ([], "the document is a list, not an object"),
        ({}, "has no question types"),
        ({"is": "yes"}, "'is' is a string, not a list"),
        ({"is": []}, "'is' is not a list of one or more answers"),
        ({"is": ["yes", 2]}, "'is' is not a list of one or more answers"),
        ({"annotations": [{}]}, "annotations[0] has no 'answers'"),
    ],
)
def test_a_broken_vocabulary_is_named(tmp_path: Path, content: object, message: str) -> None:
    layouts.write(tmp_path / "v.json", content)
    with pytest.raises(DataError) as error:
        read_vocabulary(LocalFolder(tmp_path), "v.json", 4, [])
    assert message in str(error.value) and "v.json" in str(error.value)
    with pytest.raises(DataError, match=r"w\.json is missing"):
        read_vocabulary(LocalFolder(tmp_path), "w.json", 4, [])


def test_lists_without_an_overall_one_are_merged(tmp_path: Path) -> None:
    layouts.write(tmp_path / "v.json", {"Is  The": ["no", "yes", "no"], "what": ["yes", "red"]})
    vocabulary = read_vocabulary(LocalFolder(tmp_path), "v.json", 2, [])
    assert vocabulary == Vocabulary({"is the": ("no", "yes"), "what": ("yes", "red")}, ("yes", "no"))


def test_predictions_must_be_of_exactly_the_questions_of_the_split(root: DataRoot, tmp_path: Path) -> None:
    task = Vqa()
    dataset = task.load(root, None, None)
    rows = [{"question_id": q, "answer": "no"} for q, *_ in layouts.QUESTIONS]
    path = tmp_path / "results.json"
    layouts.write(path, rows)
    scored = task.score_predictions(task.predictions(path, dataset), dataset)
    assert [row.scores["accuracy"] for row in scored] == [0.0, 1.0, 0.0]
    layouts.write(path, rows[:2])
    with pytest.raises(DataError, match="1 of 3 question_ids of the split are not answered: 393225000"):
        task.predictions(path, dataset)


def test_a_split_without_answers_gets_a_submission_and_no_score(root: DataRoot) -> None:
    layouts.write(root.path / "v2_OpenEnded_mscoco_test-dev2015_questions.json", layouts.vqa_questions())
    task = Vqa({"extract": "1"})
    protocol = task.protocol(frozenset({"generate"}))
    dataset = task.load(root, "test-dev2015", None)

    def answer(request: Request) -> Response:
        assert isinstance(request, Generate)
        return Failure("too dark") if "cup" in request.prompt else Generated("Yes, he is.")

    rows = drive(task, dataset, protocol, answer)
    assert [dict(row.scores) for row in rows] == [{}, {}, {}]
    assert [row.status for row in rows] == ["ok", "ok", "failed"]
    made = task.submission(rows, dataset)
    assert made is not None
    name, content = made
    assert name == "vqa_test-dev2015.json"
    assert json.loads(content) == [
        {"question_id": 262148000, "answer": "yes"},
        {"question_id": 262148001, "answer": "yes"},
        {"question_id": 393225000, "answer": ""},
    ]
    for metric in task.aggregate(rows, dataset).values():
        assert metric.value is None and metric.reason is not None
        assert "test-dev2015 has no public answers" in metric.reason
    assert "only a file with all questions" in task.notes(dataset, None)[0]
    with pytest.raises(DataError, match="split test-dev2015 has no answers to score against"):
        task.predictions(root.path / "results.json", dataset)
    labelled = task.load(root, None, None)
    assert task.submission(drive(task, labelled, protocol, answer), labelled) is None


def test_real_questions_get_the_official_numbers(realdata: Path) -> None:
    task = Vqa()
    folder = realdata / "vqav2"
    dataset = task.load(DataRoot(folder), None, None)
    for name, expected in (("mc_answer", 98.40), ("answer3", 90.10), ("yes", 23.30), ("noisy", 67.40)):
        rows = task.score_predictions(task.predictions(folder / f"results_{name}.json", dataset), dataset)
        value = task.aggregate(rows, dataset)["accuracy"].value
        assert value is not None and round(100 * value, 2) == expected


def test_recorded_accuracies_through_files(oracles: Path, tmp_path: Path) -> None:
    """All records as a VQA v2 root and a results file, the way that `vlbench score` reads them."""
    lines = (oracles / "vqa_accuracy.jsonl").read_text(encoding="utf-8").split("\n")
    records = [json.loads(line) for line in lines if line]
    questions = [{"image_id": n, "question": "?", "question_id": n} for n in range(len(records))]
    annotations = [
        layouts.annotation(n, n, record["question_type"], record["answer_type"], record["answers"])
        for n, record in enumerate(records)
    ]
    layouts.write(tmp_path / "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": questions})
    layouts.write(tmp_path / "v2_mscoco_val2014_annotations.json", {"annotations": annotations})
    layouts.write(
        tmp_path / "results.json",
        [{"question_id": n, "answer": record["prediction"]} for n, record in enumerate(records)],
    )
    task = Vqa()
    dataset = task.load(DataRoot(tmp_path), None, None)
    rows = task.score_predictions(task.predictions(tmp_path / "results.json", dataset), dataset)
    found = np.array([row.scores["accuracy"] for row in rows])
    assert len(found) == 2_500
    assert np.abs(found - [record["accuracy"] for record in records]).max() < 1e-9
