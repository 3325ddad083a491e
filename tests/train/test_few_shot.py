"""Few-shot classification: draws, the probe, context vectors in three libraries, and results like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn.functional import normalize

from tests.support import checkpoints
from tests.support.layouts import picture
from tests.support.nano import write_nano
from vlbench.adapter import LoadOptions
from vlbench.adapters.builtin import Builtin
from vlbench.adapters.clip import Clip
from vlbench.adapters.open_clip import OpenCLIP
from vlbench.cli.adapt import _numbers
from vlbench.cli.app import run_app
from vlbench.errors import DataError, ModelError, UnsupportedTask, UsageError
from vlbench.leaderboard.store import load_results
from vlbench.runner.options import RunOptions
from vlbench.train.adapt import adapt
from vlbench.train.few_shot import ContextPrompts, draw_shots, probe

if TYPE_CHECKING:
    from pathlib import Path

    from vlbench.adapter import Adapter

COLOURS = ("red", "green", "blue")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three colours, of each two pictures to learn from and one to classify."""
    root = tmp_path / "colours"
    for name in COLOURS:
        for split, count in (("train", 2), ("val", 1)):
            for n in range(count):
                picture(root / split / name / f"{n}.png", name)
    return root


def test_each_class_gives_its_shots_and_too_few_are_an_error() -> None:
    labels = [0, 0, 0, 1, 1, 1]
    drawn = draw_shots(labels, 2, seed=3)
    assert [labels[n] for n in drawn] == [0, 0, 1, 1] and len(set(drawn)) == 4
    with pytest.raises(DataError, match="only 3 images; 4 shots need as many"):
        draw_shots(labels, 4, seed=0)


def test_the_probe_separates_what_a_line_separates() -> None:
    train = torch.tensor([[1.0, 0.1], [0.9, -0.1], [-1.0, 0.1], [-0.9, -0.1]])
    logits = probe(train, torch.tensor([0, 0, 1, 1]), torch.tensor([[0.3, 5.0], [-0.3, -5.0]]), 2)
    assert logits.argmax(dim=1).tolist() == [0, 1]
    # The classes mirror each other, so do the weights, which begin at zero and are penalised alike.
    assert torch.allclose(logits[:, 0], -logits[:, 1], atol=1e-3)


def _adapters(tmp_path: Path) -> list[Adapter]:
    torch.manual_seed(0)
    return [
        Builtin(LoadOptions(str(write_nano(tmp_path / "nano")))),
        Clip(LoadOptions(str(checkpoints.clip(tmp_path / "clip")))),
        OpenCLIP(LoadOptions("ViT-S-32-alt", arguments={"pretrained": "none"})),
    ]


@pytest.mark.filterwarnings("ignore")
def test_context_vectors_begin_as_the_words_and_learn(tmp_path: Path) -> None:
    """Put where the words were, the words' own vectors change nothing; learned ones lower the loss."""
    for adapter in _adapters(tmp_path):
        adapter.model.requires_grad_(False)
        prompts = ContextPrompts(adapter, COLOURS)
        bare = torch.as_tensor(adapter.embed_texts([adapter.prepare_text(f"a photo of a {c}.") for c in COLOURS]))
        begun = prompts.embed(prompts.start)
        assert torch.allclose(begun, normalize(bare.float(), dim=-1), atol=1e-5)
        images = normalize(torch.randn(3, begun.shape[1]), dim=-1)
        labels = torch.arange(3)
        if isinstance(adapter, OpenCLIP):
            continue  # a hundred steps of a real architecture take too long
        learned = prompts.embed(prompts.learn(images, labels))
        losses = [
            torch.nn.functional.cross_entropy(adapter.logit_scale * images @ e.T, labels) for e in (begun, learned)
        ]
        assert losses[1] < losses[0]


@pytest.mark.filterwarnings("ignore")
def test_results_name_method_shots_and_draws(tmp_path: Path, folder: Path) -> None:
    model = str(write_nano(tmp_path / "nano"))
    options = RunOptions(data=folder, output=tmp_path / "results", bootstrap=20, device="cpu")
    for method in ("probe", "coop"):
        results = adapt(model, method, [1, 2], 2, options)
        assert [f"shots:{k}" in result.signature for k, result in zip((1, 2), results, strict=True)] == [True, True]
        assert all("|draws:2|" in r.signature and f"|protocol:{method}|" in r.signature for r in results)
        assert all(r.task.name == "fewshot_classification" and r.samples.scored == 3 for r in results)
    assert len(load_results(tmp_path / "results")) == 4


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_adapted_is_one_clear_error(tmp_path: Path, folder: Path) -> None:
    options = RunOptions(data=folder, output=tmp_path / "results", device="cpu")
    with pytest.raises(UsageError, match="--method 'prob' is none of probe, coop"):
        adapt("vlbench-tiny", "prob", [1], 1, options)
    with pytest.raises(DataError, match="only 2 images; 4 shots need as many"):
        adapt("vlbench-tiny", "probe", [4], 1, options)
    captioner = checkpoints.vit_gpt2(tmp_path / "captioner")
    with pytest.raises(UnsupportedTask, match="probe needs embed_images"):
        adapt(str(captioner), "probe", [1], 1, options)
    with pytest.raises(UsageError, match="--shots '1,x' is not a list of whole numbers"):
        _numbers("1,x")
    adapter = Clip(LoadOptions(str(checkpoints.clip(tmp_path / "clip"))))
    adapter.model = torch.nn.Linear(1, 1)
    with pytest.raises(ModelError, match="no table of words"):
        ContextPrompts(adapter, COLOURS)


def test_what_is_finished_is_taken_and_what_was_seen_is_told(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``adapt`` computed everything again, and said nothing of training data; what is no number became a class."""
    plugin = tmp_path / "seen.py"
    plugin.write_text(
        "import vlbench\nfrom tests.support.colours import Colours\n"
        "class Seen(Colours):\n    trained_on = ('colours',)\n"
        "    def embed_images(self, images):\n"
        "        return super().embed_images(images) * float(self.options.arguments.get('nan_for', 1))\n"
        "@vlbench.hookimpl\ndef vlbench_register_models(): return [vlbench.ModelSpec('seen', 'colours', Seen)]\n"
    )
    arguments = ["adapt", "--model", "seen", "--plugin", plugin, "--data", folder, "--shots", "1", "--seeds", 1]
    arguments += ["--device", "cpu", "--bootstrap", 20, "--output", tmp_path / "results"]
    assert run_app(list(map(str, arguments))) == 0
    assert "seen was trained on colours" in capsys.readouterr().err
    assert run_app([*map(str, arguments), "--shots", "1,2"]) == 0
    err = capsys.readouterr().err
    assert "probe, 1 shots: finished already; result reused" in err and "probe, 2 shots: accuracy" in err
    assert run_app([*map(str, arguments), "--model-arg", "nan_for=nan"]) == 4
    assert "the model returned a value that is not a finite number" in capsys.readouterr().err
