"""open_clip keeps the contract, and its outputs equal those of calling the library directly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support import dual_encoders
from vlbench.adapter import LoadOptions
from vlbench.adapters.open_clip import OpenCLIP
from vlbench.errors import ModelError
from vlbench.testing import AdapterContract
from vlbench.testing.adapters import answer
from vlbench.testing.samples import TEXTS, pictures, requests_for
from vlbench.types import Embedding, EmbedText

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ARCHITECTURE = "ViT-S-32-alt"


@pytest.fixture(scope="module")
def loaded() -> OpenCLIP:
    return OpenCLIP(LoadOptions(checkpoint=ARCHITECTURE, arguments={"pretrained": "none"}))


class TestOpenCLIP(AdapterContract):
    def make_adapter(self) -> OpenCLIP:
        return OpenCLIP(LoadOptions(checkpoint=ARCHITECTURE, arguments={"pretrained": "none"}))


def test_embeddings_equal_the_library(loaded: OpenCLIP, tmp_path: Path) -> None:
    import open_clip
    import torch

    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms(ARCHITECTURE)
    model.eval()
    images = pictures(tmp_path)
    with torch.inference_mode():
        texts = model.encode_text(open_clip.get_tokenizer(ARCHITECTURE)(list(TEXTS))).numpy()
        seen = model.encode_image(torch.stack([transform(image.load()) for image in images])).numpy()
    for capability, expected in (("embed_texts", texts), ("embed_images", seen)):
        got = [r.vector for r in answer(loaded, requests_for(capability, images)) if isinstance(r, Embedding)]
        assert np.abs(np.stack(got) - expected).max() < 1e-5


@pytest.mark.parametrize("make", [dual_encoders.open_clip, dual_encoders.coca])
def test_embeddings_of_a_folder_equal_the_library(make: Callable[[Path], Path], tmp_path: Path) -> None:
    import open_clip
    import torch

    folder, images = make(tmp_path / "checkpoint"), pictures(tmp_path)
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    with torch.inference_mode():
        texts = model.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(list(TEXTS))).numpy()
        seen = model.encode_image(torch.stack([transform(image.load()) for image in images])).numpy()
    adapter = OpenCLIP(LoadOptions(checkpoint=str(folder)))
    for capability, expected in (("embed_texts", texts), ("embed_images", seen)):
        got = [r.vector for r in answer(adapter, requests_for(capability, images)) if isinstance(r, Embedding)]
        assert np.abs(np.stack(got) - expected).max() < 1e-5


def test_a_long_text_is_counted_as_truncated(loaded: OpenCLIP) -> None:
    assert not loaded.truncates(EmbedText("word " * 75))
    assert loaded.truncates(EmbedText("word " * 76))


def test_the_seed_makes_the_random_model(loaded: OpenCLIP) -> None:
    def made(seed: int) -> str:
        options = LoadOptions(checkpoint=ARCHITECTURE, seed=seed, arguments={"pretrained": "none"})
        return OpenCLIP(options).fingerprint()

    assert loaded.random_weights
    assert made(0) == loaded.fingerprint() != made(1)


def test_local_weights_are_loaded(loaded: OpenCLIP, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = tmp_path / "weights-openai.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in loaded.model.state_dict().items()}, file)
    again = OpenCLIP(LoadOptions(checkpoint=ARCHITECTURE, seed=7, arguments={"pretrained": str(file)}))
    assert again.fingerprint() == loaded.fingerprint()
    assert not again.random_weights
    assert not loaded.notes()
    assert "is named after OpenAI, whose weights need QuickGELU" in again.notes()[0]


@pytest.mark.parametrize(
    ("checkpoint", "pretrained", "message"),
    [
        ("ViT-B-23", "none", "no architecture 'ViT-B-23'; did you mean"),
        ("ViT-B-32", "", "names no weights"),
        ("ViT-B-32/openai", "", "openai need QuickGELU, .* use open_clip:ViT-B-32-quickgelu/openai"),
        ("ViT-B-32", "openai", "openai need QuickGELU, .* use open_clip:ViT-B-32-quickgelu/openai"),
        ("ViT-B-32/openia", "", "no weights 'openia' for ViT-B-32; its tags: openai"),
        ("ViT-B-32", "no/such/file.pt", "weights file no/such/file.pt does not exist"),
    ],
)
def test_a_wrong_name_is_one_clear_error(checkpoint: str, pretrained: str, message: str) -> None:
    arguments = {"pretrained": pretrained} if pretrained else {}
    with pytest.raises(ModelError, match=message):
        OpenCLIP(LoadOptions(checkpoint=checkpoint, arguments=arguments))
