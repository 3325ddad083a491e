"""The adapters over transformers keep the contract, and their outputs equal those of calling the library directly."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.support import checkpoints
from tests.support.made import EVERY
from vlbench.adapter import Adapter, LoadOptions
from vlbench.adapters.blip import CAPTION, QUESTIONS, Blip
from vlbench.adapters.chat import Chat
from vlbench.adapters.clip import Clip
from vlbench.adapters.vision_encoder_decoder import VisionEncoderDecoder
from vlbench.errors import ModelError, UsageError
from vlbench.testing.adapters import answer, numbers
from vlbench.testing.samples import TEXTS, pictures
from vlbench.types import Decoding, EmbedImage, EmbedText, Generate, ImageRef, LogLikelihood, Match

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class _Folders(dict[str, "Path"]):
    """Checkpoints by name, each written when it is first asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def __missing__(self, name: str) -> Path:
        self[name] = EVERY[name].make(self._root / name)
        return self[name]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return _Folders(tmp_path_factory.mktemp("checkpoints"))


def _vectors(adapter: Adapter, requests: Sequence[Any]) -> np.ndarray:
    return np.stack([np.asarray(numbers(response)) for response in answer(adapter, requests)])


def _inputs(folder: Path, images: Sequence[ImageRef], texts: Sequence[str], **words: Any) -> Any:
    from transformers import AutoImageProcessor, AutoTokenizer

    found = dict(AutoTokenizer.from_pretrained(folder)(list(texts), return_tensors="pt", **words))
    seen = AutoImageProcessor.from_pretrained(folder)(images=[image.load() for image in images], return_tensors="pt")
    return {**found, **seen}


LONGEST = {"padding": True, "truncation": True}
SIXTY_FOUR = {"padding": "max_length", "max_length": 64, "truncation": True}
MODEL_INPUTS = ("input_ids", "attention_mask", "pixel_values", "pixel_attention_mask", "spatial_shapes")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        *(("clip", LONGEST), ("chinese-clip", LONGEST), ("altclip", LONGEST), ("align", SIXTY_FOUR)),
        *(("siglip", SIXTY_FOUR), ("siglip2", SIXTY_FOUR), ("siglip2-naflex", SIXTY_FOUR)),
    ],
)
def test_a_dual_encoder_equals_the_library(
    folders: dict[str, Path], tmp_path: Path, made: str, words: dict[str, Any]
) -> None:
    from transformers import AutoModel

    images, texts = pictures(tmp_path), list(TEXTS)
    inputs = _inputs(folders[made], images, texts, **words)
    inputs = {k: v for k, v in inputs.items() if k in MODEL_INPUTS}
    if made.startswith("siglip"):
        inputs.pop("attention_mask", None)
    with torch.inference_mode():
        output = AutoModel.from_pretrained(folders[made]).eval()(**inputs)
    adapter = Clip(LoadOptions(checkpoint=str(folders[made])))
    seen = _vectors(adapter, [EmbedImage(image) for image in images])
    read = _vectors(adapter, [EmbedText(text) for text in texts])
    for got, expected in ((seen, output.image_embeds.numpy()), (read, output.text_embeds.numpy())):
        got = got / np.linalg.norm(got, axis=1, keepdims=True)
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
        assert np.abs(got - expected).max() < 1e-5
        # Vectors that were all alike would agree whatever went in.
        assert (expected @ expected.T).min() < 0.95


def test_blip_retrieval_equals_the_library(folders: dict[str, Path], tmp_path: Path) -> None:
    from transformers import BlipForImageTextRetrieval

    folder, images = folders["blip-retrieval"], pictures(tmp_path)
    texts = list(TEXTS)[: len(images)]
    images = images[: len(texts)]
    inputs = _inputs(folder, images, texts, padding=True)
    inputs.pop("token_type_ids", None)
    model = BlipForImageTextRetrieval.from_pretrained(folder).eval()
    with torch.inference_mode():
        cosine = model(**inputs, use_itm_head=False).itm_score.numpy()
        logits = model(**inputs).itm_score.numpy()
    adapter = Blip(LoadOptions(checkpoint=str(folder)))
    seen = _vectors(adapter, [EmbedImage(image) for image in images])
    read = _vectors(adapter, [EmbedText(text) for text in texts])
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    read /= np.linalg.norm(read, axis=1, keepdims=True)
    assert np.abs(seen @ read.T - cosine).max() < 1e-5
    scores = _vectors(adapter, [Match(image, text) for image, text in zip(images, texts, strict=True)])[:, 0]
    assert np.abs(scores - (logits[:, 1] - logits[:, 0])).max() < 1e-5


@pytest.mark.parametrize("made", ["blip-caption", "blip-questions", "vit-gpt2"])
@pytest.mark.parametrize("beams", [1, 3])
def test_written_text_equals_the_library(folders: dict[str, Path], tmp_path: Path, made: str, beams: int) -> None:
    import transformers

    folder, (image, *_) = folders[made], pictures(tmp_path)
    kinds = {"blip-caption": CAPTION, "blip-questions": QUESTIONS, "vit-gpt2": "VisionEncoderDecoderModel"}
    model = getattr(transformers, kinds[made]).from_pretrained(folder).eval()
    prompt = "is there a red star?" if made == "blip-questions" else ""
    inputs = _inputs(folder, [image], [prompt])
    wanted = ("pixel_values", "input_ids") if made == "blip-questions" else ("pixel_values",)
    with torch.inference_mode():
        ids = model.generate(**{name: inputs[name] for name in wanted}, max_new_tokens=8, num_beams=beams)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    expected = tokenizer.batch_decode(ids, skip_special_tokens=True)[0].strip()
    adapter = {"vit-gpt2": VisionEncoderDecoder}.get(made, Blip)(LoadOptions(checkpoint=str(folder)))
    (got,) = answer(adapter, [Generate((image,), prompt, Decoding(max_new_tokens=8, num_beams=beams))])
    assert numbers(got) == expected


def test_likelihood_equals_the_loss_of_the_library(folders: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoTokenizer, VisionEncoderDecoderModel

    folder, (image, *_) = folders["vit-gpt2"], pictures(tmp_path)
    model = VisionEncoderDecoderModel.from_pretrained(folder).eval()
    text = "a red star"
    ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt").input_ids
    labels = torch.cat((ids, torch.tensor([[model.config.eos_token_id]])), dim=1)
    with torch.inference_mode():
        loss = float(model(pixel_values=_inputs(folder, [image], [text])["pixel_values"], labels=labels).loss)
    adapter = VisionEncoderDecoder(LoadOptions(checkpoint=str(folder)))
    (got,) = answer(adapter, [LogLikelihood((image,), "", text)])
    total, tokens = np.asarray(numbers(got))
    assert tokens == labels.shape[1]
    assert total == pytest.approx(-loss * labels.shape[1], abs=1e-5 * labels.shape[1])


def test_likelihoods_of_blip_equal_those_of_the_library(folders: dict[str, Path], tmp_path: Path) -> None:
    """A caption's from the logits of the whole text, an answer's from the loss without smoothing."""
    import transformers

    (image, *_), prompt, text = pictures(tmp_path), "a picture of", "a red star"
    requests = {"blip-caption": prompt, "blip-questions": "is there a red star?"}
    for made, asked in requests.items():
        model = getattr(transformers, {"blip-caption": CAPTION}.get(made, QUESTIONS)).from_pretrained(folders[made])
        model.eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folders[made])
        pixels = _inputs(folders[made], [image], [""])["pixel_values"]
        with torch.inference_mode():
            if made == "blip-caption":
                ids = tokenizer(f"{asked} {text}", return_tensors="pt").input_ids
                scores = model(pixel_values=pixels, input_ids=ids).logits.log_softmax(dim=-1)
                tokens = ids.shape[1] - len(tokenizer(asked).input_ids[:-1])
                expected = float(scores[0, :-1].gather(1, ids[0, 1:, None])[-tokens:].sum())
            else:
                model.text_decoder.label_smoothing = 0.0
                question = tokenizer(asked, return_tensors="pt").input_ids
                labels = tokenizer(text, return_tensors="pt").input_ids
                answers = labels.clone()
                answers[0, 0] = model.decoder_start_token_id
                output = model(input_ids=question, pixel_values=pixels, decoder_input_ids=answers, labels=labels)
                tokens = labels.shape[1] - 1
                expected = -float(output.loss) * tokens
        (got,) = answer(Blip(LoadOptions(checkpoint=str(folders[made]))), [LogLikelihood((image,), asked, text)])
        total, count = np.asarray(numbers(got))
        assert count == tokens
        assert total == pytest.approx(expected, abs=1e-5 * tokens)


def _chat(folder: Path, images: Sequence[ImageRef], prompt: str, answer: str = "") -> Any:
    """Return model and inputs of a conversation as the library's own documentation makes them."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    content = [*({"type": "image"} for _ in images), {"type": "text", "text": prompt}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    seen = [image.load() for image in images] or None
    inputs = processor(text=text + answer, images=seen, return_tensors="pt", add_special_tokens=False)
    return AutoModelForImageTextToText.from_pretrained(folder).eval(), processor, inputs


CHATS = ("llava", "qwen2.5-vl", "idefics3")


@pytest.mark.parametrize("made", CHATS)
@pytest.mark.parametrize("count", [1, 2])
def test_a_chat_equals_the_library(folders: dict[str, Path], tmp_path: Path, made: str, count: int) -> None:
    images, prompt = pictures(tmp_path)[:count], "is there a red star?"
    model, processor, inputs = _chat(folders[made], images, prompt)
    with torch.inference_mode():
        ids = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    expected = processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0].strip()
    adapter = Chat(LoadOptions(checkpoint=str(folders[made])))
    (got,) = answer(adapter, [Generate(tuple(images), prompt, Decoding(max_new_tokens=8))])
    assert numbers(got) == expected


@pytest.mark.parametrize("made", CHATS)
def test_answers_that_share_a_prompt_have_the_likelihood_of_the_whole_text(
    folders: dict[str, Path], tmp_path: Path, made: str
) -> None:
    """With two images, one and none, in this order: what a model remembers of images must not reach the next."""
    pair, prompt, choices = pictures(tmp_path)[:2], "is there a red star?", ("yes", "no", "a large green square")
    adapter = Chat(LoadOptions(checkpoint=str(folders[made])))
    for images in (pair, pair[:1], []):
        got = answer(adapter, [LogLikelihood(tuple(images), prompt, choice) for choice in choices])
        for choice, response in zip(choices, got, strict=True):
            model, _, inputs = _chat(
                folders[made], images, prompt, choice + ("</s>" if made == "llava" else "<|im_end|>")
            )
            with torch.inference_mode():
                scores = model(**inputs).logits.log_softmax(dim=-1)
            total, tokens = (float(value) for value in np.asarray(numbers(response)))
            ids = inputs["input_ids"][0, -int(tokens) :]
            expected = scores[0, -int(tokens) - 1 : -1].gather(1, ids[:, None]).sum()
            assert total == pytest.approx(float(expected), abs=1e-5 * tokens)


@pytest.mark.parametrize(("kind", "made"), [(Clip, "clip"), (Chat, "llava"), (VisionEncoderDecoder, "vit-gpt2")])
def test_a_random_model_by_the_configuration_is_marked(
    folders: dict[str, Path], kind: type[Adapter], made: str
) -> None:
    loaded = kind(LoadOptions(checkpoint=str(folders[made])))
    random = kind(LoadOptions(checkpoint=str(folders[made]), seed=5, arguments={"pretrained": "none"}))
    assert random.random_weights and not loaded.random_weights
    assert random.fingerprint() != loaded.fingerprint()


def test_a_prompt_that_is_too_long_gives_way_to_what_is_scored(folders: dict[str, Path], tmp_path: Path) -> None:
    adapter = VisionEncoderDecoder(LoadOptions(checkpoint=str(folders["vit-gpt2"])))
    (image, *_), prompt = pictures(tmp_path), "is there a star? " * 30
    requests = [LogLikelihood((image,), prompt, choice) for choice in ("yes", "no")]
    assert all(adapter.truncates(request) for request in requests)
    first, second = (np.asarray(numbers(response)) for response in answer(adapter, requests))
    assert first[0] != second[0] and first[1] > 1


def test_an_archive_takes_no_arguments(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(UsageError, match="no --model-arg but trim applies"):
        Clip(LoadOptions(checkpoint=str(tmp_path / "model.pt"), arguments={"compile": "yes"}))


def test_a_configuration_without_the_activation_of_its_weights_is_named(tmp_path: Path) -> None:
    def notes(folder: Path, vision: str, text: str) -> Sequence[str]:
        path = checkpoints.clip(folder) / "config.json"
        config = json.loads(path.read_text())
        config["vision_config"]["hidden_act"], config["text_config"]["hidden_act"] = vision, text
        path.write_text(json.dumps(config))
        return Clip(LoadOptions(checkpoint=str(folder))).notes()

    assert not notes(tmp_path / "openai-clip", "quick_gelu", "quick_gelu")
    assert "its configuration says gelu" in notes(tmp_path / "openai-clip", "gelu", "gelu")[0]
    assert "one tower computes QuickGELU, the other gelu" in notes(tmp_path / "mixed", "quick_gelu", "gelu")[0]
    assert not notes(tmp_path / "laion-clip", "gelu", "gelu")


def test_attention_compilation_and_placement_are_the_users(folders: dict[str, Path]) -> None:
    def load(**arguments: str) -> Clip:
        return Clip(LoadOptions(checkpoint=str(folders["clip"]), arguments=arguments))

    adapter = load(attn="eager", compile="yes", device_map="cpu")
    assert adapter.model.config.vision_config._attn_implementation == "eager"
    assert adapter.model.vision_model._compiled_call_impl is not None
    assert adapter.device == "cpu" and adapter.fingerprint() == load().fingerprint()
    with pytest.raises(ModelError, match="cannot load .*attn|cannot load .*Specified"):
        load(attn="none-such")
    with pytest.raises(ModelError, match="cannot load"):
        load(device_map="none-such")


def test_preprocessing_names_every_setting_and_no_place(folders: dict[str, Path], tmp_path: Path) -> None:
    def described(folder: str, file: str = "", **changes: Any) -> str:
        copy = shutil.copytree(folders["clip"], tmp_path / folder)
        if file:
            path = copy / file
            path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        return Clip(LoadOptions(checkpoint=str(copy))).preprocessing()

    tokenizer = json.loads((folders["clip"] / "tokenizer.json").read_text())
    found = [
        described("as-it-is"),
        described("side", "tokenizer_config.json", truncation_side="left"),
        described("length", "tokenizer_config.json", model_max_length=16),
        described("rules", "tokenizer.json", normalizer={"type": "Lowercase"}),
        described("mean", "preprocessor_config.json", image_mean=[0.5, 0.5, 0.5]),
    ]
    assert tokenizer["normalizer"] is None and len(set(found)) == len(found)
    assert described("elsewhere") == found[0] and str(tmp_path) not in found[0]


def test_preprocessing_of_a_chat_holds_the_settings_of_its_processor(folders: dict[str, Path]) -> None:
    made = Chat(LoadOptions(checkpoint=str(folders["llava"]))).preprocessing()
    assert '"num_additional_image_tokens": 1' in made and '"crop_size"' in made
    assert " at 0x" not in made and str(folders["llava"]) not in made
