"""Bounds of a drop by what was not drawn, for every kind of metric."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.support.results import result
from vlbench.stats.drop import population_drop, unseen_share
from vlbench.stats.estimators import _RECALLS
from vlbench.types import SampleRow

ALPHA = 0.05
THREE = -math.log(ALPHA)


def high(metric: str, value: float, rows: list[SampleRow]) -> float:
    """The upper bound of the drop of a model from itself, on which the bootstrap has no width."""
    made = result({metric: value}, task={"name": "made"})
    drop = population_drop((made, made), (rows, rows), metric, ALPHA, draws=20)
    assert drop.low == -drop.high and drop.value == 0.0
    return drop.high


def row(image: int, number: int, scores: dict[str, float], **slices: str) -> SampleRow:
    return SampleRow(f"{image}-{number}", f"{image}", "x", "ok", scores, slices)


def queries(images: int) -> list[SampleRow]:
    """Retrieval without a fault: one query of each image and two of its texts."""
    ways = ("image_to_text", "text_to_image", "text_to_image")
    return [
        row(image, number, {name: 1.0 for name in _RECALLS if name.startswith(way)}, direction=way)
        for image in range(images)
        for number, way in enumerate(ways)
    ]


def test_what_was_not_drawn_bounds_every_metric_of_a_known_range() -> None:
    asked = [row(i, j, {"accuracy": 1.0}, kind="ab"[j]) for i in range(40) for j in range(2)]
    assert high("accuracy", 1.0, asked) == pytest.approx(THREE / 40)
    # Half of the images have a question of kind b, and each can lose only that one.
    some = [one for one in asked if one.slices["kind"] == "a" or int(one.image_id) < 20]
    assert high("accuracy/kind/b", 1.0, some) == pytest.approx(THREE / 20)
    # One image has 10 of the 49 questions: another one like it could cost as many.
    heavy = [row(i, j, {"accuracy": 1.0}) for i in range(40) for j in range(10 if i == 0 else 1)]
    assert high("accuracy", 1.0, heavy) == pytest.approx(THREE * 10 / 49)
    assert high("CIDEr", 0.5, [row(i, 0, {"CIDEr": 0.5}) for i in range(40)]) == pytest.approx(10 * THREE / 40)
    # Each direction has its own queries; their sum can lose all six recalls.
    assert high("text_to_image_recall@1", 1.0, queries(40)) == pytest.approx(THREE / 40)
    assert high("rsum", 6.0, queries(40)) == pytest.approx(6 * THREE / 40)
    # A mean over two classes: an image of the class of ten weighs three times as much as one of the class of thirty.
    classes = [row(i, 0, {"accuracy@1": 1.0}, label="rare" if i < 10 else "usual") for i in range(40)]
    assert high("mean_per_class_recall", 1.0, classes) == pytest.approx(THREE / 20)


def test_ranks_have_no_range_and_few_images_tell_nothing() -> None:
    ranked = [SampleRow(f"{i}", f"{i}", "", "ok", {}, {"direction": "text_to_image"}, {"rank": 3.0}) for i in range(40)]
    assert high("text_to_image_mean_rank", 3.0, ranked) == 0.0
    assert unseen_share(np.ones(2), ALPHA) == 1.0


def test_a_model_that_fails_on_a_few_images_seldom_passes() -> None:
    """Of 30 images with 2 % failures most show none or one; the bootstrap alone passed half of such models."""
    random = np.random.default_rng(0)
    passed = 0
    for _ in range(40):
        lost = random.random(30) < 0.02
        rows = [[row(i, 0, {"accuracy": float(not (bad and lost[i]))}) for i in range(30)] for bad in (False, True)]
        made = [result({"accuracy": 1.0 - bad * float(lost.mean())}, task={"name": "made"}) for bad in (False, True)]
        drop = population_drop((made[0], made[1]), (rows[0], rows[1]), "accuracy", ALPHA, draws=100)
        passed += drop.high <= 0.01
    assert passed == 0
