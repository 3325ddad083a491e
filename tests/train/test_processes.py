"""Training in several processes, and in one that is killed, through the real command line."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from tests.support.cli import ROOT, vlbench
from vlbench.adapter import LoadOptions
from vlbench.adapters.builtin import Builtin
from vlbench.testing.adapters import answer
from vlbench.testing.samples import pictures
from vlbench.types import Decoding, Generate, Generated

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = """objectives: {itc: 1, itm: 1, mlm: 0.5, caption: 1, tag: 0.5}
model: {size: nano, vocabulary: 400, image_size: 32}
batch_size: 4
scenes: 40
"""
LOSSES = ("itc", "itm", "mlm", "caption", "tag")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"


def _losses(folder: Path) -> list[dict[str, float]]:
    with (folder / "training_log.csv").open(newline="") as file:
        return [{name: float(row[name]) for name in LOSSES} for row in csv.DictReader(file)]


def _captions(checkpoint: Path, folder: Path) -> list[str]:
    """Return what the model writes of a few pictures."""
    adapter = Builtin(LoadOptions(checkpoint=str(checkpoint)))
    items = [Generate((image,), "", Decoding(16)) for image in pictures(folder)]
    written = [response.text for response in answer(adapter, items) if isinstance(response, Generated)]
    assert len(written) == len(items) > 1 and all(written)
    return written


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path, recipe: Path) -> None:
    """Step by step: the log has a row for each that is saved."""
    recipe.write_text(RECIPE + "save_every: 1\n")
    arguments = ("pretrain", "--recipe", str(recipe), "--steps", "20", "--device", "cpu", "--output")
    one = vlbench(*arguments, tmp_path / "one")
    assert one.returncode == 0, one.stderr
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "vlbench"]
    two = subprocess.run(
        [*launch, *arguments, str(tmp_path / "two")],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert two.returncode == 0, two.stderr
    assert two.stderr.count("step 20/20") == 1
    apart, whole = _losses(tmp_path / "two"), _losses(tmp_path / "one")
    assert len(apart) == len(whole) == 20
    for ours, theirs in zip(apart, whole, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-3)


@pytest.mark.slow
def test_kill_9_and_the_same_command_end_with_the_same_weights_and_captions(tmp_path: Path, recipe: Path) -> None:
    recipe.write_text(RECIPE + "save_every: 5\nsteps: 12\n")
    arguments = ("pretrain", "--recipe", str(recipe), "--device", "cpu", "--output")
    whole = vlbench(*arguments, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "vlbench", *arguments, str(killed)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not (killed / "trainer" / "checkpoint-5" / "trainer_state.json").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if (killed / "model.safetensors").exists():
        pytest.skip("the run was over before it could be killed")
    # What a kill in the middle of saving leaves behind.
    (killed / "trainer" / "checkpoint-99").mkdir()
    again = vlbench(*arguments, killed)
    assert again.returncode == 0 and "going on from" in again.stderr, again.stderr
    expected, resumed = (load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", killed))
    for name, weights in expected.items():
        assert torch.allclose(resumed[name], weights, atol=1e-5), name
    assert _captions(killed, tmp_path) == _captions(tmp_path / "whole", tmp_path)
