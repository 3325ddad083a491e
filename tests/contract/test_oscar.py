"""Oscar's layout of weights and features is read as published, and its attention is that of the authors."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.support import checkpoints
from vlbench.adapter import LoadOptions
from vlbench.adapters.oscar import Oscar
from vlbench.adapters.oscar_features import RegionFolder
from vlbench.errors import DataError, ModelError, UsageError
from vlbench.testing import AdapterContract
from vlbench.testing.adapters import answer, numbers
from vlbench.testing.samples import TEXTS, pictures
from vlbench.types import Decoding, Generate, Match

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WIDTH, INNER, LAYERS, HEADS, SEEN = 16, 24, 2, 2, 10
NAMES = ("red", "green", "blue", "white")
TAGS = {"red": "red circle", "green": "star", "blue": "", "white": "large square star"}


def _shapes(words: int, head: str) -> dict[str, tuple[int, ...]]:
    """Return the keys of a published checkpoint with their shapes."""

    def both(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}

    shapes: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (words, WIDTH),
        "bert.embeddings.position_embeddings.weight": (128, WIDTH),
        "bert.embeddings.token_type_embeddings.weight": (2, WIDTH),
        **both("bert.embeddings.LayerNorm", WIDTH),
        **both("bert.pooler.dense", WIDTH, WIDTH),
        **both("bert.img_embedding", WIDTH, SEEN),
        **both("bert.LayerNorm", WIDTH),
    }
    for n in range(LAYERS):
        layer = f"bert.encoder.layer.{n}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= both(f"{layer}.{part}", WIDTH, WIDTH)
        shapes |= both(f"{layer}.attention.output.LayerNorm", WIDTH) | both(f"{layer}.output.LayerNorm", WIDTH)
        shapes |= both(f"{layer}.intermediate.dense", INNER, WIDTH) | both(f"{layer}.output.dense", WIDTH, INNER)
    if head == "linear":
        return shapes | both("classifier", 2, WIDTH)
    if head == "mlp":
        return shapes | both("classifier.0", 2 * WIDTH, WIDTH) | both("classifier.2", 2, 2 * WIDTH)
    shapes |= both("cls.predictions.transform.dense", WIDTH, WIDTH) | both("cls.predictions.transform.LayerNorm", WIDTH)
    return shapes | {"cls.predictions.bias": (words,), "cls.predictions.decoder.weight": (words, WIDTH)}


def _checkpoint(folder: Path, head: str) -> Path:
    words = len(checkpoints.bert_tokenizer(folder))
    for name in ("tokenizer.json", "tokenizer_config.json"):  # younger than the published folders
        (folder / name).unlink()
    draw = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(shape, generator=draw) * 0.4 + float("LayerNorm.weight" in name)
        for name, shape in _shapes(words, head).items()
    }
    if head == "caption":
        # Without this the small model writes nothing but marks.
        state["cls.predictions.bias"][:5] = torch.tensor([-20.0, -20.0, -20.0, 0.0, -20.0])
        state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"]
    torch.save(state, folder / "pytorch_model.bin")
    config = {
        **{"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "vocab_size": words},
        **{"num_attention_heads": HEADS, "max_position_embeddings": 128, "layer_norm_eps": 1e-12, "num_labels": 2},
        **{"img_feature_dim": SEEN, "img_feature_type": "frcnn", "use_img_layernorm": 1, "img_layer_norm_eps": 1e-12},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _features(folder: Path, form: str = "caption", names: tuple[str, ...] = NAMES) -> dict[str, np.ndarray]:
    """Write features in the layout of captioning or of retrieval, with both indices, and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(1)
    made = {name: draw.normal(size=(2 + n, SEEN)).astype("<f4") for n, name in enumerate(names)}
    lines = []
    for name, array in made.items():
        text = base64.b64encode(array.tobytes()).decode()
        row = json.dumps({"num_boxes": len(array), "features": text}) if form == "caption" else f"{len(array)}\t{text}"
        lines.append(f"{name}\t{row}\n")
    (folder / "features.tsv").write_text("".join(lines))
    offsets = [sum(map(len, lines[:n])) for n in range(len(lines))]
    (folder / "features.lineidx").write_text("".join(f"{offset}\n" for offset in offsets))
    (folder / "imageid2idx.json").write_text(json.dumps({name: n for n, name in enumerate(names)}))
    labels = {name: [{"class": tag, "conf": 0.9} for tag in TAGS.get(name, "").split()] for name in reversed(names)}
    (folder / "labels.tsv").write_text("".join(f"{name}\t{json.dumps(row)}\n" for name, row in labels.items()))
    return made


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("oscar")
    _features(root / "features")
    made = {head: _checkpoint(root / head, head) for head in ("linear", "mlp", "caption")}
    return {**made, "features": root / "features"}


def _adapter(folders: Mapping[str, Path], head: str) -> Oscar:
    return Oscar(LoadOptions(checkpoint=str(folders[head]), arguments={"features": str(folders["features"])}))


class _Contract(AdapterContract):
    head: str

    @pytest.fixture(autouse=True)
    def _made(self, folders: dict[str, Path]) -> None:
        type(self).folders = folders  # type: ignore[attr-defined]

    def make_adapter(self) -> Oscar:
        return _adapter(type(self).folders, self.head)  # type: ignore[attr-defined]


class TestRetrieval(_Contract):
    head = "mlp"


class TestCaptions(_Contract):
    head = "caption"


class _Reference:
    """BERT over text, tags and regions of one image, written out in plain torch by the keys of the checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.state = torch.load(folder / "pytorch_model.bin", weights_only=True)

    def linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(x, (WIDTH,), self.state[f"{name}.weight"], self.state[f"{name}.bias"], 1e-12)

    def hidden(self, text: list[int], tags: list[int], start: int, features: Any, caption: bool) -> torch.Tensor:
        places = [*range(len(text)), *range(start, start + len(tags))]
        embedded = self.state["bert.embeddings.word_embeddings.weight"][[*text, *tags]]
        embedded = embedded + self.state["bert.embeddings.position_embeddings.weight"][places]
        kinds = [0] * len(text) + [1] * len(tags)
        embedded = embedded + self.state["bert.embeddings.token_type_embeddings.weight"][kinds]
        embedded = self.norm(embedded, "bert.embeddings.LayerNorm")
        regions = self.norm(self.linear(torch.from_numpy(features), "bert.img_embedding"), "bert.LayerNorm")
        x = torch.cat((embedded, regions))
        hides = torch.zeros(len(x), len(x))
        for i in range(len(x)):
            for j in range(len(text)):
                if caption and (i >= len(text) or j > i):
                    hides[i, j] = -torch.inf
        for n in range(LAYERS):
            layer = f"bert.encoder.layer.{n}"
            query, key, value = (
                self.linear(x, f"{layer}.attention.self.{part}").view(len(x), HEADS, -1).transpose(0, 1)
                for part in ("query", "key", "value")
            )
            weights = (query @ key.transpose(1, 2) / (WIDTH // HEADS) ** 0.5 + hides).softmax(dim=-1)
            mixed = (weights @ value).transpose(0, 1).reshape(len(x), WIDTH)
            x = self.norm(
                x + self.linear(mixed, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm"
            )
            inner = functional.gelu(self.linear(x, f"{layer}.intermediate.dense"))
            x = self.norm(x + self.linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        return x


def _read(folders: Mapping[str, Path], name: str) -> tuple[list[int], Any, Any]:
    from transformers import BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(folders["linear"])
    tags = tokenizer(TAGS[name])["input_ids"][1:] if TAGS[name] else []
    return tags, RegionFolder(folders["features"], SEEN).of(f"{name}.png").features, tokenizer


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_the_score_is_that_of_the_formula(folders: dict[str, Path], tmp_path: Path, head: str) -> None:
    requests = [Match(image, text) for image, text in zip(pictures(tmp_path), TEXTS, strict=True)]
    reference = _Reference(folders[head])
    for name, request, response in zip(NAMES, requests, answer(_adapter(folders, head), requests), strict=True):
        tags, features, tokenizer = _read(folders, name)
        text = tokenizer(request.text)["input_ids"]
        pooled = reference.linear(
            reference.hidden(text, tags, len(text), features, False)[0], "bert.pooler.dense"
        ).tanh()
        if head == "mlp":
            pooled = reference.linear(pooled, "classifier.0").relu()
        no, yes = reference.linear(pooled, "classifier" if head == "linear" else "classifier.2").tolist()
        assert float(numbers(response)[0]) == pytest.approx(yes - no, abs=1e-5)


def test_a_caption_is_written_word_by_word_behind_a_mask(folders: dict[str, Path], tmp_path: Path) -> None:
    requests = [Generate((image,), "", Decoding(max_new_tokens=6)) for image in pictures(tmp_path)]
    reference = _Reference(folders["caption"])
    captions = []
    for name, response in zip(NAMES, answer(_adapter(folders, "caption"), requests), strict=True):
        tags, features, tokenizer = _read(folders, name)
        written: list[int] = []
        while len(written) < 6 and tokenizer.sep_token_id not in written:
            text = [tokenizer.cls_token_id, *written, tokenizer.mask_token_id]
            last = reference.hidden(text, tags, 40, features, True)[len(text) - 1]
            x = functional.gelu(reference.linear(last, "cls.predictions.transform.dense"))
            x = reference.norm(x, "cls.predictions.transform.LayerNorm")
            scores = reference.state["bert.embeddings.word_embeddings.weight"] @ x
            written.append(int((scores + reference.state["cls.predictions.bias"]).argmax()))
        captions.append(numbers(response))
        assert captions[-1] == tokenizer.decode(written, skip_special_tokens=True)
    assert len(set(map(str, captions))) > 1


@pytest.mark.parametrize("form", ["caption", "retrieval"])
def test_features_are_found_by_the_number_of_the_file(tmp_path: Path, form: str) -> None:
    made = _features(tmp_path, form, ("42", "7", "flickr_a"))
    folder = RegionFolder(tmp_path, SEEN)
    assert np.array_equal(folder.of("val2014/COCO_val2014_000000000042.jpg").features, made["42"])
    assert np.array_equal(folder.of("flickr_a.jpg").features, made["flickr_a"])
    for name in ("features.lineidx", "imageid2idx.json"):
        (tmp_path / name).unlink()
    assert np.array_equal(RegionFolder(tmp_path, SEEN).of("7.jpg").features, made["7"])


def test_what_is_wrong_with_features_is_one_line(tmp_path: Path) -> None:
    _features(tmp_path)
    with pytest.raises(DataError, match=r"has no features of image a/b_12.jpg \(keys tried: b_12, 12\)"):
        RegionFolder(tmp_path, SEEN).of("a/b_12.jpg")
    with pytest.raises(DataError, match="the features of red are not n x 11"):
        RegionFolder(tmp_path, 11).of("red.png")
    (tmp_path / "imageid2idx.json").write_text('{"red": 1}')
    with pytest.raises(DataError, match="the line of red is of 'green'; its index belongs to another file"):
        RegionFolder(tmp_path, SEEN).of("red.png")
    (tmp_path / "imageid2idx.json").write_text('{"red": 9}')
    with pytest.raises(ModelError, match="cannot read the index of .*features.tsv"):
        RegionFolder(tmp_path, SEEN)
    (tmp_path / "features.tsv").unlink()
    with pytest.raises(ModelError, match=r"has 0 files \*feature\*.tsv; there must be one"):
        RegionFolder(tmp_path, SEEN)


class _Code:
    def __reduce__(self) -> Any:
        return print, ("code ran",)


def test_what_is_wrong_with_a_checkpoint_is_one_line(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="--model-arg features=FOLDER"):
        Oscar(LoadOptions(checkpoint=str(folders["linear"])))
    folder = _checkpoint(tmp_path / "model", "linear")
    weights = folder / "pytorch_model.bin"
    state = torch.load(weights, weights_only=True)
    options = LoadOptions(checkpoint=str(folder), arguments={"features": str(folders["features"])})
    for change, message in (
        ({"classifier.weight": torch.ones(9, WIDTH), "classifier.bias": torch.ones(9)}, "classifies into 9"),
        ({"bert.pooler.dense.bias": torch.ones(3)}, "does not make an Oscar model"),
        ({"bert.img_embedding.weight": _Code()}, "is not a file of weights alone"),
    ):
        torch.save({**state, **change}, weights)
        with pytest.raises(ModelError, match=message):
            Oscar(options)
    assert "code ran" not in capsys.readouterr().out
