"""`vlbench score` against recorded outputs of the official scorers, through the real command line."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.support import layouts
from tests.support.cli import vlbench
from vlbench.leaderboard.store import load_results, samples_path
from vlbench.metrics.captions import METRICS

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]

VINVL = {
    "Bleu_1": 0.7805891387,
    "Bleu_2": 0.6272276070,
    "Bleu_3": 0.4910171373,
    "Bleu_4": 0.3818382038,
    "METEOR": 0.3033580267,
    "ROUGE_L": 0.5925195544,
    "CIDEr": 1.2925817645,
}
"""VinVL-base on the Karpathy test split by pycocoevalcap; the paper has BLEU-4 38.2, METEOR 30.3, CIDEr 129.3."""


def score(output: Path, *arguments: object) -> tuple[Json, list[Json]]:
    """Return the result that ``vlbench score --json`` prints, and the rows beside the file that it writes."""
    done = vlbench("score", *arguments, "--output", output, "--json")
    assert done.returncode == 0, done.stderr
    (printed,) = json.loads(done.stdout)
    (path,) = output.glob("*.json")
    assert json.loads(path.read_text()) == printed
    return printed, pq.read_table(samples_path(path)).to_pylist()


def check_captions(printed: Json, expected: dict[str, float], tolerance: float) -> None:
    values = {name: metric["value"] for name, metric in printed["metrics"].items()}
    assert tuple(values) == METRICS
    assert values.pop("CIDEr_original") > 0
    assert values.pop("SPICE") is None and printed["metrics"]["SPICE"]["reason"]
    if shutil.which("java") is None:
        assert values.pop("METEOR") is None and "Java" in printed["metrics"]["METEOR"]["reason"]
        expected = {name: value for name, value in expected.items() if name != "METEOR"}
    assert values == pytest.approx(expected, abs=tolerance)


def check_per_image(samples: list[Json], expected: dict[str, list[Any]]) -> None:
    ids = [str(image_id) for image_id in expected["image_ids"]]
    ours = {sample["sample_id"]: sample for sample in samples}
    assert sorted(ours) == sorted(ids) and {"CIDEr", "ROUGE_L", "Bleu_4"} <= set(expected)
    for name in set(expected) & set(samples[0]):
        assert [ours[i][name] for i in ids] == pytest.approx(expected[name], abs=1e-6), name
    assert len(samples[0]["bleu_correct"]) == 4


def write_vqa(root: Path, rows: list[Json]) -> Path:
    """Write questions as a VQA v2 root, the line number as their id, and return the file of predictions."""
    questions = [{"question_id": i, "image_id": i // 3, "question": "What?"} for i in range(len(rows))]
    annotations = [
        layouts.annotation(i, i // 3, row["question_type"], row["answer_type"], row["answers"])
        for i, row in enumerate(rows)
    ]
    layouts.write(root / "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": questions})
    layouts.write(root / "v2_mscoco_val2014_annotations.json", {"annotations": annotations})
    path = root / "awkward.json"
    layouts.write(path, [{"question_id": i, "answer": row["prediction"]} for i, row in enumerate(rows)])
    return path


def test_2500_awkward_answers_score_as_the_official_scorer_has_them(oracles: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (oracles / "vqa_accuracy.jsonl").read_text(encoding="utf-8").splitlines()]
    predictions = write_vqa(tmp_path / "root", rows)
    arguments = ("--task", "vqa", "--predictions", predictions, "--data", tmp_path / "root")
    printed, samples = score(tmp_path / "out", *arguments)
    assert len(samples) == 2500
    ours = {int(sample["sample_id"]): sample["accuracy"] for sample in samples}
    assert max(abs(ours[i] - row["accuracy"]) for i, row in enumerate(rows)) <= 1e-9
    assert [sample["response"] for sample in samples] == [row["prediction"] for row in rows]
    summary = json.loads((oracles / "vqa_accuracy.summary.json").read_text())
    percent = {name: 100 * metric["value"] for name, metric in printed["metrics"].items() if name != "strict"}
    assert percent == pytest.approx(
        {
            "accuracy": summary["overall"],
            **{f"accuracy/answer_type/{name}": value for name, value in summary["perAnswerType"].items()},
            **{f"accuracy/question_type/{name}": value for name, value in summary["perQuestionType"].items()},
        },
        abs=1e-9,
    )


@pytest.mark.slow
def test_captions_with_one_file_of_references(oracles: Path, tmp_path: Path) -> None:
    expected = json.loads((oracles / "captions_scores.json").read_text())
    printed, samples = score(
        tmp_path / "out",
        "--task",
        "coco_caption",
        "--predictions",
        oracles / "captions_results.json",
        "--references",
        oracles / "captions_references.json",
    )
    check_captions(printed, expected["corpus"], 1e-6)
    check_per_image(samples, {"image_ids": expected["image_ids"], **expected["per_image"]})


@pytest.mark.slow
def test_real_predictions_of_the_whole_karpathy_test_split(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "coco_karpathy_test"
    printed, samples = score(
        tmp_path / "out",
        "--task",
        "coco_caption",
        "--predictions",
        folder / "VinVL_base_test.results.json",
        "--references",
        folder / "coco_karpathy_test.json",
    )
    check_captions(printed, VINVL, 1e-6)
    assert printed["task"]["split"] == "karpathy-test" and not printed["task"]["partial"]
    assert printed["samples"] == {"attempted": 5000, "scored": 5000, "failed": 0, "failures": []}
    check_per_image(samples, json.loads((folder / "VinVL_base_test.per_image.json").read_text()))


@pytest.mark.parametrize(
    ("name", "overall"), [("mc_answer", 98.40), ("answer3", 90.10), ("yes", 23.30), ("noisy", 67.40)]
)
def test_real_questions(realdata: Path, tmp_path: Path, name: str, overall: float) -> None:
    folder = realdata / "vqav2"
    arguments = ("--task", "vqa", "--predictions", folder / f"results_{name}.json", "--data", folder)
    printed, samples = score(tmp_path / "out", *arguments)
    percent = {key: 100 * metric["value"] for key, metric in printed["metrics"].items() if key != "strict"}
    assert round(percent["accuracy"], 2) == overall
    recorded = json.loads((folder / "expected_official_scores.json").read_text())[f"results_{name}"]
    exact = recorded["accuracy_n15"]
    assert percent == pytest.approx(
        {
            "accuracy": exact["overall"],
            **{f"accuracy/answer_type/{key}": value for key, value in exact["perAnswerType"].items()},
            **{f"accuracy/question_type/{key}": value for key, value in exact["perQuestionType"].items()},
        },
        abs=1e-9,
    )
    assert {sample["sample_id"]: 100 * sample["accuracy"] for sample in samples} == (
        pytest.approx(recorded["evalQA"], abs=1e-2)  # the official scorer rounds each question to two places
    )
    assert printed["task"]["partial"], "100 questions are not the split"


def test_a_scored_file_is_a_result_like_any_other_and_never_shares_a_column_with_a_run(tmp_path: Path) -> None:
    layouts.vqa(tmp_path / "vqa")
    rows = [{"question_id": question_id, "answer": "no"} for question_id, *_ in layouts.QUESTIONS]
    layouts.write(tmp_path / "my.answers.json", rows)
    arguments = ("--task", "vqa", "--predictions", tmp_path / "my.answers.json", "--data", tmp_path)
    printed, _ = score(tmp_path / "out", *arguments, "--name", "mine")
    model = printed["model"]
    assert (model["name"], model["adapter"], model["parameters"]) == ("mine", "predictions", 0)
    assert model["provenance"] == "predictions" and len(model["fingerprint"]) == len("sha256:") + 64
    assert "|protocol:predictions|prompt:unknown|" in printed["signature"]
    assert printed["command"][:4] == ["vlbench", "score", "--task", "vqa"]
    assert printed["cost"]["wall_seconds"] > 0 and printed["primary_metric"] == "accuracy"
    done = vlbench("score", *arguments, "--output", tmp_path / "out")
    assert done.returncode == 0 and "my.answers" in done.stdout and "33.33" in done.stdout
    results = load_results(tmp_path / "out")
    assert sorted(made.model.name for made in results) == ["mine", "my.answers"]
    assert len({made.signature for made in results}) == 1
    assert len({made.model.fingerprint for made in results}) == 1


def test_without_output_nothing_is_written(tmp_path: Path) -> None:
    layouts.coco(tmp_path / "coco")
    texts = [{"image_id": image_id, "caption": captions[0]} for image_id, captions in layouts.CAPTIONS.items()]
    layouts.write(tmp_path / "answers.json", texts)
    before = sorted(tmp_path.rglob("*"))
    done = vlbench(
        *("score", "--task", "coco_caption", "--predictions", tmp_path / "answers.json"),
        *("--task-arg", "meteor=off", "--split", "val2014"),
        VLBENCH_DATA=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert "METEOR: was switched off" in done.stdout and "P: partial data" in done.stdout
    assert sorted(tmp_path.rglob("*")) == before
