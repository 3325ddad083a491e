"""Retrieval from a matrix and from ranked lists, in folds, and by other ground truths."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.support import layouts
from tests.support.cli import vlbench
from vlbench.data.coco import load_coco
from vlbench.data.eccv import Truth, load_truths
from vlbench.data.source import DataRoot, LocalFolder
from vlbench.errors import DataError, UsageError
from vlbench.metrics.precision import Placement
from vlbench.tasks import retrieval
from vlbench.tasks.retrieval import CocoRetrieval, Flickr8kRetrieval
from vlbench.tasks.retrieval_rounds import Queries, embed, match_all
from vlbench.tasks.retrieval_truths import extended_scores
from vlbench.testing import TaskContract
from vlbench.testing.tasks import arbitrary, drive
from vlbench.types import Caption, CaptionedImage, Dataset, Failure, ImageRef, Match, MatchScore, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from vlbench.tasks.retrieval_rounds import Exchange, Outcomes
    from vlbench.types import Metric, SampleRow

EMBEDS = frozenset({"embed_images", "embed_texts"})


class TestFlickr8kRetrievalContract(TaskContract):
    @pytest.fixture
    def task(self) -> Flickr8kRetrieval:
        return Flickr8kRetrieval()

    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        layouts.flickr8k(tmp_path)
        return DataRoot(tmp_path)


class TestCoco2017RetrievalContract(TaskContract):
    @pytest.fixture
    def task(self) -> CocoRetrieval:
        return CocoRetrieval()

    @pytest.fixture
    def root(self, tmp_path: Path) -> DataRoot:
        layouts.coco2017(tmp_path / "coco")
        return DataRoot(tmp_path)

    def test_the_images_are_found(self, task: CocoRetrieval, root: DataRoot) -> None:
        dataset = task.load(root, None, None)
        assert dataset.split == "val2017" and [s.image.load().size for s in dataset.samples] == [(8, 6)] * 3


def made(folder: Path, images: int, captions: int = 2) -> Dataset[CaptionedImage]:
    """Images of which the last has one caption more."""
    samples = tuple(
        CaptionedImage(
            str(i),
            ImageRef(LocalFolder(folder), f"{i}.jpg"),
            tuple(Caption(f"{i}-{k}", f"caption {i} {k}") for k in range(captions + (i == images - 1))),
        )
        for i in range(images)
    )
    counts = {"images": images, "captions": images * captions + 1}
    return Dataset("coco", "karpathy-test", samples, counts, {}, "sha256:0")


def numbers(task: CocoRetrieval, rows: list[SampleRow], dataset: Dataset[CaptionedImage]) -> dict[str, float | None]:
    metrics: Mapping[str, Metric] = task.aggregate(rows, dataset)
    return {name: metric.value for name, metric in metrics.items()}


def scored(task: CocoRetrieval, path: Path, dataset: Dataset[CaptionedImage]) -> dict[str, float | None]:
    return numbers(task, task.score_predictions(task.predictions(path, dataset), dataset), dataset)


def lists_of(scores: np.ndarray, dataset: Dataset[CaptionedImage]) -> dict[str, dict[str, list[str]]]:
    images = [s.image_id for s in dataset.samples]
    captions = [c.caption_id for s in dataset.samples for c in s.captions]
    return {
        "image_to_text": {i: [captions[c] for c in np.argsort(-row)] for i, row in zip(images, scores, strict=True)},
        "text_to_image": {c: [images[i] for i in np.argsort(-row)] for c, row in zip(captions, scores.T, strict=True)},
    }


def test_a_matrix_and_lists_of_the_same_ranking_score_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlbench.tasks.retrieval_files.strip_queries", lambda items: 100 // items + 1)  # several blocks
    dataset = made(tmp_path, 30)
    scores = np.random.default_rng(0).permutation(30 * 61).reshape(30, 61).astype(np.float32)
    scores[np.arange(30), 2 * np.arange(30)] += 1200
    np.save(tmp_path / "scores.npy", scores)
    np.savez(tmp_path / "scores.npz", scores)
    np.save(tmp_path / "columns_first.npy", np.asfortranarray(scores))
    layouts.write(tmp_path / "lists.json", lists_of(scores, dataset))
    task = CocoRetrieval()
    first = scored(task, tmp_path / "scores.npy", dataset)
    for name in ("scores.npz", "columns_first.npy", "lists.json"):
        assert scored(task, tmp_path / name, dataset) == first
    hits = (scores.argmax(axis=0) == np.minimum(np.arange(61) // 2, 29)).mean()
    assert first["text_to_image_recall@1"] == pytest.approx(hits) and 0.2 < hits < 0.9
    rows = task.score_predictions(task.predictions(tmp_path / "scores.npy", dataset), dataset)
    assert [row.sample_id for row in rows[:31]] == [f"i:{i}" for i in range(30)] + ["t:0-0"]
    captions = [f"t:{caption.caption_id}" for sample in dataset.samples for caption in sample.captions]
    assert [row.response for row in rows[:30]] == [captions[c] for c in scores.argmax(axis=1)]
    mapped = task.predictions(tmp_path / "scores.npy", dataset)
    assert isinstance(mapped.scores, np.memmap)


def test_ties_in_a_matrix_count_in_expectation(tmp_path: Path) -> None:
    dataset = made(tmp_path, 4)
    np.save(tmp_path / "flat.npy", np.zeros((4, 9), dtype=np.float16))
    values = scored(CocoRetrieval(), tmp_path / "flat.npy", dataset)
    assert values["text_to_image_recall@1"] == 0.25 and values["text_to_image_mean_rank"] == 2.5
    assert values["image_to_text_recall@1"] == pytest.approx((2 + 2 + 2 + 3) / 9 / 4)


def test_what_a_list_does_not_name_has_no_rank(tmp_path: Path) -> None:
    dataset = made(tmp_path, 12)
    lists = lists_of(np.arange(12 * 25, dtype=float).reshape(12, 25) % 25, dataset)
    lists["image_to_text"] = {i: names[:10] for i, names in lists["image_to_text"].items()}
    layouts.write(tmp_path / "lists.json", lists)
    task = CocoRetrieval()
    metrics = task.aggregate(
        task.score_predictions(task.predictions(tmp_path / "lists.json", dataset), dataset), dataset
    )
    assert metrics["image_to_text_recall@10"].value == pytest.approx(5 / 12)
    for name in ("mean", "median"):
        metric = metrics[f"image_to_text_{name}_rank"]
        assert metric.value is None and metric.reason is not None and "list ends before it" in metric.reason
        assert metrics[f"text_to_image_{name}_rank"].value is not None


BREAKS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "one way": (lambda d: d.pop("text_to_image"), "has no 'text_to_image'; it must hold image_to_text and"),
    "a list": (lambda d: d.update(image_to_text=[]), "image_to_text is a list, not an object"),
    "query missing": (
        lambda d: d["text_to_image"].pop("3-1"),
        "text_to_image: 1 of 25 caption ids of the split are not answered: 3-1",
    ),
    "query unknown": (
        lambda d: d["image_to_text"].update({"99": []}),
        "image_to_text: 1 image ids are not in the split: 99",
    ),
    "not a list": (lambda d: d["image_to_text"].update({"2": "3-1"}), "image_to_text[2] is a string, not a list"),
    "item unknown": (lambda d: d["image_to_text"]["2"].append("77"), "[2] names ids that are not in the split: 77"),
    "item twice": (lambda d: d["text_to_image"]["2-0"].append(3), "text_to_image[2-0]: duplicate ids 3"),
    "too short": (
        lambda d: d["text_to_image"].update({"2-0": ["1"]}),
        "text_to_image[2-0] has 1 ids; recall@10 needs the best 10 or more",
    ),
}


@pytest.mark.parametrize("case", BREAKS)
def test_broken_lists_are_named_in_one_line(tmp_path: Path, case: str) -> None:
    dataset = made(tmp_path, 12)
    lists = lists_of(np.random.default_rng(0).random((12, 25)), dataset)
    change, named = BREAKS[case]
    change(lists)
    layouts.write(tmp_path / "lists.json", lists)
    with pytest.raises(DataError) as error:
        CocoRetrieval().predictions(tmp_path / "lists.json", dataset)
    text = str(error.value)
    assert named in text and str(tmp_path / "lists.json") in text and "\n" not in text


def test_broken_matrices_are_named_in_one_line(tmp_path: Path) -> None:
    dataset, path = made(tmp_path, 4), tmp_path / "s.npy"
    odd = np.zeros((4, 9))
    odd[2, 7] = np.nan
    for array, named in (
        (np.zeros((9, 4)), "is 9 x 4; the split has 4 images (rows) x 9 captions (columns)"),
        (np.zeros(36), "is 36; the split has"),
        (np.zeros((4, 9), dtype=np.int64), "holds int64, not floating-point scores"),
        (odd, "the score of image 2 and caption 7 is not a number"),
        (np.full((4, 9), None), "cannot be read as an array of numbers (Array can't be memory-mapped"),
    ):
        np.save(path, array, allow_pickle=True)
        with pytest.raises(DataError) as error:
            scored(CocoRetrieval(), path, dataset)
        assert named in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"s\.npy cannot be read as an array"):
        scored(CocoRetrieval(), path, dataset)
    path.write_bytes(b"torn")
    with pytest.raises(DataError, match=r"s\.npy cannot be read as an array"):
        scored(CocoRetrieval(), path, dataset)
    with pytest.raises(DataError, match=r"no\.npy is missing"):
        scored(CocoRetrieval(), tmp_path / "no.npy", dataset)
    np.savez(tmp_path / "two.npz", a=odd, b=odd)
    with pytest.raises(DataError, match=r"two\.npz holds 2 arrays \(a, b\); it must hold one"):
        scored(CocoRetrieval(), tmp_path / "two.npz", dataset)


def test_score_ranks_a_matrix_with_references_or_a_root(tmp_path: Path) -> None:
    references = layouts.coco(tmp_path / "coco")
    belongs = np.repeat(np.arange(3), [3, 2, 2]) == np.arange(3)[:, None]
    np.save(tmp_path / "mine.npy", belongs.astype(np.float32))
    given = ("score", "--task", "coco_retrieval", "--predictions", tmp_path / "mine.npy", "--json")
    results = []
    for truth in (("--references", references), ("--data", tmp_path)):
        done = vlbench(*given, *truth)
        assert done.returncode == 0, done.stderr
        results += json.loads(done.stdout)
    assert results[0]["signature"] == results[1]["signature"]
    values = {name: metric["value"] for name, metric in results[0]["metrics"].items()}
    assert values["rsum"] == 6.0 and values["image_to_text_mean_rank"] == 1.0
    assert results[0]["model"]["name"] == "mine" and results[0]["samples"]["attempted"] == 10


def test_folds_are_ranked_alone_and_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "FOLD", 10)
    whole = made(tmp_path, 25)
    dataset = dataclasses.replace(whole, split="karpathy-test-1k")
    task = CocoRetrieval()
    rows = drive(task, dataset, task.protocol(EMBEDS), arbitrary)
    ours = numbers(task, rows, dataset)
    parts = []
    for start in (0, 10, 20):
        part = dataclasses.replace(whole, samples=whole.samples[start : start + 10])
        parts.append(numbers(task, drive(task, part, task.protocol(EMBEDS), arbitrary), part))
    for name, value in ours.items():
        assert value == pytest.approx(np.mean([part[name] for part in parts])), name
    assert [row.slices["fold"] for row in rows] == [0] * 30 + [1] * 30 + [2] * 16
    assert len({row.sample_id for row in rows}) == len(rows) == 76
    scores = np.random.default_rng(0).random((25, 51))
    np.save(tmp_path / "all.npy", scores)
    np.save(tmp_path / "last.npy", scores[20:, 40:])
    last = dataclasses.replace(whole, samples=whole.samples[20:], counts={"images": 5, "captions": 11})
    from_file = task.score_predictions(task.predictions(tmp_path / "all.npy", dataset), dataset)
    alone = task.score_predictions(task.predictions(tmp_path / "last.npy", last), last)
    assert [dict(row.scores) for row in from_file[-16:]] == [dict(row.scores) for row in alone]
    assert [row.response for row in from_file[-16:]] == [row.response for row in alone]


def test_a_fold_without_a_median_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "FOLD", 2)
    dataset = dataclasses.replace(made(tmp_path, 4), split="karpathy-test-1k")
    task = CocoRetrieval()

    def answer(request: Request) -> Response:
        return Failure("broken") if "caption 3" in getattr(request, "text", "") else arbitrary(request)

    metrics = task.aggregate(drive(task, dataset, task.protocol(EMBEDS), answer), dataset)
    assert metrics["text_to_image_mean_rank"].value is None and metrics["text_to_image_mean_rank"].reason
    assert metrics["image_to_text_recall@10"].value == pytest.approx((1 + 0.5) / 2)


def test_the_folded_split_is_another_one_of_the_same_captions(tmp_path: Path) -> None:
    layouts.write(tmp_path / "dataset_coco.json", layouts.karpathy_document())
    task = CocoRetrieval()
    folded, whole = (task.load(DataRoot(tmp_path), split, None) for split in ("karpathy-test-1k", "karpathy-test"))
    assert folded.split == "karpathy-test-1k" and folded.samples == whole.samples
    assert folded.fingerprint == whole.fingerprint
    assert task.load_references(tmp_path / "dataset_coco.json", "karpathy-test-1k") == folded
    with pytest.raises(UsageError, match="unknown split 'karpathy-test-1k' of coco"):
        load_coco(LocalFolder(tmp_path), "karpathy-test-1k")
    with pytest.raises(UsageError, match="unknown split 'val2014-1k' of coco"):
        task.load(DataRoot(tmp_path), "val2014-1k", None)


def finish(exchange: Exchange, answer: Callable[[Request], Response]) -> Outcomes:
    requests = next(exchange)
    while True:
        try:
            requests = exchange.send({request.key: answer(request) for request in requests})
        except StopIteration as stop:
            outcomes: Outcomes = stop.value
            return outcomes


def test_other_truths_rank_the_final_order_of_each_protocol(tmp_path: Path) -> None:
    """Re-ranked candidates stand first, in the order of their matches; captions outside the gallery take no part."""
    dataset = made(tmp_path, 6)
    queries = Queries.of(dataset.samples)
    gallery = np.array([0, 1, 2, 3, 5, 6, 8, 9, 11, 12])
    truth = Truth("eccv", {2: [3, 5, -1], 4: [0]}, {7: [0, 3], 1: [5]}, gallery)
    cosine = finish(embed(queries, 0), arbitrary)
    reranked = finish(embed(queries, 4), arbitrary)
    matched = finish(match_all(queries), arbitrary)
    rows = dict(cosine[0].scorer(np.array([2]), np.arange(13)))
    order = np.argsort(-rows[2])
    matches = np.array([arbitrary(queries.match(2, t)).value for t in range(13)])  # type: ignore[attr-defined]
    best, rest = order[:4], order[4:]
    final = {
        "cosine": order,
        "reranked": np.concatenate([best[np.argsort(-matches[best])], rest]),
        "matched": np.argsort(-matches),
    }
    assert len({tuple(ranking) for ranking in final.values()}) == 3
    for name, outcomes in {"cosine": cosine, "reranked": reranked, "matched": matched}.items():
        scores = extended_scores(outcomes, [truth])
        assert [bool(s) for s in scores[0]] == [False, False, True, False, True, False]
        assert [t for t, s in enumerate(scores[1]) if s] == [1, 7]
        ranking = [t for t in final[name] if t in gallery]
        falling = np.array([-ranking.index(t) if t in ranking else np.nan for t in range(13)], dtype=float)
        placement = Placement.of(falling, [3, 5])
        assert scores[0][2] == pytest.approx(
            {
                "eccv_image_to_text_recall@1": placement.hit(1),
                "eccv_image_to_text_map@R": placement.average_precision(3),
                "eccv_image_to_text_r_precision": placement.r_precision(3),
            }
        )


def test_what_failed_scores_0_by_other_truths_and_is_never_found(tmp_path: Path) -> None:
    queries = Queries.of(made(tmp_path, 6).samples)
    truth = Truth("cxc", {2: [3, 5], 4: [0, 8]}, {7: [0, 3], 1: [5]}, np.arange(13))

    def answer(request: Request) -> Response:
        text, name = getattr(request, "text", ""), getattr(request, "image", None)
        broken = text == "caption 0 1" or (name is not None and name.name == "2.jpg")
        if broken:
            return Failure("broken")
        return MatchScore(float(text == "caption 0 0")) if isinstance(request, Match) else arbitrary(request)

    for exchange in (embed(queries, 0), embed(queries, 13), match_all(queries)):
        scores = extended_scores(finish(exchange, answer), [truth])
        assert set(scores[0][2].values()) == {0.0}, "the image failed"
        assert set(scores[1][1].values()) == {0.0}, "the caption failed"
        assert 0 < scores[0][4]["cxc_image_to_text_recall@10"] <= 1


def test_without_the_package_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlbench.data.eccv.PACKAGE", "no_such_package")
    with pytest.raises(DataError, match=r"come with eccv-caption; pip install 'vlbench\[eccv\]'"):
        load_truths(made(tmp_path, 2))
    layouts.coco(tmp_path)
    with pytest.raises(DataError, match="come with eccv-caption"):
        CocoRetrieval({"eccv": "on"}).load(DataRoot(tmp_path), None, None)
    with pytest.raises(UsageError, match="coco_retrieval:eccv=yes is none of: off, on"):
        CocoRetrieval({"eccv": "yes"})
