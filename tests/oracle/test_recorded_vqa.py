"""100 real questions of VQA v2 with the official scorer's numbers, committed, so that they are held everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import layouts
from tests.support.cli import vlbench

RECORDED = json.loads((Path(__file__).parent / "recorded" / "vqa_v2_100.json").read_text(encoding="utf-8"))
PUBLISHED = {"mc_answer": 98.40, "answer3": 90.10, "yes": 23.30, "noisy": 67.40}


def write_root(root: Path) -> None:
    rows = RECORDED["records"]
    names = ("image_id", "question", "question_id")
    questions = [{name: row[name] for name in names} for row in rows]
    annotations = [
        layouts.annotation(
            *(row[key] for key in ("question_id", "image_id", "question_type", "answer_type", "answers"))
        )
        for row in rows
    ]
    layouts.write(root / "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": questions})
    layouts.write(root / "v2_mscoco_val2014_annotations.json", {"annotations": annotations})


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_official_numbers_of_100_real_questions(tmp_path: Path, name: str) -> None:
    write_root(tmp_path)
    answers = [{"question_id": row["question_id"], "answer": row["predictions"][name]} for row in RECORDED["records"]]
    layouts.write(tmp_path / "results.json", answers)
    arguments = ("--task", "vqa", "--predictions", tmp_path / "results.json", "--data", tmp_path, "--json")
    done = vlbench("score", *arguments)
    assert done.returncode == 0, done.stderr
    (printed,) = json.loads(done.stdout)
    percent = {key: 100 * metric["value"] for key, metric in printed["metrics"].items() if key != "strict"}
    exact = RECORDED["expected"][name]
    assert round(percent["accuracy"], 2) == PUBLISHED[name]
    assert percent == pytest.approx(
        {
            "accuracy": exact["overall"],
            **{f"accuracy/answer_type/{key}": value for key, value in exact["perAnswerType"].items()},
            **{f"accuracy/question_type/{key}": value for key, value in exact["perQuestionType"].items()},
        },
        abs=1e-9,
    )
