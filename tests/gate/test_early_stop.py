"""The early stop through the command line, over the bundled scenes and a model of colour words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.cli import ROOT
from vlbench.cli.app import run_app

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LIMIT = ("--limit", "300")
PLUGIN = ("--plugin", str(ROOT / "tests" / "support" / "colours.py"), "--model", "colours", "--device", "cpu")


def test_stops_when_the_verdict_is_certain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VLBENCH_DATA", raising=False)
    assert run_app(["run", *PLUGIN, "--tasks", "vcr", "--limit", "300", "--output", "out"]) == 0
    assert run_app(["baseline", "write", "out"]) == 0

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
    assert code == 2 and "there is no baseline of vqa" in unknown["error"]


def test_queries_are_ranked_a_few_at_a_time_and_corpora_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VLBENCH_DATA", raising=False)
    assert run_app(["run", *PLUGIN, "--tasks", "coco_retrieval", "--limit", "100", "--output", "out"]) == 0
    assert run_app(["baseline", "write", "out"]) == 0
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
