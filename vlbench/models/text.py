"""Text: embeddings with grounded regions, the text encoder, and the masks that decide which token sees which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from vlbench.models.layers import TransformerLayer
from vlbench.models.positions import LearnedPositions

if TYPE_CHECKING:
    from vlbench.models.config import ModelConfig


def padding_mask(lengths: torch.Tensor, length: int) -> torch.Tensor:
    """Return bool (b, length): True at the first ``lengths[i]`` positions."""
    return torch.arange(length, device=lengths.device)[None] < lengths[:, None]


def bidirectional_mask(lengths: torch.Tensor, length: int) -> torch.Tensor:
    """Return bool (b, 1, 1, length): every token sees all tokens that are no padding."""
    return padding_mask(lengths, length)[:, None, None]


def prefix_mask(prefixes: torch.Tensor, length: int) -> torch.Tensor:
    """Return bool (b, 1, length, length): a prefix is seen by all, the rest only by what follows it.

    The prefix language model of UniLM (Dong et al. 2019): with prefixes of 1 it is the causal mask. Padding stands
    behind the text and is seen by itself alone, so it needs no mask of its own.
    """
    position = torch.arange(length, device=prefixes.device)
    causal = position[None, :] <= position[:, None]
    return (causal[None] | (position[None, None, :] < prefixes[:, None, None]))[:, None]


class TextEmbedding(nn.Module):
    """Word and position embeddings; a token that points to a region is the region.

    A region's vector is the mean of the image tokens under its box and a projection of the box's corners (as R2C
    grounds its tags, Zellers et al. 2019, section 5.1).
    """

    def __init__(self, config: ModelConfig) -> None:
        """Make the tables."""
        super().__init__()
        self.grid = config.grid
        self.words = nn.Embedding(config.vocabulary, config.width)
        nn.init.normal_(self.words.weight, std=0.02)
        self.positions = LearnedPositions(config.max_length, config.width)
        self.region_look = nn.Linear(config.width, config.width)
        self.region_place = nn.Linear(6, config.width)
        self.norm = nn.LayerNorm(config.width, config.text_epsilon)

    def forward(
        self,
        ids: torch.Tensor,
        image: torch.Tensor | None = None,
        boxes: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return (b, n, width) for int64 ``ids`` (b, n).

        ``boxes`` (b, n, 4) float are corners x1, y1, x2, y2 as fractions of the image's sides; all zeros at a token
        that points to nothing. ``image`` (b, tokens, width) is needed with them.
        """
        hidden = self.words(ids)
        if boxes is not None and image is not None:
            hidden = hidden + self._regions(image, boxes)
        out: torch.Tensor = self.norm(self.positions(hidden))
        return out

    def _regions(self, image: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        x1, y1, x2, y2 = boxes.unbind(-1)
        points = ((x2 > x1) & (y2 > y1)).to(image.dtype)[..., None]
        share = _overlap(y1, y2, self.grid)[..., :, None] * _overlap(x1, x2, self.grid)[..., None, :]
        weights = share.flatten(-2)
        weights = weights / weights.sum(dim=-1, keepdim=True).clamp_min(1e-6)
        look = self.region_look(weights.to(image.dtype) @ image[:, -(self.grid**2) :])
        place = torch.stack((x1, y1, x2, y2, x2 - x1, y2 - y1), dim=-1)
        regions: torch.Tensor = points * (look + self.region_place(place.to(image.dtype)))
        return regions


def _overlap(low: torch.Tensor, high: torch.Tensor, cells: int) -> torch.Tensor:
    """Return (…, cells): how much of each cell of the unit interval lies between ``low`` and ``high``."""
    edges = torch.arange(cells + 1, device=low.device, dtype=low.dtype) / cells
    return (torch.minimum(high[..., None], edges[1:]) - torch.maximum(low[..., None], edges[:-1])).clamp_min(0)


class TextEncoder(nn.Module):
    """Embeddings and self-attention layers; what a text means before the image is looked at."""

    def __init__(self, config: ModelConfig) -> None:
        """Make the encoder."""
        super().__init__()
        self.embedding = TextEmbedding(config)
        self.layers = nn.ModuleList(TransformerLayer(config, config.text_style) for _ in range(config.text_layers))

    def forward(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        image: torch.Tensor | None = None,
        boxes: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return (b, n, width); ``mask`` broadcasts to (b, 1, n, n), ``image``, ``boxes`` as in the embedding."""
        hidden: torch.Tensor = self.embedding(ids, image, boxes)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return hidden
