"""Retrieval by the COCO, CxC and ECCV Caption ground truths against the official scorer, from PyPI."""

from __future__ import annotations

import dataclasses
import importlib.util
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from vlbench.data.coco import captions_dataset, load_references
from vlbench.data.eccv import load_truths
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError, UsageError
from vlbench.tasks.retrieval import CocoRetrieval
from vlbench.tasks.retrieval_files import RankedLists
from vlbench.types import Caption, CaptionedImage, Dataset, ImageRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    Ids = dict[int, list[int]]

if importlib.util.find_spec("eccv_caption") is None:
    pytest.skip("eccv-caption is not installed (pip install 'vlbench[eccv]')", allow_module_level=True)

LISTED = 64
"""Longer than the most right items of a query, which are 48."""


@pytest.fixture(scope="module")
def official() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that ujson is not there
        from eccv_caption import Metrics  # type: ignore[import-not-found, unused-ignore]

        return Metrics()


@pytest.fixture(scope="module")
def dataset(official: Any, tmp_path_factory: pytest.TempPathFactory) -> Dataset[CaptionedImage]:
    """The 5,000 images with five captions each, in the official order."""
    folder = LocalFolder(tmp_path_factory.mktemp("none"))
    captions: Ids = {}
    for caption in official.coco_ids.tolist():
        captions.setdefault(official.coco_gts["t2i"][caption][0], []).append(caption)
    samples = tuple(
        CaptionedImage(
            str(image), ImageRef(folder, f"{image}.jpg"), tuple(Caption(str(c), f"caption {c}") for c in own)
        )
        for image, own in captions.items()
    )
    return captions_dataset("coco", "karpathy-test", samples, {})


def rankings(queries: Iterable[int], gallery: Sequence[int], right: Sequence[Ids], random: np.random.Generator) -> Ids:
    """Draw a list for each query: right items of any truth among others, in random order."""
    lists: Ids = {}
    inside = set(gallery)
    for query in queries:
        good = [item for truth in right for item in truth.get(query, ()) if item in inside]
        kept = random.permutation(good)[: random.integers(0, len(good) + 1)].tolist()
        others = [gallery[i] for i in random.integers(0, len(gallery), LISTED)]
        mixed = random.permutation(list(dict.fromkeys(kept + others)))[:LISTED].tolist()
        # Of most queries the first item is a right one; else recall@1 would be near 0.
        head = kept[:1] if random.random() < 0.6 else []
        lists[query] = list(dict.fromkeys(head + mixed))
    return lists


def values(lists: tuple[Ids, Ids], dataset: Dataset[CaptionedImage], **arguments: str) -> dict[str, float]:
    """Return the task's metrics of ranked lists."""
    images = [int(sample.image_id) for sample in dataset.samples]
    captions = [int(caption.caption_id) for sample in dataset.samples for caption in sample.captions]
    places = [{name: number for number, name in enumerate(ids)} for ids in (captions, images)]
    given = RankedLists(
        path=dataset.samples[0].image.source.path,  # type: ignore[attr-defined]
        lists=(
            [np.array([places[0][item] for item in lists[0][query]]) for query in images],
            [np.array([places[1][item] for item in lists[1][query]]) for query in captions],
        ),
    )
    task = CocoRetrieval(arguments)
    metrics = task.aggregate(task.score_predictions(given, dataset), dataset)
    return {name: metric.value for name, metric in metrics.items() if metric.value is not None}


def both(name: str, scores: dict[str, float]) -> dict[str, float]:
    prefix, _, metric = name.rpartition("/")
    ways = {"i2t": "image_to_text", "t2i": "text_to_image"}
    return {f"{prefix}{ways[way]}_{metric}": float(value) for way, value in scores.items()}


def test_30000_queries_score_as_the_official_scorer_has_them(
    official: Any, dataset: Dataset[CaptionedImage], record_property: Any
) -> None:
    random = np.random.default_rng(0)
    truths = official.coco_gts, official.cxc_gts, official.eccv_gts
    images = [int(sample.image_id) for sample in dataset.samples]
    captions = official.coco_ids.tolist()
    i2t = rankings(images, captions, [truth["i2t"] for truth in truths], random)
    t2i = rankings(captions, images, [truth["t2i"] for truth in truths], random)
    targets = ["coco_5k_recalls", "cxc_recalls", "eccv_map_at_r", "eccv_rprecision", "eccv_r1"]
    scores = official.compute_all_metrics(i2t, t2i, targets, (1, 5, 10))
    expected = {}
    for k in (1, 5, 10):
        expected |= both(f"/recall@{k}", scores[f"coco_5k_r{k}"]) | both(f"cxc_/recall@{k}", scores[f"cxc_r{k}"])
    expected |= both("eccv_/map@R", scores["eccv_map_at_r"])
    expected |= both("eccv_/r_precision", scores["eccv_rprecision"]) | both("eccv_/recall@1", scores["eccv_r1"])
    ours = values((i2t, t2i), dataset, eccv="on")
    assert len(expected) == 18 and all(0.05 < value < 0.99 for value in expected.values())
    largest = max(abs(ours[name] - value) for name, value in expected.items())
    record_property("largest difference", largest)
    assert largest < 1e-12


def test_five_folds_of_1000_images_score_as_the_official_scorer_has_them(
    official: Any, dataset: Dataset[CaptionedImage]
) -> None:
    random = np.random.default_rng(1)
    images = [int(sample.image_id) for sample in dataset.samples]
    captions = official.coco_ids.tolist()
    i2t: Ids = {}
    t2i: Ids = {}
    for fold in range(5):
        own = images[1000 * fold : 1000 * (fold + 1)], captions[5000 * fold : 5000 * (fold + 1)]
        i2t |= rankings(own[0], own[1], [official.coco_gts["i2t"]], random)
        t2i |= rankings(own[1], own[0], [official.coco_gts["t2i"]], random)
    expected = {}
    for k in (1, 5, 10):
        scores = official.coco_1k_recalls({"i2t": i2t, "t2i": t2i}, "all", K=k)
        expected |= both(f"/recall@{k}", scores)
    folded = dataclasses.replace(dataset, split="karpathy-test-1k")
    ours = values((i2t, t2i), folded)
    assert {name: ours[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert ours["rsum"] == pytest.approx(sum(expected.values()))


def test_captions_without_official_ids_are_told_by_their_places(
    official: Any, dataset: Dataset[CaptionedImage], tmp_path: Path
) -> None:
    """``coco_karpathy_test.json`` has no caption ids, and a sixth caption of ten images, which is in no truth."""
    from tests.support import layouts

    rows = [
        {"image": f"val2014/COCO_val2014_{int(s.image_id):012d}.jpg", "caption": [c.text for c in s.captions]}
        for s in dataset.samples
    ]
    for row in rows[:10]:
        row["caption"] = [*row["caption"], "one more"]
    layouts.write(tmp_path / "coco_karpathy_test.json", rows)
    short = load_references(tmp_path / "coco_karpathy_test.json")
    by_number = [c for sample in short.samples for c in sample.captions]
    for truth, plain in zip(load_truths(short), load_truths(dataset), strict=True):
        assert len(truth.captions) == 25_000 and truth.name == plain.name
        assert [by_number[n].text for n in truth.captions.tolist()] == [f"caption {c}" for c in official.coco_ids]
        assert list(truth.captions_of) == list(plain.captions_of)
        moved = {int(n): place for place, n in enumerate(truth.captions)} | {-1: -1}
        assert [[moved[n] for n in right] for right in truth.captions_of.values()] == list(plain.captions_of.values())
    eccv = load_truths(dataset)[0]
    assert sum(item == -1 for right in eccv.captions_of.values() for item in right) == 2, "of 22,550"


def test_the_whole_split_is_needed(dataset: Dataset[CaptionedImage]) -> None:
    task = CocoRetrieval({"eccv": "on"})
    few = dataclasses.replace(dataset, samples=dataset.samples[:-1])
    with pytest.raises(DataError, match="need the whole karpathy-test split; images are missing: "):
        load_truths(few)
    cut = dataclasses.replace(dataset.samples[0], captions=dataset.samples[0].captions[1:])
    few = dataclasses.replace(dataset, samples=(cut, *dataset.samples[1:]))
    with pytest.raises(DataError, match="need the whole karpathy-test split; captions are missing: 770337"):
        load_truths(few)
    with pytest.raises(UsageError, match="eccv=on ranks the whole split; choose --split karpathy-test"):
        task._truths(dataclasses.replace(dataset, split="karpathy-test-1k"))
