"""Files of answers: those written for an evaluation server in place of a score, and those that are scored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import layouts
from tests.support.cli import ROOT, vlbench

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

COLOURS = ("--device", "cpu", "--plugin", ROOT / "tests" / "support" / "colours.py", "--model", "colours")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    layouts.vqa_train(tmp_path / "vqa")
    layouts.write(tmp_path / "vqa" / "v2_OpenEnded_mscoco_test-dev2015_questions.json", layouts.vqa_questions())
    for image_id, colour in ((262148, "red"), (393225, "blue")):
        layouts.picture(tmp_path / "vqa" / "test2015" / f"COCO_test2015_{image_id:012d}.jpg", colour)
    return tmp_path


def run(root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    split = ("--tasks", "vqa", "--split", "test-dev2015")
    done = vlbench("run", *COLOURS, *split, "--data", root, "--output", root / "out", *arguments)
    assert done.returncode == 0, done.stderr
    return done


def test_a_split_without_answers_gives_the_file_of_the_server(root: Path) -> None:
    done = run(root, "--json")
    (result,) = json.loads(done.stdout)
    (path,) = (root / "out").glob("*.submission.vqa_test-dev2015.json")
    (stem,) = (file.stem for file in (root / "out").glob("*.json") if file != path)
    assert path.name == f"{stem}.submission.vqa_test-dev2015.json"
    assert f"hand {path} to the evaluation server" in done.stderr
    answers: list[dict[str, Any]] = json.loads(path.read_text())
    assert [row["question_id"] for row in answers] == [262148000, 262148001, 393225000]
    assert answers[2] == {"question_id": 393225000, "answer": "blue"}
    assert all(set(row) == {"question_id", "answer"} and row["answer"] for row in answers)
    for metric in result["metrics"].values():
        assert metric["value"] is None and "test-dev2015 has no public answers" in metric["reason"]
    assert result["samples"]["failed"] == 0


def test_a_finished_run_says_where_it_lies_and_makes_it_again(root: Path) -> None:
    run(root)
    (path,) = (root / "out").glob("*.submission.*")
    content = path.read_bytes()
    path.unlink()
    done = run(root)
    assert "result reused" in done.stderr and str(path) in done.stderr
    assert path.read_bytes() == content


def test_a_leaderboard_does_not_take_it_for_a_result(root: Path) -> None:
    run(root)
    shown = vlbench("leaderboard", "show", root / "out")
    assert shown.returncode == 0, shown.stderr
    assert "colours" in shown.stdout and "no public answers" in shown.stdout


def test_predictions_for_such_a_split_cannot_be_scored_here(root: Path) -> None:
    layouts.write(root / "answers.json", [])
    arguments = ("--predictions", root / "answers.json", "--data", root, "--split", "test-dev2015")
    done = vlbench("score", "--task", "vqa", *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "vlbench: vqa: split test-dev2015 has no answers to score against; choose another --split"
    ]


def test_files_of_okvqa_gqa_and_vizwiz_are_scored(tmp_path: Path) -> None:
    layouts.okvqa(tmp_path / "okvqa")
    layouts.gqa(tmp_path / "gqa")
    layouts.vizwiz(tmp_path / "vizwiz")
    files = {
        "okvqa": [{"question_id": q, "answer": "It is a leaf."} for q, *_ in layouts.OKVQA_QUESTIONS],
        "gqa": [{"questionId": q, "prediction": "No, it is not."} for q in layouts.gqa_questions()],
        "vizwiz": [{"image": row["image"], "answer": "Unanswerable"} for row in layouts.vizwiz_questions()],
    }
    expected = {"okvqa": (0.0, 0.5), "gqa": (0.0, 0.25), "vizwiz": (0.4, 0.4)}
    for task, answers in files.items():
        layouts.write(tmp_path / f"{task}.json", answers)
        found = []
        for extract in ("off", "1"):
            arguments = (
                "--predictions",
                tmp_path / f"{task}.json",
                "--data",
                tmp_path,
                "--task-arg",
                f"extract={extract}",
            )
            done = vlbench("score", "--task", task, *arguments, "--json")
            assert done.returncode == 0, done.stderr
            (printed,) = json.loads(done.stdout)
            found.append(printed["metrics"]["accuracy"]["value"])
            protocol = "predictions" if extract == "off" else "predictions/extract-1"
            assert f"|protocol:{protocol}|prompt:unknown|" in printed["signature"]
        assert tuple(found) == pytest.approx(expected[task]), task
