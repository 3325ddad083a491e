"""Small checkpoints of Oscar and region features, in the layouts that its authors publish."""

from __future__ import annotations

import base64
import json
import pickle
from typing import TYPE_CHECKING

import numpy as np

from tests.support import checkpoints

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WIDTH, INNER, LAYERS, HEADS, SEEN = 16, 24, 2, 2, 10
NAMES = ("red", "green", "blue", "white")
ANSWERS = ("yes", "no", "red", "2", "star")
TAGS = {"red": "red circle", "green": "star", "blue": "", "white": "large square star"}


def _shapes(words: int, head: str) -> dict[str, tuple[int, ...]]:
    """Return the keys of a published checkpoint with their shapes."""

    def both(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}

    shapes: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (words, WIDTH),
        "bert.embeddings.position_embeddings.weight": (160, WIDTH),
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
    if head == "questions":
        return shapes | both("classifier", len(ANSWERS), WIDTH)
    shapes |= both("cls.predictions.transform.dense", WIDTH, WIDTH) | both("cls.predictions.transform.LayerNorm", WIDTH)
    return shapes | {"cls.predictions.bias": (words,), "cls.predictions.decoder.weight": (words, WIDTH)}


def checkpoint(folder: Path, head: str) -> Path:
    """Write a checkpoint of seeded weights; its head is ``linear`` or ``mlp`` (match), ``questions`` or ``caption``."""
    import torch

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
    # As the published files, which are older than the zip archives of torch.save.
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    if head == "questions":
        labels = {answer: n for n, answer in enumerate(ANSWERS)}
        (folder / "trainval_ans2label.pkl").write_bytes(pickle.dumps(labels, protocol=2))
    config = {
        **{"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "vocab_size": words},
        **{"num_attention_heads": HEADS, "max_position_embeddings": 160, "layer_norm_eps": 1e-12, "num_labels": 2},
        **{"img_feature_dim": SEEN, "img_feature_type": "frcnn", "use_img_layernorm": 1, "img_layer_norm_eps": 1e-12},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def features(folder: Path, form: str = "caption", names: Sequence[str] = NAMES) -> dict[str, np.ndarray]:
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
