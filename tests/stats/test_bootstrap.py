from __future__ import annotations

import numpy as np
import pytest

from vlbench.metrics.captions import score_captions
from vlbench.stats.bootstrap import effective_images, intervals, resampled, wilson
from vlbench.stats.estimators import Samples, estimators
from vlbench.types import SampleRow


def row(sample: str, image: str, slices: dict[str, str | int] | None = None, **scores: float) -> SampleRow:
    return SampleRow(sample, image, "", "ok", scores, slices or {})


def questions(values: dict[str, list[float]]) -> list[SampleRow]:
    return [row(f"{image}-{i}", image, accuracy=v) for image, vs in values.items() for i, v in enumerate(vs)]


def test_images_are_drawn_whole() -> None:
    """Two images, one all right and one all wrong: a draw has 0, 1 or their mean, never a part of an image."""
    rows = questions({"a": [1.0, 1.0], "b": [0.0, 0.0]})
    ((estimator, columns),) = estimators(Samples(rows), {"accuracy": 0.5})
    weights = np.concatenate(list(resampled(2, 200, "")))
    assert set(estimator.compute(weights)[:, columns[0]]) == {0.0, 0.5, 1.0}
    assert (weights.sum(axis=1) == 2).all()
    assert intervals(rows, {"accuracy": 0.5}) == {"accuracy": (0.0, 1.0)}


def test_the_standard_error_is_that_of_clusters() -> None:
    random = np.random.default_rng(0)
    scores = random.random(400)
    rows = questions({f"{i:03d}": [score] * 5 for i, score in enumerate(scores)})
    (low, high) = intervals(rows, {"accuracy": float(scores.mean())}, 4000)["accuracy"]
    expected = 2 * 1.96 * scores.std() / np.sqrt(400)
    assert high - low == pytest.approx(expected, rel=0.05)


def test_the_order_of_rows_decides_nothing_and_the_key_decides_the_draws() -> None:
    rows = questions({f"{i}": [float(i % 3 == 0), 0.3] for i in range(40)})
    value = {"accuracy": float(np.mean([r.scores["accuracy"] for r in rows]))}
    one = intervals(rows, value, key="a")
    assert intervals(rows[::-1], value, key="a")["accuracy"] == pytest.approx(one["accuracy"], abs=1e-12)
    assert intervals(rows, value, key="b") != one


@pytest.mark.parametrize(("score", "expected"), [(1.0, (0.7225, 1.0)), (0.0, (0.0, 0.2775))])
def test_at_the_ends_ten_images_count_as_ten(score: float, expected: tuple[float, float]) -> None:
    rows = questions({f"{i}": [score] * 4 for i in range(10)})
    assert intervals(rows, {"accuracy": score})["accuracy"] == pytest.approx(expected, abs=1e-4)


def test_a_value_that_the_rows_do_not_give_has_no_interval() -> None:
    rows = questions({"a": [1.0, 0.0], "b": [0.0, 1.0]})
    assert intervals(rows, {"accuracy": 0.75, "f1": 0.5}) == {}
    assert intervals(rows, {"accuracy": 0.5}, draws=0) == {}
    assert intervals([], {"accuracy": 0.5}) == {}


def test_wilson_and_kish() -> None:
    # 81 of 263 with z = 1.96, the example of Newcombe (1998), method 3.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert effective_images(np.array([1.0, 1.0, 1.0])) == 3.0


def test_slices_folds_and_classes() -> None:
    rows = [
        row(f"{i}", f"{i}", {"kind": "a" if i < 3 else "b"}, **{"accuracy": float(i % 2), "accuracy@1": float(i % 2)})
        for i in range(9)
    ]
    macro = (1 / 3 + 1 / 2) / 2
    values = {"accuracy": 4 / 9, "accuracy/kind/a": 1 / 3, "accuracy/kind/b": 1 / 2, "mean_per_class_recall": macro}
    assert set(intervals(rows, values)) == set(values)
    assert set(intervals(rows, {"accuracy": macro})) == {"accuracy"}


def retrieval() -> tuple[list[SampleRow], dict[str, float]]:
    random = np.random.default_rng(1)
    rows, values = [], {}
    for direction, each in (("image_to_text", 1), ("text_to_image", 5)):
        ranks = random.integers(1, 15, 30 * each)
        for i, rank in enumerate(ranks.tolist()):
            scores = {f"{direction}_recall@{k}": float(rank <= k) for k in (1, 5, 10)}
            slices: dict[str, str | int] = {"direction": direction}
            rows.append(SampleRow(f"{direction}{i}", f"{i // each}", "", "ok", scores, slices, {"rank": float(rank)}))
        values |= {f"{direction}_recall@{k}": float(np.mean(ranks <= k)) for k in (1, 5, 10)}
    values["rsum"] = sum(values.values())
    for direction in ("image_to_text", "text_to_image"):
        own = [r.statistics["rank"] for r in rows if r.slices["direction"] == direction]
        values[f"{direction}_median_rank"] = float(np.floor(np.median(own) - 1) + 1)
        values[f"{direction}_mean_rank"] = float(np.mean(own))
    return rows, values


def test_retrieval_has_intervals_of_recalls_ranks_and_rsum() -> None:
    rows, values = retrieval()
    found = intervals(rows, values)
    assert set(found) == set(values)
    assert all(low <= values[name] <= high and low < high for name, (low, high) in found.items())


def test_rsum_varies_as_the_sum_of_its_parts_does() -> None:
    rows, values = retrieval()
    samples = Samples(rows)
    weights = np.concatenate(list(resampled(samples.count, 50, "")))
    columns = {}
    for estimator, keep in estimators(samples, values):
        columns |= {estimator.names[i]: estimator.compute(weights)[:, i] for i in keep}
    total = sum(columns[name] for name in columns if "recall" in name)
    assert columns["rsum"] == pytest.approx(total)


def test_a_median_under_weights_is_that_of_the_rows_written_out() -> None:
    rows, values = retrieval()
    samples = Samples(rows)
    name = "text_to_image_median_rank"
    ((estimator, _),) = estimators(samples, {name: values[name]})
    for weights in np.concatenate(list(resampled(samples.count, 20, ""))):
        ranks = [
            r.statistics["rank"]
            for r, image in zip(rows, samples.images, strict=True)
            if r.slices["direction"] == "text_to_image"
            for _ in range(int(weights[image]))
        ]
        assert estimator.compute(weights[None])[0, 0] == np.floor(np.median(ranks) - 1) + 1


CANDIDATES = ["a red car", "a dog on grass", "two cats", "a man with a hat", "the sea"]
REFERENCES = [["a red car on a road"], ["a dog runs on the grass"], ["two small cats"], ["a woman"], ["the blue sea"]]


def captions() -> tuple[list[SampleRow], dict[str, float]]:
    ids = [str(i) for i in range(5)]
    scored = score_captions(
        dict(zip(ids, CANDIDATES, strict=True)), dict(zip(ids, REFERENCES, strict=True)), meteor="off", spice="off"
    )
    rows = [
        SampleRow(i, i, "", "ok", {name: v[n] for name, v in scored.per_image.items()}, {}, scored.statistics[n])
        for n, i in enumerate(ids)
    ]
    return rows, {name: value for name, value in scored.corpus.items() if value is not None}


def test_bleu_of_a_draw_is_bleu_of_the_corpus_written_out() -> None:
    rows, values = captions()
    assert set(intervals(rows, values)) >= {"Bleu_1", "Bleu_4", "CIDEr", "ROUGE_L"}
    samples = Samples(rows)
    estimator, _ = estimators(samples, values)[0]
    drawn = [0, 0, 2, 4, 4]
    ids = [str(i) for i in range(5)]
    again = score_captions(
        dict(zip(ids, [CANDIDATES[i] for i in drawn], strict=True)),
        dict(zip(ids, [REFERENCES[i] for i in drawn], strict=True)),
        meteor="off",
        spice="off",
    )
    got = dict(zip(estimator.names, estimator.compute(np.array([[2.0, 0, 1, 0, 2]]))[0], strict=True))
    for name in ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L"):
        assert got[name] == pytest.approx(again.corpus[name], abs=1e-12)


def test_ranks_that_are_all_one_are_no_shares() -> None:
    slices = {"direction": "text_to_image"}
    rows = [SampleRow(f"t:{i}", f"{i}", "", "ok", {}, slices, {"rank": 1.0}) for i in range(20)]
    assert intervals(rows, {"text_to_image_mean_rank": 1.0}) == {}
