"""VQA accuracy against recorded outputs of the official scorer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from vlbench.metrics.vqa import aggregate, normalize_answer, normalize_punctuation, vqa_accuracy

if TYPE_CHECKING:
    from pathlib import Path


def test_accuracy_of_2500_awkward_questions(oracles: Path) -> None:
    with (oracles / "vqa_accuracy.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert len(rows) == 2500
    ours = [vqa_accuracy(row["prediction"], row["answers"]) for row in rows]
    assert max(abs(mine - row["accuracy"]) for mine, row in zip(ours, rows, strict=True)) <= 1e-9

    summary = json.loads((oracles / "vqa_accuracy.summary.json").read_text())
    scores = aggregate(ours, [row["answer_type"] for row in rows], [row["question_type"] for row in rows])
    assert scores.overall is not None
    assert 100 * scores.overall == pytest.approx(summary["overall"], abs=1e-9)
    for name, means in (("perAnswerType", scores.per_answer_type), ("perQuestionType", scores.per_question_type)):
        assert {key: 100 * mean for key, mean in means.items()} == pytest.approx(summary[name], abs=1e-9)


def test_normalisation_vectors(realdata: Path) -> None:
    vectors = json.loads((realdata / "vqav2" / "normalisation_vectors.json").read_text(encoding="utf-8"))
    assert len(vectors) == 368
    assert [normalize_punctuation(vector["in"]) for vector in vectors] == [vector["punct_only"] for vector in vectors]
    assert [normalize_answer(vector["in"]) for vector in vectors] == [vector["out"] for vector in vectors]


@pytest.mark.parametrize(
    ("name", "overall"),
    [("results_mc_answer", 98.40), ("results_answer3", 90.10), ("results_yes", 23.30), ("results_noisy", 67.40)],
)
def test_real_questions(realdata: Path, name: str, overall: float) -> None:
    folder = realdata / "vqav2"
    annotations: list[dict[str, Any]] = json.loads((folder / "v2_mscoco_val2014_annotations.json").read_text())[
        "annotations"
    ]
    given = {row["question_id"]: row["answer"] for row in json.loads((folder / f"{name}.json").read_text())}
    expected = json.loads((folder / "expected_official_scores.json").read_text())[name]
    ours = [
        vqa_accuracy(given[row["question_id"]], [answer["answer"] for answer in row["answers"]]) for row in annotations
    ]
    assert {str(row["question_id"]): 100 * score for row, score in zip(annotations, ours, strict=True)} == (
        pytest.approx(expected["evalQA"], abs=1e-2)  # the official scorer rounds each question to two places
    )
    scores = aggregate(ours, [row["answer_type"] for row in annotations], [row["question_type"] for row in annotations])
    exact = expected["accuracy_n15"]
    assert scores.overall is not None
    assert round(100 * scores.overall, 2) == overall
    assert 100 * scores.overall == pytest.approx(exact["overall"], abs=1e-9)
    assert {k: 100 * v for k, v in scores.per_answer_type.items()} == pytest.approx(exact["perAnswerType"], abs=1e-9)
    assert {k: 100 * v for k, v in scores.per_question_type.items()} == pytest.approx(
        exact["perQuestionType"], abs=1e-9
    )
