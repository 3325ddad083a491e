"""Winoground: what is asked, and scores overall and by tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import compositional
from tests.support.colours import Colours
from vlbench.capabilities import Expander
from vlbench.data.source import DataRoot
from vlbench.errors import UnsupportedTask
from vlbench.leaderboard.site_truth import Truths
from vlbench.tasks.winoground import Winoground
from vlbench.testing import TaskContract
from vlbench.testing.adapters import answer
from vlbench.testing.tasks import drive
from vlbench.types import Failure, Match, MatchScore, Request, Response

if TYPE_CHECKING:
    from pathlib import Path

EMBEDS = frozenset({"embed_images", "embed_texts"})


class TestWinogroundContract(TaskContract):
    @pytest.fixture
    def task(self) -> Winoground:
        return Winoground()

    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        compositional.winoground(tmp_path / "winoground")
        return DataRoot(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    compositional.winoground(tmp_path)
    return DataRoot(tmp_path)


def test_a_model_that_embeds_is_scored_by_cosine_and_ties_are_wrong(root: DataRoot) -> None:
    """Colours tells the first and the last example apart; the captions of the second name no colour, so they tie."""
    task, adapter = Winoground(), Colours()
    dataset = task.load(root, None, None)
    protocol = task.protocol(EMBEDS)
    assert protocol.name == "match/embed"
    expander = Expander(protocol, 100.0)

    def by_cosine(request: Request) -> Response:
        return expander.combine(request, [answer(adapter, [part])[0] for part in expander.expand(request)])

    rows = drive(task, dataset, protocol, by_cosine)
    assert [dict(row.scores) for row in rows] == [
        dict.fromkeys(("text_score", "image_score", "group_score"), value) for value in (1.0, 0.0, 1.0)
    ]
    assert [row.response for row in rows] == ["0 1", "0 0", "0 1"]
    metrics = {name: metric.value for name, metric in task.aggregate(rows, dataset).items()}
    assert metrics["group_score"] == metrics["text_score"] == metrics["image_score"] == pytest.approx(2 / 3)
    slices = {name: value for name, value in metrics.items() if name.startswith("group_score/")}
    assert slices == {
        "group_score/collapsed_tag/Both": 1.0,
        "group_score/collapsed_tag/Object": 1.0,
        "group_score/collapsed_tag/Relation": 0.0,
        "group_score/num_main_preds/1": 1.0,
        "group_score/num_main_preds/2": 0.0,
        "group_score/secondary_tag/Symbolic": 0.0,
        "group_score/tag/Adverb-Temporal": 0.0,
        "group_score/tag/Noun": 1.0,
        "group_score/tag/Noun, Adjective-Color": 1.0,
    }


def test_captions_and_images_are_not_mixed_up(root: DataRoot) -> None:
    """Caption 0 scores high with both images: the text is wrong for image 1, the image right for both captions."""
    task = Winoground()
    dataset = task.load(root, None, None)
    first = dataset.samples[0]
    table = {
        (first.captions[0], first.images[0].key): 0.9,
        (first.captions[0], first.images[1].key): 0.8,
        (first.captions[1], first.images[0].key): 0.5,
        (first.captions[1], first.images[1].key): 0.7,
    }

    def matched(request: Request) -> Response:
        assert isinstance(request, Match)
        return MatchScore(table.get((request.text, request.image.key), 0.0))

    row = drive(task, dataset, task.protocol(EMBEDS | {"match"}), matched)[0]
    assert dict(row.scores) == {"text_score": 0.0, "image_score": 1.0, "group_score": 0.0}
    assert dict(row.statistics) == {"c0_i0": 0.9, "c0_i1": 0.8, "c1_i0": 0.5, "c1_i1": 0.7}


def test_one_failed_match_fails_its_example(root: DataRoot) -> None:
    task = Winoground()
    dataset = task.load(root, None, None)

    def matched(request: Request) -> Response:
        assert isinstance(request, Match)
        return Failure("too long") if request.text == "a thing, red" else MatchScore(0.0)

    rows = drive(task, dataset, task.protocol(frozenset({"match"})), matched)
    assert [row.status for row in rows] == ["ok", "ok", "failed"]
    assert rows[2].reason == "too long" and set(rows[2].scores.values()) == {0.0}


def test_both_images_are_checked_and_generators_refused(root: DataRoot) -> None:
    task = Winoground()
    assert len(list(task.images(task.load(root, None, None)))) == 6
    with pytest.raises(UnsupportedTask, match="winoground needs match, or embed_images and embed_texts"):
        task.protocol(frozenset({"generate", "choose"}))


def test_a_site_shows_both_pictures_and_the_captions_taken_for_them(root: DataRoot) -> None:
    task = Winoground()
    dataset = task.load(root, None, None)
    first = dataset.samples[0]
    views = dict(task.views(dataset))
    shown = views[first.example_id]
    assert shown.images == first.images and shown.references == first.captions
    assert Truths(views).answer(first.example_id, "1 0") == f"{first.captions[1]} / {first.captions[0]}"
