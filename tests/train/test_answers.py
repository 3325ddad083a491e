"""Answering questions by choosing among the training answers: vocabulary, soft targets, loss, head, adapter."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from tests.support.nano import nano, write_nano
from vlbench.adapter import LoadOptions
from vlbench.adapters.builtin import Builtin
from vlbench.cli.app import run_app
from vlbench.errors import UsageError
from vlbench.models.config import ModelConfig
from vlbench.testing.adapters import answer
from vlbench.testing.samples import pictures
from vlbench.train.answers import give_answers, learn_answers, soft_targets
from vlbench.train.examples import AskedQuestion, FolderExample
from vlbench.train.objectives import answer_loss
from vlbench.types import Decoding, Generate, Generated, ImageRef

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = ImageRef(None, "none.png")  # type: ignore[arg-type]


def _asked(*answers: str) -> FolderExample:
    return FolderExample(IMAGE, questions=(AskedQuestion("what?", answers[0], answers),))


def test_soft_targets_are_the_accuracy_of_each_answer() -> None:
    assert soft_targets(["two"] * 5 + ["2"] + ["three"] * 2 + ["a few"]) == {"2": 1.0, "3": 2 / 3, "few": 1 / 3}


def test_a_vocabulary_has_frequent_answers_in_their_usual_spelling_and_counts_the_others() -> None:
    examples = [
        _asked("Red", "red"),
        _asked("red"),
        _asked("red"),
        _asked("2", "two", "red"),
        _asked("two"),
        _asked("odd"),
    ]
    found = learn_answers(examples, 2)
    assert found.answers == ("red", "2") and (found.questions, found.unanswered) == (6, 1)
    assert (found.given, found.outside) == (9, 1)
    assert "outside of them are 1 of 9 answers" in str(found)
    with pytest.raises(UsageError, match="lower min_answer_count"):
        learn_answers(examples, 4)


def test_the_loss_by_hand() -> None:
    """Sum over answers of -s log p - (1 - s) log(1 - p), mean over questions."""
    logits, targets = torch.tensor([[0.0, 1.0], [2.0, -1.0]]), torch.tensor([[1.0, 0.0], [2 / 3, 1 / 3]])

    def term(logit: float, target: float) -> float:
        p = 1 / (1 + math.exp(-logit))
        return -target * math.log(p) - (1 - target) * math.log(1 - p)

    by_hand = (term(0, 1) + term(1, 0) + term(2, 2 / 3) + term(-1, 1 / 3)) / 2
    assert answer_loss(logits, targets).item() == pytest.approx(by_hand, abs=1e-6)


def test_answers_in_common_keep_their_weights() -> None:
    model = copy.deepcopy(nano()).model
    give_answers(model, ("yes", "no", "red"), 0)
    before = copy.deepcopy(model.answer_head)
    give_answers(model, ("blue", "Yes", "no"), 1)
    assert before is not None and model.answer_head is not None
    assert model.config.answers == ("blue", "Yes", "no")
    assert torch.equal(model.answer_head[-1].weight[1:], before[-1].weight[:2])
    assert torch.equal(model.answer_head[0].weight, before[0].weight)


@pytest.mark.filterwarnings("ignore")
def test_finetuning_to_classify_answers_with_the_vocabulary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command line: the vocabulary lies in the checkpoint, questions get its answers, captions are written.

    Trained to write answers afterwards, a model went on answering with its head, which had not learned since.
    """
    start = write_nano(tmp_path / "start")
    (tmp_path / "recipe.yaml").write_text(
        "objectives: {vqa: 1.5}\nscenes: 60\nbatch_size: 8\nsteps: 25\nlearning_rate: 3.0e-3\n"
    )
    common = ["--recipe", str(tmp_path / "recipe.yaml"), "--device", "cpu", "--output", str(tmp_path / "tuned")]
    line = ["finetune", "--model", str(start), "--task", "vqa", *common, "--vqa-head", "classify"]
    assert run_app(line) == 0
    assert "answers to choose among; outside of them are" in capsys.readouterr().err
    rows = (tmp_path / "tuned" / "training_log.csv").read_text().splitlines()
    assert rows[0].endswith("answer") and float(rows[2].split(",")[-1]) < float(rows[1].split(",")[-1])
    adapter = Builtin(LoadOptions(checkpoint=str(tmp_path / "tuned")))
    known = adapter.model.config.answers
    assert {"yes", "no", "red", "circle", "2"} <= set(known)
    images = pictures(tmp_path)
    questions = [Generate((image,), "Is there a red circle?", Decoding(4)) for image in images]
    texts = [
        r.text
        for r in answer(adapter, [*questions, Generate((images[0],), "", Decoding(4))])
        if isinstance(r, Generated)
    ]
    assert len(texts) == len(images) + 1 and set(texts[:-1]) <= set(known)
    alone = [r.text for question in questions for r in answer(adapter, [question]) if isinstance(r, Generated)]
    assert alone == texts[:-1]

    again = [*line[:2], str(tmp_path / "tuned"), *line[3:-2], "--steps", "1", "--output", str(tmp_path / "again")]
    assert run_app(again) == 0 and "the answering head of" in capsys.readouterr().err
    config = ModelConfig.read(tmp_path / "again")
    assert config.answers == () and "answer" not in config.objectives and "vqa" in config.objectives
    assert not {name for name in load_file(tmp_path / "again" / "model.safetensors") if name.startswith("answer_head")}


@pytest.mark.parametrize(
    ("model", "head", "message"),
    [
        ("vlbench-tiny", "sort", "--vqa-head 'sort' is none of generate, classify"),
        ("some/model", "classify", "--vqa-head classify is for built-in models"),
    ],
)
def test_a_head_that_cannot_be_is_one_clear_error(
    tmp_path: Path, model: str, head: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["finetune", "--model", model, "--task", "vqa", "--vqa-head", head, "--output", str(tmp_path / "out")]
    assert run_app(line) == 2 and message in capsys.readouterr().err
