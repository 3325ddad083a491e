"""Towers of transformers and open_clip that a new model begins with: equal outputs, clear refusals, one whole run."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.checkpoints import bert_tokenizer
from tests.support.kills import killed_in_step
from vlbench.adapter import LoadOptions
from vlbench.adapters.builtin import Builtin
from vlbench.cli.app import run_app
from vlbench.errors import UsageError, VlbenchError
from vlbench.models.batch import pad
from vlbench.models.checkpoint import load_checkpoint
from vlbench.models.config import SIZES, ModelConfig, layers_by_fusion
from vlbench.models.model import VisionLanguageModel
from vlbench.models.text import bidirectional_mask
from vlbench.models.tokenizer import SEP, SPECIAL, single
from vlbench.train.recipe import Recipe
from vlbench.train.run import new_checkpoint, open_source, pretrain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vlbench.models.checkpoint import Checkpoint

SMALL: Mapping[str, Any] = {"hidden_size": 32, "intermediate_size": 128, "num_attention_heads": 2}
MEAN, STD = [0.2, 0.4, 0.6], [0.3, 0.5, 0.7]
TEXTS = ("a red circle, [SEP]", "there is a small blue star on the picture")


def _shaken(model: Any) -> Any:
    """Give each weight, also those of norms and biases, a value of its own."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    return model.eval()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Folders of each kind of tower, and the library's own model for each."""
    import open_clip
    import transformers as hf

    place = tmp_path_factory.mktemp("towers")
    vision = {**SMALL, "num_hidden_layers": 1, "image_size": 32, "patch_size": 8}
    models: dict[str, Any] = {
        "vit": hf.ViTModel(hf.ViTConfig(**vision, vlbench_trained_on=["imagenet-21k"])),
        "wide": hf.ViTModel(hf.ViTConfig(**{**vision, "hidden_size": 64, "num_hidden_layers": 2})),
        "tanh": hf.ViTModel(hf.ViTConfig(**vision, hidden_act="gelu_new")),
        "clip": hf.CLIPModel(
            hf.CLIPConfig(
                vision_config=vision, text_config={**SMALL, "num_hidden_layers": 1, "vocab_size": 50}, projection_dim=16
            )
        ),
    }
    tokenizer = bert_tokenizer(place / "bert")
    text = hf.BertConfig(**SMALL, num_hidden_layers=2, vocab_size=len(tokenizer) + 3, max_position_embeddings=100)
    models["bert"] = hf.BertForMaskedLM(text)
    for name, model in models.items():
        _shaken(model).save_pretrained(place / name)
        hf.ViTImageProcessor(image_mean=MEAN, image_std=STD).save_pretrained(place / name)
    tower = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
    words = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    cfg = {"embed_dim": 16, "vision_cfg": tower, "text_cfg": words, "quick_gelu": True}
    models["open_clip"] = _shaken(open_clip.CLIP(**cfg))
    (place / "open_clip").mkdir()
    document = {"model_cfg": cfg, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (place / "open_clip" / "open_clip_config.json").write_text(json.dumps(document))
    save_file(models["open_clip"].state_dict(), place / "open_clip" / "open_clip_model.safetensors")
    return {"place": place, **models}


def _new(image: Path | str = "", text: Path | str = "", said: list[str] | None = None, **model: Any) -> Checkpoint:
    recipe = Recipe(
        objectives={"itc": 1.0},
        model={"size": "nano", "vocabulary": 300, "image_size": 32, **model},
        scenes=4,
        init_image=str(image),
        init_text=str(text),
    )
    checkpoint = new_checkpoint(open_source(None, recipe), recipe, (said if said is not None else []).append)
    checkpoint.model.eval()
    return checkpoint


def _pixels(side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the same pictures as a built-in model and as the library's takes them."""
    shown = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (shown - 0.5) / 0.5, (shown - mean) / std


@torch.no_grad()
def test_vit_sees_what_the_library_sees_at_its_own_and_at_another_size(folders: dict[str, Any]) -> None:
    for side in (32, 48, 24):
        said: list[str] = []
        checkpoint = _new(folders["place"] / "vit", said=said, image_size=side)
        own, theirs = _pixels(side)
        expected = folders["vit"](theirs, interpolate_pos_encoding=side != 32).last_hidden_state
        assert torch.allclose(checkpoint.model.encode_image(own), expected, atol=1e-5)
        assert ("positions interpolated from 4x4" in said[0]) == (side != 32)
        assert said[0].endswith("not taken: pooler")
    assert checkpoint.model.config.trained_on == ("scenes", "imagenet-21k")


@torch.no_grad()
def test_clip_sees_what_the_libraries_see(folders: dict[str, Any]) -> None:
    own, theirs = _pixels()
    vision = folders["clip"].vision_model
    expected = vision.post_layernorm(vision(theirs).last_hidden_state)
    seen = _new(folders["place"] / "clip").model.encode_image(own)
    assert torch.allclose(seen, expected, atol=1e-5)
    said: list[str] = []
    model = folders["open_clip"]
    seen = _new(folders["place"] / "open_clip", said=said).model.encode_image(own)
    assert torch.allclose(seen[:, 0] @ model.visual.proj, model.encode_image(theirs), atol=1e-5)
    assert said[0].endswith("not taken: proj")


@torch.no_grad()
def test_bert_reads_what_the_library_reads(folders: dict[str, Any]) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folders["place"] / "bert")(
        # A text that holds the name of a mark is text to a built-in model.
        [TEXTS[0].replace("[SEP]", "[ sep ]"), TEXTS[1]],
        padding=True,
        return_tensors="pt",
    )
    expected = folders["bert"].bert(**theirs, output_hidden_states=True)
    for fusion, hidden in (("late", expected.last_hidden_state), ("interactive", expected.hidden_states[1])):
        said: list[str] = []
        checkpoint = _new(text=folders["place"] / "bert", said=said, fusion=fusion)
        tokenizer = checkpoint.tokenizer
        assert [tokenizer.token(n) for n in range(len(SPECIAL))] == list(SPECIAL)
        padded = pad([single(tokenizer.encode(text), 96) for text in TEXTS])
        mask = bidirectional_mask(padded.lengths, padded.ids.shape[1])
        read = checkpoint.model.text_encoder(padded.ids, mask)
        for row, length in enumerate(padded.lengths.tolist()):
            assert length == int(theirs["attention_mask"][row].sum())
            assert torch.allclose(read[row, :length], hidden[row, :length], atol=1e-5)
        assert tokenizer.decode(padded.ids[1].tolist()) == TEXTS[1]
        assert said[0].endswith("not taken: cls")
    upper = folders["bert"].bert.encoder.layer[1].attention
    assert torch.equal(checkpoint.model.fusion[0].self_attention.query.weight, upper.self.query.weight)
    assert torch.equal(checkpoint.model.fusion[0].self_norm.weight, upper.output.LayerNorm.weight)


def test_a_tokenizer_of_words_writes_the_words_of_one_in_byte_letters(folders: dict[str, Any]) -> None:
    """By which a tokenizer that is learned anew takes over the vectors; a blank alone has no words."""
    tokenizer = _new(text=folders["place"] / "bert").tokenizer
    assert tokenizer.pieces("\u0120red") == list(tokenizer.encode("red").ids)
    assert len(tokenizer.pieces("\u0120redder")) == 4 and tokenizer.pieces("\u0120") == [SEP]


@pytest.mark.parametrize(
    ("image", "text", "model", "message"),
    [
        (
            "wide",
            "",
            {},
            "width 64 where the model has 32; layers 2 where the model has 1; .* a recipe whose",
        ),
        ("vit", "", {"patch_size": 16}, "patch_size 8 where the model has 16; what fits it"),
        ("vit", "", {"image_size": 20}, "image_size 20 is not a multiple of patch_size 8"),
        ("vit", "", {"fusion": "early"}, "early fusion has no towers"),
        ("tanh", "", {}, "computes gelu_new; built-in image layers know gelu, quick_gelu"),
        ("bert", "", {}, "model_type 'bert'; image towers are"),
        ("nothing", "", {}, "neither a checkpoint folder nor"),
        ("", "clip", {}, "model_type 'clip'; text towers are BERT"),
        ("", "bert", {"fusion_layers": 2}, r"layers 2 where the model has 3; what fits it: --size nano"),
        ("", "bert", {"max_length": 120}, "has 100 positions, fewer than max_length 120"),
    ],
)
def test_a_tower_that_does_not_fit_is_one_clear_line(
    folders: dict[str, Any], image: str, text: str, model: dict[str, Any], message: str
) -> None:
    with pytest.raises(VlbenchError, match=message) as error:
        _new(image and folders["place"] / image, text and folders["place"] / text, **model)
    assert "\n" not in str(error.value)


def test_base_has_the_dimensions_of_vit_b16_and_bert_base() -> None:
    """Weights of ``ViTModel`` and ``BertModel`` without poolers, as transformers counts them."""
    sizes = {**SIZES["base"], **layers_by_fusion("late", 12, 6, 6)}
    with torch.device("meta"):
        model = VisionLanguageModel(ModelConfig(30522, class_token=True, max_length=512, fusion="late", **sizes))
    count = [sum(w.numel() for w in part.parameters()) for part in (model.image_encoder, model.text_encoder)]
    regions = (768 + 1) * 768 + (6 + 1) * 768
    assert count == [85_798_656, 108_891_648 - 2 * 768 + regions]


@pytest.mark.filterwarnings("ignore")
def test_pretraining_begins_with_both_towers_and_is_evaluated(
    folders: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("objectives: {itc: 1, caption: 1}\nmodel: {image_size: 32}\nscenes: 8\nbatch_size: 4\n")
    vit, bert = (str(folders["place"] / name) for name in ("vit", "bert"))
    arguments = ["pretrain", "--recipe", str(recipe), "--size", "nano", "--init-image", vit, "--init-text", bert]
    out = tmp_path / "out"
    assert run_app([*arguments, "--steps", "1", "--device", "cpu", "--output", str(out)]) == 0
    said = capsys.readouterr().err
    assert f"image tower: 1 layers of {vit}" in said and f"text tower: 1 layers of {bert}" in said
    saved = load_checkpoint(out)
    assert saved.model.config.text_norm == "after" and saved.model.config.image_epsilon == 1e-12
    assert saved.model.config.trained_on == ("scenes", "imagenet-21k")
    assert f"init_image: {vit}" in (out / "recipe.yaml").read_text()
    adapter = Builtin(LoadOptions(str(out)))
    embedded = adapter.embed_texts([adapter.prepare_text("a red circle")])
    assert embedded.shape == (1, 32) and bool(embedded.isfinite().all())
    assert run_app([*arguments[:4], "base", *arguments[5:], "--output", str(tmp_path / "no")]) == 2
    assert "what fits it: --size nano" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_a_tower_whose_weights_changed_under_its_name_is_another(folders: dict[str, Any], tmp_path: Path) -> None:
    """The recipe of an unfinished run has the tower's name alone."""
    tower = shutil.copytree(folders["place"] / "vit", tmp_path / "vit")
    recipe = Recipe(
        objectives={"itc": 1.0},
        model={"size": "nano", "vocabulary": 300, "image_size": 32},
        **{"scenes": 4, "batch_size": 2, "steps": 3, "save_every": 2},
        init_image=str(tower),
    )
    with killed_in_step(3):
        pretrain(None, recipe, tmp_path / "out", device="cpu")
    weights = load_file(tower / "model.safetensors")
    save_file({name: weight + 1 for name, weight in weights.items()}, tower / "model.safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match="unfinished run with weights sha256:.*, not sha256:"):
        pretrain(None, recipe, tmp_path / "out", device="cpu")
