"""A finished evaluation is found again, and nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import layouts
from vlbench.plugins import load_plugins
from vlbench.runner.driver import RunReport, evaluate
from vlbench.runner.options import RunOptions

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
