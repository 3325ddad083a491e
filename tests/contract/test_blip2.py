"""BLIP-2 answers what the library answers that is called directly; the contract is in ``test_every_checkpoint``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.support import checkpoints
from vlbench.adapter import LoadOptions
from vlbench.adapters.blip2 import RETRIEVAL, WRITING, Blip2
from vlbench.errors import ModelError, UsageError
from vlbench.testing.adapters import answer, numbers
from vlbench.testing.samples import TEXTS, pictures
from vlbench.types import Decoding, Generate, LogLikelihood, Match

if TYPE_CHECKING:
    from pathlib import Path

QUESTION = "is there a red star?"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("blip2")
    made = {name: checkpoints.blip2(root / name, WRITING, name) for name in ("opt", "t5")}
    return {**made, "retrieval": checkpoints.blip2(root / "retrieval", RETRIEVAL)}


def _library(folder: Path, kind: str) -> tuple[Any, Any]:
    import transformers

    model = getattr(transformers, kind).from_pretrained(folder).eval()
    return model, transformers.Blip2Processor.from_pretrained(folder)


@pytest.mark.parametrize("head", ["itm", "itc"])
def test_scores_of_pairs_equal_the_library(folders: dict[str, Path], tmp_path: Path, head: str) -> None:
    images, texts = pictures(tmp_path), list(TEXTS)
    model, processor = _library(folders["retrieval"], RETRIEVAL)
    expected = []
    for image, text in zip(images, texts, strict=True):
        inputs = processor.tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        pixels = processor.image_processor(images=image.load(), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            scores = model(**inputs, pixel_values=pixels, use_image_text_matching_head=head == "itm").logits_per_image
        expected.append(float(scores[0, 1] - scores[0, 0]) if head == "itm" else float(scores[0, 0]))
    adapter = Blip2(LoadOptions(checkpoint=str(folders["retrieval"]), arguments={"head": head}))
    pairs = [Match(image, text) for image, text in zip(images, texts, strict=True)]
    got = [float(numbers(response)[0]) for response in answer(adapter, pairs)]
    assert np.abs(np.array(got) - expected).max() < 1e-5
    assert len({round(value, 3) for value in expected}) == len(expected)


@pytest.mark.parametrize("language", ["opt", "t5"])
@pytest.mark.parametrize("beams", [1, 3])
def test_written_text_equals_the_library(folders: dict[str, Path], tmp_path: Path, language: str, beams: int) -> None:
    model, processor = _library(folders[language], WRITING)
    images = pictures(tmp_path)
    texts = []
    for image in images:
        inputs = processor(images=image.load(), text=QUESTION, return_tensors="pt")
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=8, num_beams=beams)
        behind = ids[:, inputs["input_ids"].shape[1] :] if language == "opt" else ids
        texts.append(processor.batch_decode(behind, skip_special_tokens=True)[0].strip())
    adapter = Blip2(LoadOptions(checkpoint=str(folders[language])))
    got = answer(adapter, [Generate((image,), QUESTION, Decoding(8, num_beams=beams)) for image in images])
    assert [numbers(response) for response in got] == texts
    assert len(set(texts)) > 1


def test_a_caption_without_a_prompt_equals_the_library(folders: dict[str, Path], tmp_path: Path) -> None:
    model, processor = _library(folders["opt"], WRITING)
    (image, *_) = pictures(tmp_path)
    pixels = processor.image_processor(images=image.load(), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        ids = model.generate(pixel_values=pixels, max_new_tokens=8)
    expected = processor.batch_decode(ids[:, 5:], skip_special_tokens=True)[0].strip()
    (got,) = answer(Blip2(LoadOptions(checkpoint=str(folders["opt"]))), [Generate((image,), "", Decoding(8))])
    assert numbers(got) == expected


@pytest.mark.parametrize("language", ["opt", "t5"])
def test_likelihoods_of_choices_equal_the_loss_of_the_library(
    folders: dict[str, Path], tmp_path: Path, language: str
) -> None:
    model, processor = _library(folders[language], WRITING)
    (image, *_), choices = pictures(tmp_path), ("yes", "no", "a large green square")
    adapter = Blip2(LoadOptions(checkpoint=str(folders[language])))
    got = answer(adapter, [LogLikelihood((image,), QUESTION, choice) for choice in choices])
    for choice, response in zip(choices, got, strict=True):
        total, tokens = (float(value) for value in np.asarray(numbers(response)))
        joined = f"{QUESTION} {choice}</s>" if language == "opt" else QUESTION
        inputs = processor(images=image.load(), text=joined, return_tensors="pt")
        if language == "opt":
            labels = inputs["input_ids"].clone()
            labels[:, : -int(tokens)] = -100
        else:
            labels = processor.tokenizer(choice, return_tensors="pt").input_ids
        with torch.inference_mode():
            loss = float(model(**inputs, labels=labels).loss)
        assert total == pytest.approx(-loss * tokens, abs=1e-5 * tokens)
        assert language == "opt" or tokens == labels.shape[1]


def test_an_image_is_encoded_once_for_all_choices(folders: dict[str, Path], tmp_path: Path) -> None:
    adapter, seen = Blip2(LoadOptions(checkpoint=str(folders["opt"]))), []
    hook = adapter.model.vision_model.register_forward_hook(lambda _, given, out: seen.append(len(out[0])))
    (image, *_) = pictures(tmp_path)
    pixels = adapter.prepare_image(image.load())
    requests = [LogLikelihood((image,), QUESTION, choice) for choice in ("yes", "no", "red")]
    with torch.inference_mode():
        adapter.loglikelihood([adapter.prepare(request, (pixels,)) for request in requests])
    hook.remove()
    assert seen == [1]


def test_a_long_text_is_cut_and_counted(folders: dict[str, Path], tmp_path: Path) -> None:
    adapter = Blip2(LoadOptions(checkpoint=str(folders["opt"])))
    (image, *_), long = pictures(tmp_path), "is there a star? " * 30
    requests = [LogLikelihood((image,), long, choice) for choice in ("yes", "no", "red " * 90)]
    assert all(adapter.truncates(request) for request in requests)
    assert not adapter.truncates(LogLikelihood((image,), QUESTION, "yes"))
    scores = [np.asarray(numbers(response)) for response in answer(adapter, requests)]
    assert scores[0][0] != scores[1][0] and scores[0][1] > 1
    with pytest.raises(ValueError, match="one image a request, not at 2"):
        adapter.prepare(requests[0], (None, None))


def test_wrong_arguments_and_other_checkpoints_are_one_clear_error(folders: dict[str, Path], tmp_path: Path) -> None:
    def load(name: str, **arguments: str) -> Blip2:
        return Blip2(LoadOptions(checkpoint=str(folders[name]), arguments=arguments))

    with pytest.raises(UsageError, match="head=both is neither itm nor itc"):
        load("retrieval", head="both")
    with pytest.raises(UsageError, match="head is of Blip2ForImageTextRetrieval; this is a Blip2ForConditional"):
        load("opt", head="itc")
    folder = checkpoints.blip2(tmp_path / "old", WRITING)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"image_token_index": ', '"image_token_index": null, "was": '))
    with pytest.raises(ModelError, match="names no image_token_index in its config.json"):
        Blip2(LoadOptions(checkpoint=str(folder)))
