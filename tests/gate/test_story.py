"""The gate from end to end: a real checkpoint, spoilt in real ways, through real processes and every form of report."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

import vlbench
from tests.support.cli import vlbench as command
from vlbench.cli.app import run_app
from vlbench.data.scenes.cache import ensure
from vlbench.gate.baseline import write_baseline
from vlbench.gate.results import read_scored
from vlbench.models import CHECKPOINTS
from vlbench.models.checkpoint import WEIGHTS

if TYPE_CHECKING:
    from pathlib import Path

TINY = "vlbench-tiny"
CRASHING = """
import vlbench
from vlbench.adapters.builtin import Builtin

class Crashing(Builtin):
    def generate(self, items):
        raise RuntimeError("the device <0> is lost")

@vlbench.hookimpl
def vlbench_register_models():
    return [vlbench.ModelSpec("crashing", "breaks when asked", Crashing, "vlbench-tiny")]
"""
OPTIONS = ("--tasks", "vqa", "--limit", 60, "--device", "cpu", "--max-drop", 0.05)


def spoil(folder: Path, share: float) -> Path:
    """Write the bundled checkpoint with seeded noise in its weights, of that share of the spread of each."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(CHECKPOINTS / TINY, folder)
    random = torch.Generator().manual_seed(0)
    state = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
    noisy = {
        name: tensor + share * tensor.std() * torch.randn(tensor.shape, generator=random) if tensor.ndim > 1 else tensor
        for name, tensor in state.items()
    }
    save_file(noisy, folder / WEIGHTS)
    return folder


def accuracy(folder: Path) -> float:
    (document,) = [json.loads(file.read_text()) for file in folder.glob("*.json")]
    value: float = document["metrics"]["accuracy"]["value"]
    return value


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of one's own: the questions of the bundled benchmark, whose annotations may be edited."""
    root = tmp_path_factory.mktemp("data")
    (root / "vqa").mkdir()
    for entry in (ensure() / "vqa").iterdir():
        if entry.is_dir():
            (root / "vqa" / entry.name).symlink_to(entry)
        else:
            shutil.copyfile(entry, root / "vqa" / entry.name)
    return root


@pytest.mark.slow
def test_each_fate_of_a_model_has_its_verdict(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vlbench.run(TINY, "vqa", data=data, limit=60, device="cpu", output=tmp_path / "good")
    for scored in read_scored([tmp_path / "good"]).values():
        write_baseline(tmp_path / "baselines", scored)

    def check(name: str, *arguments: object, code: int, word: str, kind: str) -> str:
        """Check in a process of its own; the verdict must be in each report. Return the sentence about it."""
        junit, markdown = tmp_path / f"{name}.xml", tmp_path / f"{name}.md"
        reports = ("--junit", junit, "--markdown", markdown, "--baseline", tmp_path / "baselines")
        done = command("check", *arguments, *OPTIONS, *reports, "--output", tmp_path / name)
        assert done.returncode == code, done.stderr + done.stdout
        assert "Traceback" not in done.stderr and f"vqa: {word}: " in done.stdout
        (case,) = ElementTree.fromstring(junit.read_text()).iter("testcase")
        assert [child.tag for child in case] == [kind]
        assert f"## vlbench check: {word}" in markdown.read_text() and f"- vqa: {word}: " in markdown.read_text()
        return case[0].attrib.get("message", case[0].text or "")

    noisy = spoil(tmp_path / "noisy", 0.5)
    said = check("worse", "--model", noisy, "--data", data, code=1, word="regressed", kind="failure")
    lost = accuracy(tmp_path / "good") - accuracy(tmp_path / "worse")
    assert lost > 0.1 and f"dropped by {lost * 100:.4g} from the baseline {TINY}" in said

    half = ("--model", TINY, "--data", data, "--dtype", "bfloat16")
    check("half", *half, code=0, word="pass", kind="system-out")

    (tmp_path / "plugin.py").write_text(CRASHING)
    crashing = ("--model", "crashing", "--plugin", tmp_path / "plugin.py", "--data", data)
    said = check("crash", *crashing, code=4, word="failed", kind="error")
    assert said == "vqa: failed: Crashing.generate failed: RuntimeError: the device <0> is lost"
    assert "the device &lt;0&gt; is lost" in (tmp_path / "crash.md").read_text()

    weights = noisy / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:1000])
    said = check("broken", "--model", noisy, "--data", data, code=4, word="failed", kind="error")
    assert str(weights) in said and "does not fit its config.json" in said

    annotations = data / "vqa" / "v2_mscoco_val2014_annotations.json"
    document = json.loads(annotations.read_text())
    for answer in document["annotations"][0]["answers"]:
        answer["answer"] = "maybe"
    annotations.write_text(json.dumps(document))
    said = check("data", "--model", TINY, "--data", data, code=3, word="not comparable", kind="error")
    assert "differ in data (" in said

    # The two steps of a pipeline: a run that cannot load the model leaves nothing, and the check of nothing has failed.
    capsys.readouterr()
    missing = tmp_path / "missing"
    arguments = ["--model", str(noisy), "--tasks", "vqa", "--output", str(missing)]
    assert run_app(["run", *arguments]) == 2
    assert run_app(["check", str(missing), "--baseline", str(tmp_path / "baselines")]) == 4
    assert f"vqa: failed: no result of vqa was given (there is none in {missing})" in capsys.readouterr().out
    # A stopped check of the broken model ends in the same way, and a name that nobody has stays a mistake.
    early = ["check", *arguments, "--early-stop", "--baseline", str(tmp_path / "baselines")]
    assert run_app(early) == 4 and "does not fit its config.json" in capsys.readouterr().out
    assert run_app([*early[:2], "vlbench-tinny", *early[3:]]) == 2
