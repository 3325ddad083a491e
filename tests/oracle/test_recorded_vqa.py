"""100 real questions of VQA v2 with the official scorer's numbers, overall and by type."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import vlbench

if TYPE_CHECKING:
    from pathlib import Path

PUBLISHED = {"mc_answer": 98.40, "answer3": 90.10, "yes": 23.30, "noisy": 67.40}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_official_numbers_of_100_real_questions(realdata: Path, name: str) -> None:
    folder = realdata / "vqav2"
    arguments = ("--task", "vqa", "--predictions", folder / f"results_{name}.json", "--data", folder, "--json")
    done = vlbench("score", *arguments)
    assert done.returncode == 0, done.stderr
    (printed,) = json.loads(done.stdout)
    percent = {key: 100 * metric["value"] for key, metric in printed["metrics"].items() if key != "strict"}
    exact = json.loads((folder / "expected_official_scores.json").read_text())[f"results_{name}"]["accuracy_n15"]
    assert round(percent["accuracy"], 2) == PUBLISHED[name]
    assert percent == pytest.approx(
        {
            "accuracy": exact["overall"],
            **{f"accuracy/answer_type/{key}": value for key, value in exact["perAnswerType"].items()},
            **{f"accuracy/question_type/{key}": value for key, value in exact["perQuestionType"].items()},
        },
        abs=1e-9,
    )
