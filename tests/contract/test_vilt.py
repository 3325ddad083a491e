"""ViLT answers as the library does, whatever pictures and questions share a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.support import checkpoints
from vlbench.adapter import LoadOptions
from vlbench.adapters.vilt import QUESTIONS, RETRIEVAL, Vilt
from vlbench.data.source import LocalFolder
from vlbench.errors import ModelError
from vlbench.testing.adapters import answer, numbers
from vlbench.testing.samples import TEXTS
from vlbench.types import Decoding, Generate, ImageRef, Match

if TYPE_CHECKING:
    from pathlib import Path

SIZES = ((96, 80), (40, 90), (200, 30), (64, 64))


@pytest.fixture(scope="session")
def retrieval(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.vilt(tmp_path_factory.mktemp("vilt") / "retrieval", RETRIEVAL)


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.vilt(tmp_path_factory.mktemp("vilt") / "questions", QUESTIONS)


def _pictures(folder: Path) -> list[ImageRef]:
    """Write pictures of four shapes, of coloured noise."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for n, (width, height) in enumerate(SIZES):
        Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{n}.png")
    return [ImageRef(LocalFolder(folder), f"{n}.png") for n in range(len(SIZES))]


def _library(folder: Path, kind: str, image: ImageRef, text: str) -> torch.Tensor:
    """Return the logits (outputs of the head,) of calling the library directly, without a batch."""
    import transformers

    inputs = {
        **transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt"),
        **transformers.AutoImageProcessor.from_pretrained(folder)(images=image.load(), return_tensors="pt"),
    }
    with torch.inference_mode():
        logits: torch.Tensor = getattr(transformers, kind).from_pretrained(folder).eval()(**inputs).logits[0]
    return logits


def test_scores_of_pictures_of_all_shapes_in_one_batch_equal_the_library(retrieval: Path, tmp_path: Path) -> None:
    images = _pictures(tmp_path)
    responses = answer(
        Vilt(LoadOptions(checkpoint=str(retrieval))),
        [Match(image, text) for image, text in zip(images, TEXTS, strict=True)],
    )
    for image, text, response in zip(images, TEXTS, responses, strict=True):
        expected = float(_library(retrieval, RETRIEVAL, image, text))
        assert float(numbers(response)[0]) == pytest.approx(expected, abs=1e-5)
    assert len({round(float(numbers(response)[0]), 2) for response in responses}) == len(images)


def test_the_best_answer_equals_the_library(questions: Path, tmp_path: Path) -> None:
    images = _pictures(tmp_path)
    adapter = Vilt(LoadOptions(checkpoint=str(questions)))
    requests = [Generate((image,), text, Decoding()) for image in images for text in TEXTS]
    names = ["yes", "no", "red", "2"]
    seen = set()
    for request, response in zip(requests, answer(adapter, requests), strict=True):
        logits = _library(questions, QUESTIONS, request.images[0], request.prompt)
        assert numbers(response) == names[int(logits.argmax())]
        seen.add(numbers(response))
    assert len(seen) > 1


def test_a_limit_on_patches_does_not_make_answers_random(tmp_path: Path) -> None:
    """The library keeps the limit by drawing patches at random."""
    image = _pictures(tmp_path)[0]
    scores = []
    for limit in (-1, 3):
        folder = checkpoints.vilt(tmp_path / str(limit), RETRIEVAL, max_image_length=limit)
        adapter = Vilt(LoadOptions(checkpoint=str(folder)))
        scores += [numbers(answer(adapter, [Match(image, "a red star")])[0])[0] for _ in range(2)]
    assert len(set(scores)) == 1


def test_a_long_question_is_cut_before_its_end_mark_and_counted(questions: Path, tmp_path: Path) -> None:
    adapter = Vilt(LoadOptions(checkpoint=str(questions)))
    (image, *_) = _pictures(tmp_path)
    ids = adapter.prepare_text("is there a red star? " * 20)
    assert len(ids) == 40 and ids[-1] == adapter.prepare_text("star")[-1]
    long, short = answer(adapter, [Generate((image,), text, Decoding()) for text in ("red star " * 40, "red star")])
    assert long.truncated and not short.truncated


def test_a_picture_too_thin_for_the_library_is_seen(retrieval: Path, tmp_path: Path) -> None:
    from PIL import Image

    adapter = Vilt(LoadOptions(checkpoint=str(retrieval)))
    assert adapter.prepare_image(Image.new("RGB", (640, 20))).shape == (3, 8, 48)
    assert adapter.prepare_image(Image.new("RGB", (1, 300))).shape == (3, 48, 8)
    assert adapter.prepare_image(Image.new("RGB", (640, 480))).shape == (3, 32, 40)


def test_answers_without_names_are_refused(tmp_path: Path) -> None:
    folder = checkpoints.vilt(tmp_path / "model", QUESTIONS, id2label={0: "LABEL_0", 1: "LABEL_1"}, label2id={})
    with pytest.raises(ModelError, match="does not name its answers; its config.json needs id2label"):
        Vilt(LoadOptions(checkpoint=str(folder)))
