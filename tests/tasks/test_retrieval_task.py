"""Retrieval tasks, driven from requests to metrics."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support import layouts
from vlbench.data.source import DataRoot
from vlbench.errors import UnsupportedTask, UsageError
from vlbench.runner.manifest import signature
from vlbench.tasks.retrieval import CocoRetrieval, Flickr30kRetrieval
from vlbench.testing import TaskContract
from vlbench.testing.tasks import drive
from vlbench.types import Embedding, EmbedImage, EmbedText, Failure, Match, MatchScore, Request, Response

if TYPE_CHECKING:
    from pathlib import Path

EMBEDS = frozenset({"embed_images", "embed_texts"})


class TestCocoRetrievalContract(TaskContract):
    @pytest.fixture
    def task(self) -> CocoRetrieval:
        return CocoRetrieval()

    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        layouts.coco(tmp_path / "coco")
        return DataRoot(tmp_path)


class TestFlickr30kRetrievalContract(TaskContract):
    @pytest.fixture
    def task(self) -> Flickr30kRetrieval:
        return Flickr30kRetrieval()

    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        layouts.flickr30k(tmp_path)
        return DataRoot(tmp_path)


class TestMatchOnlyContract(TestCocoRetrievalContract):
    @pytest.fixture
    def protocol(self, task: CocoRetrieval) -> object:
        return task.protocol(frozenset({"match"}))


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    layouts.coco(tmp_path)
    return DataRoot(tmp_path)


def knowing(root: DataRoot) -> dict[str, int]:
    """Number of the image that each text belongs to; of the shared sentence, that of the last one."""
    return {text.strip(): n for n, texts in enumerate(layouts.CAPTIONS.values()) for text in texts}


def colour(request: EmbedImage | Match) -> int:
    """What is really in the picture: the number of its colour."""
    red, green, blue = request.image.load().getpixel((0, 0))  # type: ignore[misc]
    return int(np.argmax((red, green, blue)))


def perfect(root: DataRoot) -> object:
    """A model that looks at the pictures and knows all captions."""
    texts = knowing(root)

    def answer(request: Request) -> Response:
        if isinstance(request, EmbedImage):
            return Embedding(np.eye(3, dtype=np.float32)[colour(request)])
        if isinstance(request, EmbedText):
            return Embedding(4 * np.eye(3, dtype=np.float32)[texts[request.text]])
        assert isinstance(request, Match)
        return MatchScore(float(texts[request.text] == colour(request)))

    return answer


@pytest.mark.parametrize("capabilities", [EMBEDS, frozenset({"match"}), EMBEDS | {"match"}])
def test_a_model_that_knows_everything_is_right(root: DataRoot, capabilities: frozenset[str]) -> None:
    """But for the sentence that two images share: it cannot be at rank 1 for both."""
    task = CocoRetrieval()
    protocol = task.protocol(capabilities)
    dataset = task.load(root, None, None)
    rows = drive(task, dataset, protocol, perfect(root))  # type: ignore[arg-type]
    assert [row.sample_id for row in rows] == ["i:391895", "i:522418", "i:184613"] + [
        f"t:{i}" for i in (0, 1, 2, 10, 11, 20, 21)
    ]
    assert {row.slices["direction"] for row in rows[:3]} == {"image_to_text"}
    assert [row.image_id for row in rows[3:]] == ["391895"] * 3 + ["522418"] * 2 + ["184613"] * 2
    metrics = task.aggregate(rows, dataset)
    assert metrics["image_to_text_recall@1"].value == 1.0
    ranks = {row.sample_id: row.statistics["rank"] for row in rows}
    assert all(ranks[name] == 1 for name in ("t:0", "t:2", "t:10", "t:11", "t:20"))
    assert metrics["text_to_image_recall@5"].value == 1.0
    values = [m.value for name, m in metrics.items() if "recall" in name]
    assert len(values) == 6 and metrics["rsum"].value == pytest.approx(sum(v for v in values if v is not None))
    assert metrics["text_to_image_median_rank"].value == 1.0
    assert not metrics["text_to_image_median_rank"].higher_is_better and metrics["rsum"].higher_is_better


@pytest.mark.parametrize("capabilities", [EMBEDS, frozenset({"match"}), EMBEDS | {"match"}])
@pytest.mark.parametrize("split", [None, "karpathy-test-1k"])
def test_some_queries_have_the_rows_of_all_of_them(
    root: DataRoot, capabilities: frozenset[str], split: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that knows most of it, so that ranks differ; galleries of two images where the split is folded."""
    monkeypatch.setattr("vlbench.tasks.retrieval.FOLD", 2)
    task = CocoRetrieval()
    protocol = task.protocol(capabilities)
    dataset = dataclasses.replace(task.load(root, None, None), split=split or "karpathy-test")
    knows = perfect(root)

    def answer(request: Request) -> Response:
        if isinstance(request, EmbedText) and len(request.text) % 2:
            return Embedding(np.array([1.0, 0.5, 0.25], dtype=np.float32))
        response: Response = knows(request)  # type: ignore[operator]
        return response

    rows = drive(task, dataset, protocol, answer)
    for metric, places in (("text_to_image_recall@1", [5, 0, 3]), ("image_to_text_recall@5", [2, 0])):
        own = task.followed(rows, metric)
        rounds = task.rounds_of(dataset, protocol, metric, places)
        asked = next(rounds)
        seen = []
        while True:
            seen += asked
            try:
                asked = rounds.send({request.key: answer(request) for request in asked})
            except StopIteration as stop:
                assert stop.value == [own[place] for place in places]
                break
        if capabilities == EMBEDS and metric.startswith("text"):
            assert len({request.text for request in seen if isinstance(request, EmbedText)}) <= len(places)
    with pytest.raises(UsageError, match=r"follows the recall@K of one direction of coco_retrieval, not rsum"):
        task.followed(rows, "rsum")


def test_texts_are_stripped_and_equal_ones_asked_once(root: DataRoot) -> None:
    task = CocoRetrieval()
    dataset = task.load(root, None, None)
    requests = list(next(task.rounds(dataset, task.protocol(EMBEDS))))
    texts = [r.text for r in requests if isinstance(r, EmbedText)]
    assert texts[:2] == ["A man with a red helmet on a small moped.", "Man riding a motor bike."]
    assert len([r for r in requests if isinstance(r, EmbedImage)]) == 3


def test_protocols_follow_the_capabilities() -> None:
    assert CocoRetrieval().protocol(EMBEDS | {"match", "generate"}).name == "embed+match-top16"
    assert CocoRetrieval({"rerank": "3"}).protocol(EMBEDS | {"match"}).name == "embed+match-top3"
    assert CocoRetrieval({"rerank": "0"}).protocol(EMBEDS | {"match"}).name == "embed"
    assert CocoRetrieval().protocol(frozenset({"match"})).name == "match"
    with pytest.raises(UnsupportedTask, match="coco_retrieval needs embed_images and embed_texts, or match"):
        CocoRetrieval().protocol(frozenset({"generate", "embed_texts"}))
    for bad in ("-1", "x", "1.5"):
        with pytest.raises(UsageError, match=f"coco_retrieval:rerank={bad}"):
            CocoRetrieval({"rerank": bad})


def test_reranking_asks_for_the_best_candidates_only_and_follows_the_match(root: DataRoot) -> None:
    """The embedding is collapsed, the matcher perfect: right where the right item got among the two candidates."""
    task = CocoRetrieval({"rerank": "2"})
    dataset = task.load(root, None, None)
    protocol = task.protocol(EMBEDS | {"match"})
    asked: list[Match] = []
    matcher = perfect(root)

    def answer(request: Request) -> Response:
        if isinstance(request, Match):
            asked.append(request)
            return matcher(request)  # type: ignore[operator, no-any-return]
        return Embedding(np.ones(3, dtype=np.float32))

    rows = drive(task, dataset, protocol, answer)
    assert len(asked) == 2 * (3 + 7)
    for row in rows[3:]:
        if row.sample_id in ("t:1", "t:21"):
            continue
        inside = row.statistics["g"] == 0
        assert row.statistics["rank"] == (1.0 if inside else 3.0)
    assert {row.statistics["rank"] for row in rows[3:]} == {1.0, 3.0}


def test_a_failed_match_fails_its_queries(root: DataRoot) -> None:
    task = CocoRetrieval()
    dataset = task.load(root, None, None)
    matcher = perfect(root)

    def answer(request: Request) -> Response:
        if isinstance(request, Match) and request.text == "A dirt path." and colour(request) == 1:
            return Failure("out of memory")
        return matcher(request)  # type: ignore[operator, no-any-return]

    for capabilities in (EMBEDS | {"match"}, frozenset({"match"})):
        rows = {row.sample_id: row for row in drive(task, dataset, task.protocol(capabilities), answer)}
        failed = {name for name, row in rows.items() if row.status == "failed"}
        assert failed == {"t:2", "i:522418"}, "the pair is of this image and this text"
        assert all("out of memory" in rows[name].reason for name in failed)
        assert rows["t:2"].scores == dict.fromkeys([f"text_to_image_recall@{k}" for k in (1, 5, 10)], 0.0)
        assert rows["t:2"].statistics["rank"] == math.inf


@pytest.mark.parametrize("capabilities", [EMBEDS, frozenset({"match"})])
def test_a_failed_image_takes_its_captions_with_it_and_no_others(root: DataRoot, capabilities: frozenset[str]) -> None:
    task = CocoRetrieval()
    dataset = task.load(root, None, None)
    good = perfect(root)

    def answer(request: Request) -> Response:
        if isinstance(request, (EmbedImage, Match)) and colour(request) == 1:
            return Failure("truncated file")
        return good(request)  # type: ignore[operator, no-any-return]

    rows = {row.sample_id: row for row in drive(task, dataset, task.protocol(capabilities), answer)}
    assert {name for name, row in rows.items() if row.status == "failed"} == {"i:522418", "t:10", "t:11"}
    assert all("truncated file" in rows[name].reason for name in ("i:522418", "t:10", "t:11"))
    assert rows["i:391895"].statistics["rank"] == 1.0


def test_a_failed_caption_is_never_retrieved(root: DataRoot) -> None:
    task = CocoRetrieval()
    dataset = task.load(root, None, None)
    good = perfect(root)

    def answer(request: Request) -> Response:
        if isinstance(request, EmbedText) and "cake" in request.text:
            return Failure("too long")
        return good(request)  # type: ignore[operator, no-any-return]

    rows = {row.sample_id: row for row in drive(task, dataset, task.protocol(EMBEDS), answer)}
    assert {name for name, row in rows.items() if row.status == "failed"} == {"i:522418", "t:10", "t:11"}
    assert rows["i:522418"].reason == "its captions failed: too long"
    metrics = task.aggregate(list(rows.values()), dataset)
    assert metrics["image_to_text_recall@10"].value == pytest.approx(2 / 3)


def test_all_pairs_are_refused_above_the_limit_before_anything_runs(root: DataRoot) -> None:
    task = CocoRetrieval({"max_pairs": "20"})
    task.protocol(frozenset({"match"}))
    with pytest.raises(UsageError, match=r"21 pairs, above the limit of 20; .*coco_retrieval:max_pairs=21"):
        task.load(root, None, None)
    assert task.load(root, None, 2).counts == {"images": 2, "captions": 5}
    task.protocol(EMBEDS)
    assert task.load(root, None, None).counts["captions"] == 7


def test_a_smaller_gallery_is_noted(root: DataRoot) -> None:
    task = CocoRetrieval()
    (note,) = task.notes(task.load(root, None, None), None)
    assert "3 images and 7 captions" in note and "easier" in note


def test_rows_hold_what_a_table_and_an_interval_need(root: DataRoot) -> None:
    task = CocoRetrieval()
    dataset = task.load(root, None, None)
    row = drive(task, dataset, task.protocol(EMBEDS), perfect(root))[3]  # type: ignore[arg-type]
    assert set(row.statistics) == {"rank", "g", "e", "p"} and row.response == "i:391895"
    json.dumps([row.scores, row.slices, row.statistics])


def test_real_photographs_by_a_model_of_numbers(realdata: Path) -> None:
    """The signature holds the counts, and reranking is another protocol."""
    task = CocoRetrieval()
    root = DataRoot(realdata / "coco_photos")
    dataset = task.load(root, None, None)
    lines = {
        signature(task, dataset, task.protocol(capabilities), None)
        for capabilities in (EMBEDS, EMBEDS | {"match"}, frozenset({"match"}))
    }
    assert len(lines) == 3
    assert all(line.startswith("coco_retrieval:1|coco:karpathy-test|n:23|captions:115|") for line in lines)
