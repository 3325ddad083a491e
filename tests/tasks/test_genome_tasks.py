"""The tasks on Visual Genome: what is asked, how it is scored, and by which route."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support import genome
from tests.support.layouts import write
from vlbench import letters, prompts
from vlbench.data.source import DataRoot
from vlbench.errors import DataError, UnsupportedTask, UsageError
from vlbench.runner.manifest import signature
from vlbench.tasks.genome import Probing, VgAttributes, VgQa, VgRelations, exact_match
from vlbench.tasks.genome_captioning import VgRegionCaption
from vlbench.tasks.genome_retrieval import VgRegionRetrieval
from vlbench.testing import TaskContract
from vlbench.testing.tasks import drive
from vlbench.types import (
    ChoiceScores,
    Choose,
    Embedding,
    EmbedImage,
    EmbedText,
    Failure,
    Generate,
    Generated,
    Match,
    MatchScore,
    Request,
    Response,
)

if TYPE_CHECKING:
    from pathlib import Path

EMBEDS = frozenset({"embed_images", "embed_texts"})
CHOOSES = frozenset({"choose"})


class OnGenome(TaskContract):
    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        genome.genome(tmp_path / "visual_genome")
        return DataRoot(tmp_path)


class TestRegionRetrievalContract(OnGenome):
    @pytest.fixture
    def task(self) -> VgRegionRetrieval:
        return VgRegionRetrieval()


class TestRegionCaptionContract(OnGenome):
    @pytest.fixture
    def task(self) -> VgRegionCaption:
        return VgRegionCaption({"meteor": "off"})


class TestVgQaContract(OnGenome):
    @pytest.fixture
    def task(self) -> VgQa:
        return VgQa()


class TestVgAttributesContract(OnGenome):
    @pytest.fixture
    def task(self) -> VgAttributes:
        return VgAttributes()


class TestVgRelationsContract(OnGenome):
    @pytest.fixture
    def task(self) -> VgRelations:
        return VgRelations()


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    genome.genome(tmp_path)
    return DataRoot(tmp_path)


AXES = {"the wall is white": 0, "shade is along the street": 1, "a red car": 2}


def embed(request: Request) -> Response:
    """Each phrase on an axis of its own; crops lie on that of their phrase but the second white wall, on the car's."""
    if isinstance(request, EmbedText):
        return Embedding(np.eye(3, dtype=np.float32)[AXES[request.text.lower()]])
    assert isinstance(request, EmbedImage)
    width, height = request.image.load().size
    place = {(30, 30): 2 if "VG_100K/" in request.image.name else 0, (35, 28): 1, (44, 40): 2}
    return Embedding(np.eye(3, dtype=np.float32)[place[width, height]])


def test_an_equal_phrase_is_right_for_all_its_regions(root: DataRoot) -> None:
    """Two regions are white walls. The crop of the second looks like the car: it misses both of its phrases, while
    both phrases find the first crop."""
    task = VgRegionRetrieval()
    dataset = task.load(root, None, None)
    rows = drive(task, dataset, task.protocol(EMBEDS), embed)
    hits = {row.sample_id: row.scores[f"{row.slices['direction']}_recall@1"] for row in rows}
    assert hits == {
        "i:1/10": 1.0,
        "i:1/12": 1.0,
        "i:2/20": 0.0,
        "i:2/21": 1.0,
        "t:10": 1.0,
        "t:12": 1.0,
        "t:20": 1.0,
        "t:21": 0.5,
    }
    assert [row.image_id for row in rows] == ["1", "1", "2", "2"] * 2
    assert task.aggregate(rows, dataset)["text_to_image_recall@1"].value == 0.875


def test_a_caption_of_a_region_is_scored_against_its_phrase(root: DataRoot, tmp_path: Path) -> None:
    """Four regions, told apart by the size of their crops: three captions are the phrase itself, one has no word of it.

    Bleu_1 by hand: phrases of 4, 5, 4 and 3 words, of which the wrong one has 3: 13 of 16 words.
    """
    task = VgRegionCaption({"meteor": "off"})
    dataset = task.load(root, None, None)
    phrases = {s.image.load().size + (s.image.name,): s.captions[0].text for s in dataset.samples}

    def answer(request: Request) -> Response:
        assert isinstance(request, Generate)
        (image,) = request.images
        phrase = phrases[image.load().size + (image.name,)]
        return Generated("two big dogs" if phrase == "a red car" else phrase)

    protocol = task.protocol(frozenset({"generate"}))
    assert "|per_image:5|" in signature(task, dataset, protocol, None)
    rows = drive(task, dataset, protocol, answer)
    assert [(row.sample_id, row.image_id) for row in rows] == [
        ("1/10", "1"),
        ("1/12", "1"),
        ("2/20", "2"),
        ("2/21", "2"),
    ]
    words = [len(s.captions[0].text.split()) for s in dataset.samples]
    metrics = task.aggregate(rows, dataset)
    assert metrics["Bleu_1"].value == pytest.approx((sum(words) - 3) / sum(words))
    write(tmp_path / "a.json", [{"image_id": r.sample_id, "caption": r.response} for r in rows])
    scored = task.score_predictions(task.predictions(tmp_path / "a.json", dataset), dataset)
    assert [row.scores for row in scored] == [row.scores for row in rows]
    assert "|per_image:5|" in signature(task, dataset, task.predictions_protocol(), None)


def test_matching_alone_ranks_regions_by_the_same_rule(root: DataRoot) -> None:
    """The crop of the first white wall matches only the phrase of the second, in other capitals: a hit."""

    def answer(request: Request) -> Response:
        assert isinstance(request, Match)
        return MatchScore(float(request.text == "The wall is white" and "VG_100K_2" in request.image.name))

    task = VgRegionRetrieval()
    protocol = task.protocol(frozenset({"match"}))
    rows = drive(task, task.load(root, None, None), protocol, answer)
    assert rows[0].sample_id == "i:1/10" and rows[0].scores["image_to_text_recall@1"] == 1.0


def test_regions_an_image_are_in_the_signature(root: DataRoot) -> None:
    for number in ("0", "1", "5"):
        task = VgRegionRetrieval({"per_image": number})
        line = signature(task, task.load(root, None, None), task.protocol(EMBEDS), None)
        assert f"|per_image:{number}|" in line
    with pytest.raises(UsageError, match="per_image=-1 is not an integer of 0 or more"):
        VgRegionRetrieval({"per_image": "-1"})


def test_answers_are_normalised_whatever_they_look_like(root: DataRoot) -> None:
    task = VgQa()
    dataset = task.load(root, None, None)
    given = {"What color is the clock?": "green", "How many people are there?": " 2 ", "WhAt is this?": "the dog"}

    def answer(request: Request) -> Response:
        assert isinstance(request, Generate)
        return Generated(given.get(request.prompt, "on couch!"))

    rows = drive(task, dataset, task.protocol(frozenset({"generate"})), answer)
    assert [row.scores["accuracy"] for row in rows] == [1.0, 1.0, 1.0, 1.0]
    metrics = {name: metric.value for name, metric in task.aggregate(rows, dataset).items()}
    assert list(metrics) == ["accuracy", *(f"accuracy/question_type/{w}" for w in ("how", "what", "where"))]


@pytest.mark.parametrize(
    ("prediction", "answer", "score"),
    [("Green", "Green.", 1), ("greenish", "Green.", 0), ("", "A.", 0), ("A.", "A.", 1), ("", "The man.", 0)],
)
def test_exact_match(prediction: str, answer: str, score: float) -> None:
    assert exact_match(prediction, answer) == score


def test_a_model_that_ranks_takes_answers_of_other_images(root: DataRoot) -> None:
    """Image 3 is outside the split, and its one answer is all there is to rank."""
    task = VgQa({"answer": "rank"})
    protocol = task.protocol(EMBEDS)
    dataset = task.load(root, None, None)
    request = task.requests(dataset.samples[2], protocol)[0]
    assert isinstance(request, Choose) and request.choices == ("dog",)
    assert protocol.name == "rank-top16/embed" and "|vocabulary:" in signature(task, dataset, protocol, None)
    rows = drive(task, dataset, protocol, lambda _: ChoiceScores((0.0,)))
    assert [(row.response, row.scores["accuracy"]) for row in rows][2] == ("dog", 1.0)
    with pytest.raises(DataError, match="split all leaves none; choose another --split, or give .*vocabulary=FILE"):
        task.load(root, "all", None)


def test_questions_of_visual_genome_take_the_arguments_of_vqa(root: DataRoot, tmp_path: Path) -> None:
    """A vocabulary of the user's, and the short answer out of a chatty one."""
    write(tmp_path / "answers.json", {"what": ["cat"]})
    task = VgQa({"answer": "rank", "vocabulary": str(tmp_path / "answers.json")})
    dataset = task.load(root, "all", None)
    request = task.requests(dataset.samples[2], task.protocol(EMBEDS))[0]
    assert isinstance(request, Choose) and request.choices == ("cat",)
    chatty = VgQa({"extract": "1"})
    protocol = chatty.protocol(frozenset({"generate"}))
    assert protocol.name == "generate/extract-1"


def test_predictions_of_questions_are_scored_from_a_file(root: DataRoot, tmp_path: Path) -> None:
    task = VgQa()
    dataset = task.load(root, None, None)
    answers = [{"qa_id": int(s.question_id), "answer": s.answers[0].lower()} for s in dataset.samples]
    write(tmp_path / "answers.json", answers)
    rows = task.score_predictions(task.predictions(tmp_path / "answers.json", dataset), dataset)
    assert [row.scores["accuracy"] for row in rows] == [1.0] * 4
    write(tmp_path / "answers.json", json.dumps(answers[1:]))
    with pytest.raises(DataError, match="1 of 4 qa_ids of the split are not answered: 100"):
        task.predictions(tmp_path / "answers.json", dataset)


@pytest.mark.parametrize("kind", [VgAttributes, VgRelations])
def test_probes_are_two_statements_in_an_order_that_tells_nothing(root: DataRoot, kind: type[Probing]) -> None:
    task = kind()
    dataset = task.load(root, None, None)
    protocol = task.protocol(CHOOSES)
    for sample in dataset.samples:
        (request,) = task.requests(sample, protocol)
        assert isinstance(request, Choose) and set(request.choices) == {sample.true, sample.false}
        for value, right in ((1.0, 1.0), (0.5, 0.5), (0.0, 0.0)):
            scores = ChoiceScores(tuple(value if c == sample.true else 1 - value for c in request.choices))
            assert task.score(sample, [scores], protocol).scores["accuracy"] == right
        assert task.score(sample, [Failure("broken")], protocol).response == ""
    rows = drive(task, dataset, protocol, lambda _: ChoiceScores((1.0, 0.0)))
    assert 0.0 < (task.aggregate(rows, dataset)["accuracy"].value or 0.0) < 1.0


def test_metrics_of_probes_are_told_apart_by_kind(root: DataRoot) -> None:
    task = VgRelations()
    dataset = task.load(root, None, None)

    def answer(request: Request) -> Response:
        assert isinstance(request, Choose)
        return ChoiceScores(tuple(float(c in ("the tree on the sidewalk", "x")) for c in request.choices))

    rows = drive(task, dataset, task.protocol(CHOOSES), answer)
    metrics = {name: metric.value for name, metric in task.aggregate(rows, dataset).items()}
    assert metrics == {"accuracy": 2.5 / 3, "accuracy/kind/replace": 1.0, "accuracy/kind/swap": 0.75}
    assert [row.slices["about"] for row in rows] == ["on", "on", "wearing"]


@pytest.mark.parametrize(
    ("capabilities", "name", "prompt"),
    [
        (EMBEDS | CHOOSES | {"match"}, "choose/match", "none"),
        (CHOOSES, "choose", "Which statement is true of the picture?"),
        (EMBEDS, "choose/embed", "none"),
        (frozenset({"loglikelihood"}), "choose/likelihood-per-token", "Which statement is true of the picture?"),
    ],
)
def test_a_probe_is_matched_where_the_model_can(capabilities: frozenset[str], name: str, prompt: str) -> None:
    protocol = VgAttributes().protocol(capabilities)
    assert (protocol.name, protocol.prompt, protocol.template) == (name, prompt, "{choice}")
    with pytest.raises(UnsupportedTask, match="vg_attributes needs match, choose"):
        VgAttributes().protocol(frozenset({"generate"}))


@pytest.mark.parametrize("kind", [VgAttributes, VgRelations])
def test_a_model_that_follows_instructions_is_asked_for_a_letter(kind: type[VgAttributes] | type[VgRelations]) -> None:
    able = frozenset({"generate", "follow_instructions"})
    assert prompts.lettered(kind().protocol(able)).template == letters.TEMPLATE
    own = {"template": "{prompt} {choices}"}
    assert prompts.lettered(kind(own).protocol(able)).template == own["template"]


def test_a_site_shows_both_statements_and_the_true_one(root: DataRoot) -> None:
    task = VgAttributes()
    dataset = task.load(root, None, None)
    views = dict(task.views(dataset))
    for probe in dataset.samples:
        shown = views[probe.probe_id]
        assert set(shown.question.split(" / ")) == {probe.true, probe.false} and shown.references == (probe.true,)
