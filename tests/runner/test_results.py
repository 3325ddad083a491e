"""A finished evaluation is found again, and nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import layouts
from vlbench.errors import UsageError
from vlbench.plugins import load_plugins
from vlbench.runner.driver import RunReport, evaluate
from vlbench.runner.options import RunOptions
from vlbench.runner.progress import Silent
from vlbench.runner.score import load_truth, score_file
from vlbench.tasks.captioning import CocoCaption

COLOURS = str(Path(__file__).parents[1] / "support" / "colours.py")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    layouts.coco(tmp_path / "coco")
    return tmp_path


def run(root: Path, *, seed: int = 0, **arguments: str) -> RunReport:
    options = RunOptions(
        data=root,
        device="cpu",
        seed=seed,
        output=root / "results",
        task_arguments={"coco_retrieval": arguments},
    )
    return evaluate("colours", ["coco_retrieval"], options, plugins=load_plugins([COLOURS]))


def test_the_same_evaluation_is_reused(root: Path) -> None:
    first, second = run(root), run(root)
    assert not first.reused and second.reused == {"coco_retrieval"}
    assert first.results == second.results


def test_an_argument_that_is_not_in_the_signature_is_another_result(root: Path) -> None:
    """`meteor=off` changes no response, so it is not in the signature; its result was handed to runs without it."""
    first, second = run(root), run(root, max_pairs="7")
    assert not second.reused
    assert first.results[0].signature == second.results[0].signature
    assert second.results[0].settings["task_arguments"] == {"max_pairs": "7"}
    assert run(root, max_pairs="7").reused and run(root).reused and not run(root, seed=1).reused
    assert len(list((root / "results").glob("*.json"))) == 3


def test_a_result_with_failed_samples_is_tried_again(root: Path) -> None:
    image = root / "coco" / "val2014" / "COCO_val2014_000000522418.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole[:100])
    assert run(root).failed_samples == 3 and not run(root).reused
    image.write_bytes(whole)
    assert run(root).failed_samples == 0 and run(root).reused
    assert len(list((root / "results").glob("*.json"))) == 1


WRITER = """
import vlbench

class Writer(vlbench.Adapter):
    def embed_images(self, items):
        return [[1.0, 0.0]] * len(items)
    def embed_texts(self, items):
        return [[1.0, 0.0]] * len(items)
    def generate(self, items):
        return ["a dog on the grass"] * len(items)
    def counters(self):
        return {"looked": 1}

@vlbench.hookimpl
def vlbench_register_models():
    return [vlbench.ModelSpec("writer", "one caption for all", Writer)]
"""


def test_a_metric_that_java_broke_off_is_tried_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A METEOR of null after a time-out was handed out for ever; the responses are kept for the next attempt."""
    (root / "writer.py").write_text(WRITER)
    (root / "bin").mkdir()
    monkeypatch.setenv("PATH", str(root / "bin"))
    (root / "bin" / "java").write_text("#!/bin/sh\nexit 0\n")
    (root / "bin" / "java").chmod(0o755)
    options = RunOptions(
        data=root,
        device="cpu",
        output=root / "results",
        bootstrap=0,
        task_arguments={"coco_caption": {"clipscore": "writer"}},
    )

    def again() -> RunReport:
        return evaluate("writer", ["coco_caption"], options, plugins=load_plugins([str(root / "writer.py")]))

    first, second = again(), again()
    assert "ended without an answer" in (first.results[0].metrics["METEOR"].reason or "")
    assert first.results[0].unfinished == ("METEOR",) and not second.reused
    # The captions and what the scoring model saw: three images, and the prompt before one caption and the references.
    assert first.results[0].cost["looked"] == 2 and first.results[0].cost["requests_computed"] > 3 + 3
    assert second.results[0].cost["requests_replayed"] == first.results[0].cost["requests_computed"]
    assert second.results[0].cost["requests_computed"] == 0
    (root / "bin" / "java").unlink()
    third = again()
    assert not third.reused and not third.results[0].unfinished
    assert again().reused == {"coco_caption"} and not list((root / "results" / ".journal").glob("*.records"))
    assert len(list((root / "results").glob("*.json"))) == 1


def test_a_file_scored_without_plugins_has_its_clipscore(root: Path) -> None:
    """`score_file` without plugins left CLIPScore out without a word; the scoring model's cost was in no result."""
    (root / "writer.py").write_text(WRITER)
    images = (391895, 522418, 184613)
    layouts.write(root / "answers.json", [{"image_id": key, "caption": "a dog"} for key in images])
    task = CocoCaption({"meteor": "off", "clipscore": "writer"})
    dataset = load_truth(task, None, root, None)
    with pytest.raises(UsageError, match="unknown model 'writer'"):
        score_file(task, dataset, root / "answers.json", Silent(), draws=0)
    plugins = load_plugins([str(root / "writer.py")])
    result, _ = score_file(task, dataset, root / "answers.json", Silent(), draws=0, plugins=plugins)
    assert result.metrics["CLIPScore[writer]"].value == pytest.approx(2.5)
    assert result.cost["looked"] == 1 and result.cost["requests_computed"] > 3
