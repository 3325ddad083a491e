"""Whatever is wrong with the input is one clear line and an exit code, never a traceback; what was done is kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support import layouts
from tests.support.cli import ROOT, vlbench
from vlbench.leaderboard.store import samples_path

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

# With the device named, torch is not imported to look for one.
COLOURS = ("--device", "cpu", "--plugin", ROOT / "tests" / "support" / "colours.py", "--model", "colours")


def refused(done: subprocess.CompletedProcess[str], *named: object, code: int = 2) -> None:
    """Check that the run ended with one line of error that has all of ``named``, and nothing on standard output."""
    lines = done.stderr.splitlines()
    errors = [line for line in lines if line.startswith("vlbench: ")]
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert len(errors) == 1 and lines[-1] == errors[0], done.stderr
    for text in named:
        assert str(text) in errors[0], errors[0]


def run(root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return vlbench("run", *COLOURS, "--data", root, "--output", root / "results", *arguments)


def score(root: Path, predictions: object, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = root / "predictions.json"
    layouts.write(path, predictions)
    return vlbench("score", "--task", "vqa", "--predictions", path, "--data", root, *arguments)


def answers() -> list[dict[str, Any]]:
    return [{"question_id": question_id, "answer": "no"} for question_id, *_ in layouts.QUESTIONS]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    layouts.coco(tmp_path / "coco")
    layouts.vqa(tmp_path / "vqa")
    layouts.vqa_train(tmp_path / "vqa")
    return tmp_path


def test_unknown_names_come_with_the_nearest(root: Path) -> None:
    done = vlbench("run", *COLOURS[:-1], "colors", "--data", root, "--output", root / "results")
    refused(done, "unknown model 'colors'; did you mean 'colours'?", "vlbench list models")
    refused(run(root, "--tasks", "coco_retreival"), "unknown task 'coco_retreival'; did you mean 'coco_retrieval'")
    refused(vlbench("score", "--task", "vqaa", "--predictions", "x", "--data", root), "did you mean 'vqa'")
    refused(run(root, "--tasks", "vqa", "--split", "val2041"), "unknown split 'val2041' of vqa", "val2014")
    refused(run(root, "--tasks", "vqa", "--task-arg", "top=3"), "unknown --task-arg 'top' for vqa", "topk")
    refused(run(root, "--tasks", "vqa", "--model-arg", "nan=3"), "unknown --model-arg 'nan' for Colours")
    refused(run(root, "--tasks", "vqa", "--attn", "sdpa"), "unknown --model-arg 'attn' (--attn) for Colours")
    assert not (root / "results").exists() or not list((root / "results").glob("*.json"))


@pytest.mark.parametrize("missing", ["nowhere", "coco/annotations/captions_val2014.json"])
def test_a_data_root_that_is_no_folder(root: Path, missing: str) -> None:
    what = "is not a folder" if missing.endswith(".json") else "does not exist"
    done = vlbench("run", *COLOURS, "--tasks", "vqa", "--data", root / missing, "--output", root / "results")
    refused(done, f"data root {root / missing} {what}")


def test_a_data_root_without_the_dataset(root: Path) -> None:
    refused(run(root, "--tasks", "vcr"), f"no vcr annotations for split val in {root}", "check --data and --split")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ('{"images": [', "is not valid JSON: Expecting value at line 1, column 13"),
        ("\x00\x01", "is not valid JSON"),
        ("[]", "the document is a list, not an object"),
        ('{"images": []}', "has no images"),
        ('{"questions": []}', "has no 'images'; it is not the official file"),
    ],
)
def test_an_annotation_file_that_is_none(root: Path, text: str, named: str) -> None:
    path = root / "coco" / "annotations" / "captions_val2014.json"
    path.write_text(text)
    refused(run(root, "--tasks", "coco_retrieval"), path, named)


def test_a_missing_image_is_found_before_the_model_is_loaded(root: Path) -> None:
    image = root / "coco" / "val2014" / "COCO_val2014_000000522418.jpg"
    image.unlink()
    done = run(root, "--tasks", "coco_retrieval")
    refused(done, f"1 of 3 images are missing: {image}; add them, or", "--allow-missing")
    done = run(root, "--tasks", "coco_retrieval", "--allow-missing")
    assert done.returncode == 4 and "Traceback" not in done.stderr
    assert f"1 of 3 images are missing: {image}; their samples count as wrong" in done.stderr


def test_a_truncated_jpeg_fails_its_samples_and_the_result_is_written(root: Path) -> None:
    image = root / "coco" / "val2014" / "COCO_val2014_000000522418.jpg"
    Image.new("RGB", (64, 64), "green").save(image)
    image.write_bytes(image.read_bytes()[:300])
    done = run(root, "--tasks", "coco_retrieval", "--json")
    assert done.returncode == 4 and "Traceback" not in done.stderr
    # The image's own query, and those of its two captions, which seek nothing else.
    assert f"3 samples failed and count as wrong; the first: i:522418: image {image} cannot be decoded" in done.stderr
    (printed,) = json.loads(done.stdout)
    assert printed["samples"] | {"failures": None} == {"attempted": 10, "scored": 7, "failed": 3, "failures": None}
    assert len(printed["samples"]["failures"]) == 3
    (path,) = (root / "results").glob("*.json")
    assert json.loads(path.read_text()) == printed
    rows = {row["sample_id"]: row for row in pq.read_table(samples_path(path)).to_pylist()}
    failed = {name: row for name, row in rows.items() if row["status"] == "failed"}
    assert len(rows) == 10 and len(failed) == 3 and "cannot be decoded" in failed["i:522418"]["reason"]
    assert failed["i:522418"]["image_to_text_recall@10"] == 0.0
    tolerated = run(root, "--tasks", "coco_retrieval", "--max-failures", "3")
    assert tolerated.returncode == 0 and "F: samples failed and count as wrong (colours 3 of 10)" in tolerated.stdout


@pytest.mark.parametrize("below", ["results", "results/deeper"])
def test_an_output_under_a_regular_file(root: Path, below: str) -> None:
    (root / "file").write_text("precious")
    done = vlbench("run", *COLOURS, "--tasks", "vqa", "--data", root, "--output", root / "file" / below)
    refused(done, f"cannot make the output folder {root / 'file' / below} (Not a directory); choose another --output")
    done = score(root / "vqa", answers(), "--output", root / "file" / below)
    refused(done, "cannot make the output folder", "Not a directory")
    done = score(root / "vqa", answers(), "--output", root / "file")
    refused(done, f"cannot make the output folder {root / 'file'} (File exists)")
    assert (root / "file").read_text() == "precious"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("raise RuntimeError('no licence\\nfound')", "failed to import: RuntimeError: no licence found"),
        ("import no_such_package", "failed to import: ModuleNotFoundError: No module named 'no_such_package'"),
        ("def broken(:", "failed to import: SyntaxError"),
        ("import sys; sys.exit(3)", "failed to import: SystemExit"),
        ("x = 1", "has no function marked with @vlbench.hookimpl"),
    ],
)
def test_a_plugin_that_raises_on_import(root: Path, text: str, named: str) -> None:
    plugin = root / "my_plugin.py"
    plugin.write_text(text)
    run_it = vlbench("run", "--plugin", plugin, "--tasks", "vqa", "--data", root, "--output", root / "results")
    refused(run_it, f"plugin {plugin} {named}")
    refused(vlbench("list", "models", "--plugin", plugin), f"plugin {plugin} {named}")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--limit", "0"), "--limit 0 is not possible; it takes a whole number from 1"),
        (("--limit", "-1"), "--limit -1 is not possible"),
        (("--limit", "few"), "--limit"),
        (("--batch-size", "0"), "--batch-size '0' is neither auto nor a whole number from 1"),
        (("--workers", "0"), "--workers 0 is not possible"),
        (("--dtype", "float8"), "--dtype 'float8' is none of auto, float32, bfloat16, float16"),
        (("--tasks", ","), "--tasks is empty"),
        (("--tasks", "coco_caption"), "coco_caption needs generate; the model can only embed_images, embed_texts"),
        (("--task-arg", "novalue"), "'novalue' is not KEY=VALUE"),
        (("--nonsense",), "--nonsense"),
    ],
)
def test_options_out_of_range(root: Path, arguments: tuple[str, ...], named: str) -> None:
    refused(run(root, *arguments), named)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda rows: rows[1:], "1 of 3 question_ids of the split are not answered: 262148000"),
        (lambda rows: [*rows, rows[0]], "duplicate question_ids 262148000"),
        (lambda rows: [*rows, {"question_id": 7, "answer": "no"}], "1 question_ids are not in the split: 7"),
        (lambda rows: [], "has no records"),
        (lambda rows: {"results": rows}, "the document is an object, not a list"),
        (lambda rows: [*rows[1:], {"question_id": 262148000}], "record [2] has no 'answer'"),
        (lambda rows: [*rows[1:], {"question_id": 262148000, "answer": 2}], "record [2].answer is an integer, not a"),
        (
            lambda rows: [*rows[1:], {"question_id": 1.5, "answer": "2"}],
            "record [2].question_id is a number, not an id",
        ),
        (lambda rows: [*rows[1:], None], "record [2] is null, not an object"),
        (lambda rows: "", "is empty"),
        (lambda rows: '[{"question_id": 1, "answer"', "is not valid JSON"),
        (lambda rows: "[" * 100_000, "is not valid JSON"),
    ],
)
def test_predictions_that_cannot_be_scored(root: Path, change: Any, named: str) -> None:
    done = score(root / "vqa", change(answers()), "--output", root / "results")
    refused(done, root / "vqa" / "predictions.json", named)
    assert list((root / "results").iterdir()) == []


def test_scoring_without_what_it_takes(root: Path) -> None:
    path = root / "predictions.json"
    layouts.write(path, answers())
    given = ("score", "--task", "vqa", "--predictions", path)
    refused(vlbench("score", "--task", "vqa"), "--predictions")
    refused(vlbench(*given), "nothing to score against; give --references FILE, or --data ROOT (or --data scenes)")
    refused(vlbench(*given, "--references", path), "vqa takes its references from --data ROOT, not from --references")
    refused(vlbench(*given, "--references", path, "--data", root), "--references and --data exclude each other")
    refused(vlbench(*given, "--data", root, "--split", "test2015"), "no vqa annotations for split test2015")
    refused(vlbench(*given[:4], root / "nothing.json", "--data", root), f"file {root / 'nothing.json'} is missing")
    refused(vlbench(*given[:4], root, "--data", root), f"file {root} cannot be read (Is a directory)")
    layouts.vcr(root / "vcr")
    vcr = ("score", "--task", "vcr", "--predictions", path, "--data", root)
    refused(vlbench(*vcr), f"{path} lacks columns of the official table: annot_id, answer_0, ")
    retrieval = ("score", "--task", "coco_retrieval", "--predictions", path, "--references", layouts.coco(root / "x"))
    refused(vlbench(*retrieval), f"{path}: the document is a list, not an object")
    captions = ("score", "--task", "coco_caption", "--predictions", path)
    refused(vlbench(*captions, "--references", path), path, "record [0] has no 'image'")


def test_leaderboards_that_cannot_be_shown(root: Path) -> None:
    done = vlbench("leaderboard", "show", root / "nowhere")
    refused(done, f"there is no result file or folder {root / 'nowhere'}; `vlbench run --output")
    (root / "empty").mkdir()
    refused(vlbench("leaderboard", "show", root / "empty"), f"folder {root / 'empty'} holds no results (*.json)")
    output = root / "results"
    assert score(root / "vqa", answers(), "--output", output).returncode == 0
    refused(
        vlbench("leaderboard", "show", output, "--format", "tabel"), "unknown --format 'tabel'; did you mean 'table'?"
    )
    refused(vlbench("leaderboard", "show", output, "--task", "vaq"), "no result of task 'vaq'; did you mean 'vqa'?")
    assert "predictions" in vlbench("leaderboard", "show", output).stdout
    (output / "broken.json").write_text('{"schema"')
    refused(vlbench("leaderboard", "show", output), "1 of 2 files cannot be read", output / "broken.json")


def test_a_verb_that_is_missing_shows_the_help_and_an_unknown_one_is_named() -> None:
    for group in ((), ("leaderboard",), ("data",)):
        done = vlbench(*group)
        assert done.returncode == 2 and "Commands:\n" in done.stderr and done.stderr.startswith("Usage: ")
    refused(vlbench("runn"), "No such command 'runn'")


def test_the_traceback_is_for_those_who_ask() -> None:
    done = vlbench("--debug", "list", "modles")
    assert done.returncode != 0 and "Traceback" in done.stderr and "UsageError" in done.stderr
