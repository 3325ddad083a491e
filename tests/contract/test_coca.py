"""CoCa of open_clip writes what the library's own forward pass makes likeliest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import dual_encoders
from vlbench.adapter import LoadOptions
from vlbench.adapters.open_clip import OpenCLIP
from vlbench.errors import ModelError
from vlbench.testing.adapters import answer
from vlbench.testing.samples import pictures
from vlbench.types import Decoding, Generate, Generated, LogLikelihood, LogProbability

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dual_encoders.coca(tmp_path_factory.mktemp("coca"))


@pytest.fixture(scope="module")
def adapter(folder: Path) -> OpenCLIP:
    return OpenCLIP(LoadOptions(checkpoint=str(folder)))


def test_greedy_text_equals_a_plain_loop_over_the_library(folder: Path, adapter: OpenCLIP, tmp_path: Path) -> None:
    import open_clip
    import torch

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    images = pictures(tmp_path)
    expected = []
    for image in images:
        ids = [tokenizer.sot_token_id]
        while len(ids) < 9:
            with torch.no_grad():
                pixels = transform(image.load())[None]
                scores = model(pixels, torch.tensor([ids]), output_labels=False)["logits"][0, -1]
            scores[[0, tokenizer.sot_token_id]] = -torch.inf
            token = int(scores.argmax())
            if token == tokenizer.eot_token_id:
                break
            ids.append(token)
        expected.append(tokenizer.decode(ids[1:]).strip())
    got = answer(adapter, [Generate((image,), "", Decoding(8)) for image in images])
    assert [r.text for r in got if isinstance(r, Generated)] == expected
    assert len(set(expected)) > 1 and all(expected)


def test_likelihood_is_that_of_the_library(folder: Path, adapter: OpenCLIP, tmp_path: Path) -> None:
    import open_clip
    import torch

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    image, text = pictures(tmp_path)[0], "a red circle"
    ids = open_clip.get_tokenizer(f"local-dir:{folder}")([text])
    with torch.inference_mode():
        output = model(transform(image.load())[None], ids)
    loss = torch.nn.functional.cross_entropy(output["logits"][0], output["labels"][0], ignore_index=0, reduction="sum")
    (got,) = answer(adapter, [LogLikelihood((image,), "", text)])
    assert isinstance(got, LogProbability) and got.tokens == 4
    assert got.total == pytest.approx(-float(loss), abs=1e-5 * got.tokens)


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(6, num_beams=3),
        Decoding(6, num_beams=3, length_penalty=0.0, repetition_penalty=1.3),
        Decoding(6, temperature=0.8, top_p=0.9, seed=5),
    ],
)
def test_what_is_written_does_not_depend_on_the_batch(adapter: OpenCLIP, tmp_path: Path, decoding: Decoding) -> None:
    requests = [Generate((image,), prompt, decoding) for image in pictures(tmp_path) for prompt in ("", "a red")]
    together = [r.text for r in answer(adapter, requests) if isinstance(r, Generated)]
    alone = [r.text for request in requests for r in answer(adapter, [request]) if isinstance(r, Generated)]
    assert together == alone and len(alone) == len(requests)


def test_capabilities_are_known_before_loading(folder: Path, tmp_path: Path) -> None:
    def known(checkpoint: str) -> frozenset[str]:
        return OpenCLIP.capabilities(LoadOptions(checkpoint=checkpoint))

    embeds = {"embed_images", "embed_texts"}
    assert known("ViT-B-32/openai") == known("no-such-architecture") == known("coca_roberta-ViT-B-32") == embeds
    assert known(str(folder)) == known(f"local-dir:{folder}") == known("coca_ViT-B-32") > embeds
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be read as a configuration of open_clip"):
        known(str(tmp_path))


def test_a_long_text_is_cut_and_counted(adapter: OpenCLIP, tmp_path: Path) -> None:
    image = pictures(tmp_path)[0]
    assert not adapter.truncates(LogLikelihood((image,), "", "a " * 30))
    assert adapter.truncates(LogLikelihood((image,), "", "a " * 31))
    long = [LogLikelihood((image,), "why " * 40, "a " * 40), LogLikelihood((image,), "", "a " * 31)]
    assert [r.tokens for r in answer(adapter, long) if isinstance(r, LogProbability)] == [31, 31]


def test_two_images_fail_that_request_alone(adapter: OpenCLIP, tmp_path: Path) -> None:
    images = pictures(tmp_path)
    with pytest.raises(ValueError, match="one image a request, not at 2"):
        adapter.prepare(Generate(tuple(images[:2]), "", Decoding()), (None, None))
