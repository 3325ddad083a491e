"""Weights of pretrained towers under the names of the built-in encoders: ViT, CLIP's vision tower, BERT.

What the libraries compute beside a layer's weights is folded into them, so that no switch is needed for it: another
mean and deviation of pixels into the patch projection, BERT's vector of the first segment into its positions.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from vlbench.errors import ModelError
from vlbench.models.pixels import MEAN, STD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.models.tokenizer import TextTokenizer

Weights = dict[str, torch.Tensor]

_LAYER = re.compile(r"(?:layers?|resblocks)\.(\d+)\.(.+)\.(\w+)$")
_INSIDE = {
    "self_norm": ("layernorm_before", "layer_norm1", "ln_1", "attention.output.LayerNorm"),
    "feed_norm": ("layernorm_after", "layer_norm2", "ln_2", "output.LayerNorm"),
    "self_attention.query": ("attention.q_proj", "attention.attention.query", "self_attn.q_proj", "attn.q_proj"),
    "self_attention.key": ("attention.k_proj", "attention.attention.key", "self_attn.k_proj", "attn.k_proj"),
    "self_attention.value": ("attention.v_proj", "attention.attention.value", "self_attn.v_proj", "attn.v_proj"),
    "self_attention.output": ("attention.o_proj", "attention.output.dense", "self_attn.out_proj", "attn.out_proj"),
    "feed_forward.widen": ("mlp.fc1", "intermediate.dense", "mlp.c_fc"),
    "feed_forward.narrow": ("mlp.fc2", "output.dense", "mlp.c_proj"),
}
_INSIDE_OF = {theirs: own for own, names in _INSIDE.items() for theirs in names} | {
    f"attention.self.{part}": f"self_attention.{part}" for part in ("query", "key", "value")
}
_OUTSIDE = {
    "class_token": ("embeddings.cls_token", "embeddings.class_embedding", "class_embedding"),
    "positions.weight": (
        *("embeddings.position_embeddings", "embeddings.position_embedding.weight", "positional_embedding"),
        "embeddings.position_embeddings.weight",
    ),
    "stem.project.weight": (
        *("embeddings.patch_embeddings.projection.weight", "embeddings.patch_embedding.weight", "conv1.weight"),
    ),
    "stem.project.bias": ("embeddings.patch_embeddings.projection.bias",),
    "embedding_norm.weight": ("pre_layrnorm.weight", "ln_pre.weight"),
    "embedding_norm.bias": ("pre_layrnorm.bias", "ln_pre.bias"),
    "norm.weight": ("layernorm.weight", "post_layernorm.weight", "ln_post.weight", "embeddings.LayerNorm.weight"),
    "norm.bias": ("layernorm.bias", "post_layernorm.bias", "ln_post.bias", "embeddings.LayerNorm.bias"),
    "words.weight": ("embeddings.word_embeddings.weight",),
    "segments": ("embeddings.token_type_embeddings.weight",),
}
_OUTSIDE_OF = {theirs: own for own, names in _OUTSIDE.items() for theirs in names}


@dataclass(frozen=True)
class Tower:
    """A pretrained tower.

    ``sizes`` must be those of the model: width, heads, layers, mlp_ratio, and patch_size of an image tower. ``style``
    are the fields of the model's configuration that come with it. ``weights`` bear the names of the built-in encoder,
    all layers as ``layers.N``. ``left`` names what its checkpoint holds beyond them.
    """

    name: str
    sizes: Mapping[str, float]
    style: Mapping[str, Any]
    weights: Weights
    left: tuple[str, ...] = ()
    trained_on: tuple[str, ...] = ()
    tokenizer: TextTokenizer | None = None


def renamed(state: Mapping[str, torch.Tensor], name: str) -> tuple[Weights, tuple[str, ...]]:
    """Return a tower's weights, float32, under the built-in names, and the names that have no place.

    A linear part without a bias has one of zeros. Raises ``ModelError`` for what a built-in layer does not compute.
    """
    found: Weights = {}
    left = []
    for key, value in _split(state).items():
        key = key.removeprefix("vision_model.")
        if layer := _LAYER.search(key):
            own = _INSIDE_OF.get(layer[2])
            if own is None:
                raise ModelError(f"{name} has {key}, which the layers of a built-in model lack")
            found[f"layers.{layer[1]}.{own}.{layer[3]}"] = value
        elif key in _OUTSIDE_OF:
            found[_OUTSIDE_OF[key]] = value
        elif not key.endswith("position_ids"):
            left.append(key)
    for key in [key for key in found if key.startswith(("layers.", "stem.")) and key.endswith(".weight")]:
        found.setdefault(key.removesuffix("weight") + "bias", torch.zeros(len(found[key])))
    return {key: value.detach().float() for key, value in found.items()}, tuple(left)


def _split(state: Mapping[str, torch.Tensor]) -> Weights:
    """Return ``state`` with each joint projection of queries, keys and values (torch, open_clip) as three."""
    parts: Weights = {}
    for key, value in state.items():
        if ".in_proj_" in key:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                parts[key.replace("in_proj_", f"{letter}_proj.")] = part
        else:
            parts[key] = value
    return parts


def image_weights(weights: Weights, mean: Sequence[float], std: Sequence[float]) -> Weights:
    """Return image weights for pixels normalised as built-in models do, (p - ``MEAN``) / ``STD``.

    With u such a pixel, the tower's own is (u STD + MEAN - mean) / std, which is linear in u: the patch projection
    takes the factor and its bias the rest. ``mean`` and ``std`` are the tower's, one number a channel.
    """
    own_mean, own_std = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    kernel = weights["stem.project.weight"]
    shift = (kernel * ((MEAN - own_mean) / own_std)).sum(dim=(1, 2, 3))
    return weights | {
        "stem.project.weight": kernel * (STD / own_std),
        "stem.project.bias": weights["stem.project.bias"] + shift,
        "class_token": weights["class_token"].flatten(),
        "positions.weight": weights["positions.weight"].flatten(0, -2),
    }


def text_weights(weights: Weights, rows: Sequence[int]) -> Weights:
    """Return text weights whose word i is the tower's word ``rows[i]``; every token is of the first segment."""
    moved = {key: value for key, value in weights.items() if key.startswith("layers.")}
    return moved | {
        "embedding.words.weight": weights["words.weight"][list(rows)],
        "embedding.positions.weight": weights["positions.weight"] + weights["segments"][0],
        "embedding.norm.weight": weights["norm.weight"],
        "embedding.norm.bias": weights["norm.bias"],
    }


def side(positions: torch.Tensor) -> int:
    """Return the cells along a side for the positions (1 + cells, width) of a class token and a square grid, else 0."""
    cells = math.isqrt(len(positions) - 1)
    return cells if cells**2 == len(positions) - 1 else 0


def interpolated(positions: torch.Tensor, cells: int) -> torch.Tensor:
    """Return positions (1 + cells², width) by bicubic interpolation of the grid, as ViT of transformers has it.

    Dosovitskiy et al. 2021, section 3.2; the class token's stays.
    """
    before = side(positions)
    if before == cells:
        return positions
    grid = positions[1:].T.reshape(1, -1, before, before)
    grid = functional.interpolate(grid, size=(cells, cells), mode="bicubic", align_corners=False)
    return torch.cat((positions[:1], grid.flatten(2)[0].T))
