"""Built-in checkpoints keep the contract, and do what their objectives taught them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.nano import EVERYTHING, write_nano
from vlbench.adapter import LoadOptions
from vlbench.adapters.builtin import Builtin
from vlbench.errors import ModelError
from vlbench.testing import AdapterContract
from vlbench.testing.adapters import answer
from vlbench.testing.samples import pictures, requests_for
from vlbench.types import (
    ChoiceScores,
    Choose,
    Decoding,
    EmbedText,
    Generate,
    Generated,
    ImageRef,
    LogLikelihood,
    LogProbability,
    Region,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nano(tmp_path_factory.mktemp("nano"))


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Builtin:
    return Builtin(LoadOptions(checkpoint=str(folder)))


class TestBuiltin(AdapterContract):
    @pytest.fixture(autouse=True)
    def _folder(self, folder: Path) -> None:
        self.folder = folder

    def make_adapter(self) -> Builtin:
        return Builtin(LoadOptions(checkpoint=str(self.folder)))


class TestTheBundledModel(AdapterContract):
    def make_adapter(self) -> Builtin:
        return Builtin(LoadOptions(checkpoint="vlbench-tiny"))


@pytest.mark.parametrize(
    ("objectives", "capabilities"),
    [
        (("itc",), {"embed_images", "embed_texts"}),
        (("itc", "itm", "mlm"), {"embed_images", "embed_texts", "match"}),
        (("caption", "tag"), {"generate", "loglikelihood"}),
        (("vcr",), {"choose"}),
        (EVERYTHING, {"embed_images", "embed_texts", "match", "choose", "generate", "loglikelihood"}),
    ],
)
def test_objectives_decide_the_capabilities(
    tmp_path: Path, objectives: tuple[str, ...], capabilities: set[str]
) -> None:
    options = LoadOptions(checkpoint=str(write_nano(tmp_path, objectives)))
    assert Builtin.capabilities(options) == capabilities


def test_a_box_changes_what_is_chosen(adapter: Builtin, tmp_path: Path) -> None:
    """A tag is the region that it points to: the same words about another box are another question."""
    image = pictures(tmp_path)[0]
    scores = []
    for box in ((0.0, 0.0, 20.0, 20.0), (60.0, 40.0, 90.0, 70.0)):
        pointed = ImageRef(image.source, image.name, (Region("object1", box),))
        (response,) = answer(adapter, [Choose((pointed,), "What is [object1]?", ("a [object1]", "red"))])
        assert isinstance(response, ChoiceScores)
        scores.append(response.scores)
    assert np.abs(np.subtract(*scores)).max() > 1e-4


def test_texts_that_look_like_special_tokens_are_texts(adapter: Builtin) -> None:
    prepared = adapter.prepare_text("a [SEP] red [MASK] [object1]")
    assert prepared.ids[0] == 1 and prepared.ids[-1] == 3
    assert all(token > 6 for token in prepared.ids[1:-1])


def test_a_long_text_is_counted_as_truncated(adapter: Builtin, tmp_path: Path) -> None:
    image = pictures(tmp_path)[0]
    assert not adapter.truncates(EmbedText("a red circle"))
    assert adapter.truncates(EmbedText("a red circle " * 60))
    assert adapter.truncates(Choose((image,), "why? " * 200, ("yes", "no")))
    assert adapter.truncates(LogLikelihood((image,), "", "a red circle " * 60))


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(6),
        Decoding(6, num_beams=3),
        Decoding(6, num_beams=3, length_penalty=0.0, repetition_penalty=1.3),
        Decoding(6, temperature=0.8, top_p=0.9, seed=5),
    ],
)
def test_what_is_written_does_not_depend_on_the_batch(adapter: Builtin, tmp_path: Path, decoding: Decoding) -> None:
    images = pictures(tmp_path)
    requests = [Generate((image,), prompt, decoding) for image in images for prompt in ("", "What color is the star?")]
    together = [r.text for r in answer(adapter, requests) if isinstance(r, Generated)]
    alone = [r.text for request in requests for r in answer(adapter, [request]) if isinstance(r, Generated)]
    assert together == alone and len(alone) == len(requests)


def test_greedy_text_is_the_likeliest_at_each_step(adapter: Builtin, tmp_path: Path) -> None:
    """The likelihood of what was written is at least that of the same text with one other word."""
    image = pictures(tmp_path)[0]
    (written,) = answer(adapter, [Generate((image,), "", Decoding(1))])
    assert isinstance(written, Generated)
    texts = [written.text, "red", "circle", "yes"]
    scores = answer(adapter, [LogLikelihood((image,), "", text) for text in texts])
    totals = [r.total for r in scores if isinstance(r, LogProbability)]
    assert len(totals) == 4 and all(total < 0 for total in totals)


def test_beams_of_one_are_greedy_and_more_beams_are_no_less_likely(adapter: Builtin, tmp_path: Path) -> None:
    image = pictures(tmp_path)[1]

    def total(beams: int) -> float:
        request = Generate((image,), "", Decoding(4, num_beams=beams, length_penalty=0.0))
        (written,) = answer(adapter, [request])
        assert isinstance(written, Generated)
        (score,) = answer(adapter, [LogLikelihood((image,), "", written.text)])
        assert isinstance(score, LogProbability)
        return score.total

    assert total(4) >= total(1) - 1e-3


def test_a_likelihood_without_the_image_is_another(adapter: Builtin, tmp_path: Path) -> None:
    image = pictures(tmp_path)[0]
    seen, blind = answer(adapter, [LogLikelihood((image,), "what?", "red"), LogLikelihood((), "what?", "red")])
    assert isinstance(seen, LogProbability) and isinstance(blind, LogProbability)
    assert seen.total != blind.total and seen.tokens == blind.tokens


def test_two_images_fail_that_request_alone(adapter: Builtin, tmp_path: Path) -> None:
    images = pictures(tmp_path)
    with pytest.raises(ValueError, match="one image a request, not at 2"):
        adapter.prepare(Choose(tuple(images[:2]), "", ("a", "b")), (None, None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer.json cannot be read"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"torn"), "does not fit its config.json"),
        (lambda folder: _configure(folder, width=64), "does not fit its config.json"),
        (lambda folder: _configure(folder, vocabulary=3), "the model only 3"),
        (lambda folder: _configure(folder, unknown=3), "cannot be read as the configuration"),
    ],
)
def test_a_broken_checkpoint_is_one_clear_error(tmp_path: Path, change: object, message: str) -> None:
    write_nano(tmp_path)
    change(tmp_path)  # type: ignore[operator]
    with pytest.raises(ModelError, match=message):
        Builtin(LoadOptions(checkpoint=str(tmp_path)))


def _configure(folder: Path, **values: int) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="vlbench pretrain makes one"):
        Builtin(LoadOptions(checkpoint=str(tmp_path)))


def test_all_capabilities_answer(adapter: Builtin, tmp_path: Path) -> None:
    images = pictures(tmp_path)
    for capability in sorted(adapter.capabilities(adapter.options)):
        assert len(answer(adapter, requests_for(capability, images))) == len(images)
