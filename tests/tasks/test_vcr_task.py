"""VCR: what is asked, how choices are scored, and by which route."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import layouts
from vlbench.data.source import DataRoot
from vlbench.errors import DataError, UnsupportedTask, UsageError
from vlbench.runner.manifest import signature
from vlbench.tasks.vcr import Vcr
from vlbench.testing import TaskContract
from vlbench.testing.tasks import drive
from vlbench.types import ChoiceScores, Choose, Failure, Request, Response

if TYPE_CHECKING:
    from pathlib import Path

EMBEDS = frozenset({"embed_images", "embed_texts"})
CHOOSES = frozenset({"choose"})


class TestVcrContract(TaskContract):
    @pytest.fixture
    def task(self) -> Vcr:
        return Vcr()

    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        layouts.vcr(tmp_path / "vcr")
        return DataRoot(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    layouts.vcr(tmp_path)
    return DataRoot(tmp_path)


def scores(*values: float) -> ChoiceScores:
    return ChoiceScores(values)


def test_rationales_are_asked_for_the_gold_answer(root: DataRoot) -> None:
    task = Vcr()
    sample = task.load(root, None, None).samples[0]
    answer, rationale = task.requests(sample, task.protocol(CHOOSES))
    assert answer.prompt == "Does [person1]n't like [person2] and [bottle1], or does [person2]'s cat?"
    assert answer.choices[1] == "No, [person2] does."
    assert rationale.prompt == f"{answer.prompt} No, [person2] does."
    assert rationale.choices == ("[person1] smiles.", "[person2] smiles.", "[bottle1] smiles.", "[person1] smiles.")
    assert [region.label for region in answer.images[0].regions] == ["person1", "person2", "bottle1"]


def test_credit_is_for_the_highest_and_ties_share_it(root: DataRoot) -> None:
    """Labels are 1 and 3 for the first item, 0 and 0 for the second."""
    task = Vcr()
    dataset = task.load(root, None, None)

    def answer(request: Request) -> Response:
        assert isinstance(request, Choose)
        if request.prompt.startswith("Does"):
            return scores(0.0, 2.0, 1.0, 2.0) if "smiles" not in request.choices[0] else scores(0.0, 0.0, 0.0, 0.0)
        return scores(1.0, 0.0, -1.0, 0.5) if "bottle" in request.choices[0] else scores(0.0, 3.0, 0.0, 0.0)

    rows = drive(task, dataset, task.protocol(CHOOSES), answer)
    assert [dict(row.scores) for row in rows] == [
        {"q_to_a": 0.5, "qa_to_r": 0.25, "q_to_ar": 0.125},
        {"q_to_a": 1.0, "qa_to_r": 0.0, "q_to_ar": 0.0},
    ]
    assert [row.response for row in rows] == ["1 0", "0 1"]
    metrics = {name: metric.value for name, metric in task.aggregate(rows, dataset).items()}
    assert metrics == {"q_to_a": 0.75, "qa_to_r": 0.125, "q_to_ar": 0.0625}


def test_one_failed_request_fails_the_whole_sample(root: DataRoot) -> None:
    task = Vcr()
    dataset = task.load(root, None, None)

    def answer(request: Request) -> Response:
        assert isinstance(request, Choose)
        if request.choices[0] == "It shines.":
            return Failure("too long")
        return scores(*(float(k == 1) for k in range(4)))

    rows = drive(task, dataset, task.protocol(CHOOSES), answer)
    assert [row.status for row in rows] == ["ok", "failed"]
    assert rows[1].reason == "too long" and set(rows[1].scores.values()) == {0.0}


@pytest.mark.parametrize(
    ("capabilities", "arguments", "name"),
    [
        (CHOOSES | EMBEDS | {"match"}, {}, "choose"),
        (EMBEDS | {"match"}, {}, "choose/match"),
        (EMBEDS, {}, "choose/embed"),
        (frozenset({"loglikelihood"}), {}, "choose/likelihood-per-token"),
        (frozenset({"loglikelihood"}), {"likelihood": "sum"}, "choose/likelihood-sum"),
        (frozenset({"loglikelihood"}) | CHOOSES, {"likelihood": "less-blind"}, "choose/likelihood-less-blind"),
    ],
)
def test_protocols_follow_capabilities_and_arguments(
    root: DataRoot, capabilities: frozenset[str], arguments: dict[str, str], name: str
) -> None:
    task = Vcr(arguments)
    protocol = task.protocol(capabilities)
    assert protocol.name == name and protocol.routes == {"choose": name.rpartition("/")[2]}
    assert f"protocol:{name}|" in signature(task, task.load(root, None, None), protocol, None)


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(UnsupportedTask, match="vcr needs choose, match, loglikelihood or embeddings"):
        Vcr().protocol(frozenset({"generate"}))
    with pytest.raises(UsageError, match="vcr:likelihood needs a model with loglikelihood"):
        Vcr({"likelihood": "sum"}).protocol(EMBEDS)
    with pytest.raises(UsageError, match="vcr:likelihood=best is none of: per-token, sum, less-blind"):
        Vcr({"likelihood": "best"})


def test_rationales_of_an_unlabelled_item_are_asked_for_each_answer(root: DataRoot) -> None:
    layouts.write(root.path / "test.jsonl", layouts.lines(layouts.vcr_test_items()))
    task = Vcr()
    dataset = task.load(root, "test", None)

    def answer(request: Request) -> Response:
        assert isinstance(request, Choose)
        if request.prompt.endswith("A dog."):
            return Failure("too long")
        return scores(*(float(len(choice)) for choice in request.choices))

    requests = [
        request for request in next(task.rounds(dataset, task.protocol(CHOOSES))) if isinstance(request, Choose)
    ]
    sample = dataset.samples[1]
    assert [request.prompt for request in requests[5:]] == [
        "What is [bottle1]?",
        *(f"What is [bottle1]? {text}" for text in sample.answers),
    ]
    rows = drive(task, dataset, task.protocol(CHOOSES), answer)
    assert [row.status for row in rows] == ["ok", "failed"] and [row.scores for row in rows] == [{}, {}]
    assert rows[0].response == "1 0 0 0 0"
    metrics = task.aggregate(rows, dataset)
    assert {metric.value for metric in metrics.values()} == {None}
    assert metrics["q_to_ar"].reason == "split test has no labels; its scores come from the leaderboard"


def test_the_submission_holds_all_items_of_the_test_split_alone(root: DataRoot) -> None:
    """And read back against labels it scores as the rows would."""
    task = Vcr()
    labelled = task.load(root, None, None)
    assert task.submission([], labelled) is None
    layouts.write(root.path / "test.jsonl", layouts.lines(layouts.vcr_test_items()))
    dataset = task.load(root, "test", None)

    def answer(request: Request) -> Response:
        assert isinstance(request, Choose)
        return scores(*(float(len(choice)) for choice in request.choices))

    rows = drive(task, dataset, task.protocol(CHOOSES), answer)
    submitted = task.submission(rows, dataset)
    assert submitted is not None
    name, table = submitted
    assert name == "vcr_test.csv"
    (root.path / name).write_bytes(table)
    from_file = task.score_predictions(task.predictions(root.path / name, labelled), labelled)
    from_model = drive(task, labelled, task.protocol(CHOOSES), answer)
    assert [(r.sample_id, dict(r.scores), r.response) for r in from_file] == [
        (r.sample_id, dict(r.scores), r.response) for r in from_model
    ]
    with pytest.raises(DataError, match="split test has no labels to score against"):
        task.predictions(root.path / name, dataset)
