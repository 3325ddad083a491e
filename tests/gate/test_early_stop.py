"""The early stop through the command line, over the bundled scenes and a model of colour words."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import layouts
from tests.support.cli import ROOT
from vlbench.cli.app import run_app
from vlbench.gate.baseline import Scored, find_baselines, update_baseline, write_baseline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Captions = Callable[..., tuple[int, str, str]]

COLOURS = ROOT / "tests" / "support" / "colours.py"
LIMIT = ("--limit", "300")
PLUGIN = ("--plugin", str(COLOURS), "--model", "colours", "--device", "cpu")


def _write_baseline(monkeypatch: pytest.MonkeyPatch, folder: Path, task: str, limit: int) -> None:
    """Go to ``folder``, run the model there, and keep its result as the baseline."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("VLBENCH_DATA", raising=False)
    assert run_app(["run", *PLUGIN, "--tasks", task, "--limit", str(limit), "--output", "out"]) == 0
    assert run_app(["baseline", "write", "out"]) == 0


def test_stops_when_the_verdict_is_certain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_baseline(monkeypatch, tmp_path, "vcr", 300)

    def check(*more: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = run_app(
            ["check", *PLUGIN, "--early-stop", "--tasks", "vcr", "--output", "early", "--json", *LIMIT, *more]
        )
        out, err = capsys.readouterr()
        document = json.loads(out) if out else {"error": err}
        return code, document["checks"][0] if out else document

    code, same = check("--max-drop", "0.1")
    assert (code, same["verdict"]) == (0, "pass")
    assert 0 < same["seen"] < same["samples"] == 300
    assert same["drop"]["high"] <= 0.1 and not list((tmp_path / "early").rglob("*.records"))
    # A model that fails wherever a choice names red is worse by far; failures are tolerated here to see the drop.
    code, worse = check("--model-arg", "nan_for=red", "--max-failures", "1000", "--metric", "q_to_a")
    assert (code, worse["verdict"]) == (1, "regressed") and worse["seen"] < 200
    assert check("--model-arg", "nan_for=red")[1]["verdict"] == "failed"
    # On this very benchmark with nothing tolerated all is seen, and then nothing is uncertain.
    code, whole = check("--estimand", "benchmark", "--max-drop", "0")
    assert (code, whole["verdict"], whole["seen"]) == (0, "pass", 300)
    code, other = check("--limit", "20")
    assert code == 3 and "limit (300 against 20)" in other["reason"]
    code, unknown = check("--metric", "q_to_ar", "--tasks", "vqa")
    assert code == 3 and "there is no baseline of vqa" in unknown["reason"]


def test_an_anchor_is_followed_too_whatever_the_order_of_its_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows were paired by place for the count of scores, which bets depend on."""
    _write_baseline(monkeypatch, tmp_path, "vcr", 300)
    kept = find_baselines(tmp_path / "baselines")["vcr"].baseline
    anchor = Scored(dataclasses.replace(kept.result, run_id="earlier"), list(kept.rows)[::-1])
    write_baseline(tmp_path / "baselines", anchor, force=True)
    update_baseline(tmp_path / "baselines", kept)
    capsys.readouterr()
    assert run_app(["check", *PLUGIN, "--early-stop", *LIMIT, "--output", "early", "--json", "--max-drop", "0.1"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [check["against"] for check in checks] == ["baseline", "anchor"]
    assert checks[0] == {**checks[1], "against": "baseline"} and checks[0]["seen"] < 300


def test_queries_are_ranked_a_few_at_a_time_and_corpora_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_baseline(monkeypatch, tmp_path, "coco_retrieval", 100)
    capsys.readouterr()
    early = ["check", *PLUGIN, "--early-stop", "--limit", "100", "--output", "early"]
    assert run_app([*early, "--max-drop", "0.1", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["checks"]
    assert found["metric"] == "text_to_image_recall@1" and 0 < found["seen"] < found["samples"] == 500
    assert found["drop"]["value"] == 0.0
    whole = ["--metric", "image_to_text_recall@10", "--estimand", "benchmark", "--max-drop", "0", "--json"]
    assert run_app([*early, *whole]) == 0
    (found,) = json.loads(capsys.readouterr().out)["checks"]
    assert found["seen"] == found["samples"] == 100
    assert run_app([*early, "--metric", "rsum"]) == 2
    assert "cannot follow rsum of coco_retrieval: it is no mean of scores" in capsys.readouterr().err
    assert run_app(["check", "out", "--early-stop"]) == 2
    assert "--early-stop is for --model" in capsys.readouterr().err


def test_of_images_with_many_samples_a_share_is_seen_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six questions of a picture are taken as too many: two of each come first, then the pictures whole."""
    monkeypatch.setattr("vlbench.stats.draws.MOST_SAMPLES", 2)
    _write_baseline(monkeypatch, tmp_path, "vqa", 300)
    found = {}
    for most in ("0.3", "0.001"):
        capsys.readouterr()
        code = run_app(["check", *PLUGIN, "--early-stop", *LIMIT, "--output", "early", "--json", "--max-drop", most])
        (check,) = json.loads(capsys.readouterr().out)["checks"]
        found[most] = (code, check["verdict"], check["seen"])
    assert found["0.3"][:2] == (0, "pass") and found["0.3"][2] <= 100
    assert found["0.001"] == (5, "inconclusive", 300)


WRITER = """
import os
import vlbench

class Writer(vlbench.Adapter):
    argument_names = ("text",)
    def fingerprint(self): return "sha256:same weights"
    def generate(self, items):
        if "STOP" in os.environ and os.environ.pop("STOP") == "now": raise KeyboardInterrupt
        if "AFTER" in os.environ: os.environ["STOP"] = "now"
        return [self.options.arguments.get("text", "a red thing")] * len(items)

@vlbench.hookimpl
def vlbench_register_models():
    return [vlbench.ModelSpec("writer", "one caption for all", Writer)]
"""


@pytest.fixture
def captions(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Captions:
    """A model that writes one caption, its baseline over three images, and the gate over it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VLBENCH_DATA", raising=False)
    layouts.coco(tmp_path / "coco")
    (tmp_path / "writer.py").write_text(WRITER)
    (tmp_path / "df").mkdir()
    references = ["--references", "coco/annotations/captions_val2014.json"]
    assert run_app(["data", "df", *references, "--output", "df/df.json"]) == 0
    common = ["--model", "writer", "--plugin", "writer.py", "--plugin", str(COLOURS), "--tasks", "coco_caption"]
    common += ["--data", ".", "--batch-size", "1", "--device", "cpu"]
    for argument in ("meteor=off", "df=df/df.json", "clipscore=colours"):
        common += ["--task-arg", argument]
    assert run_app(["run", *common, "--output", "out"]) == 0
    assert run_app(["baseline", "write", "out"]) == 0

    def check(*more: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_app(["check", *common, "--early-stop", "--json", "--estimand", "benchmark", *more])
        return code, *capsys.readouterr()

    return check


def test_a_score_that_the_samples_do_not_have_is_refused(captions: Captions) -> None:
    """CLIPScore comes of a second model when all is done: no sample had one, and no drop is a pass."""
    code, _, err = captions("--metric", "CLIPScore[colours]", "--model-arg", "text=blue", "--output", "early")
    assert code == 2 and "cannot follow CLIPScore[colours] of coco_caption: it is not scored sample by sample" in err


def test_a_check_that_was_interrupted_lends_no_answers_to_other_arguments(
    captions: Captions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal was named after weights and data alone."""
    more = ("--metric", "ROUGE_L", "--model-arg")
    _, fresh, _ = captions(*more, "text=nothing", "--output", "fresh")
    monkeypatch.setenv("AFTER", "1")
    assert captions(*more, "text=a red thing", "--output", "early")[0] == 130
    monkeypatch.delenv("AFTER")
    monkeypatch.delenv("STOP", raising=False)
    _, after, _ = captions(*more, "text=nothing", "--output", "early")
    assert json.loads(after)["checks"] == json.loads(fresh)["checks"]
