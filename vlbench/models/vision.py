"""The image encoder: a ViT (Dosovitskiy et al. 2021) over patches or a convolutional stem (Xiao et al. 2021)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn

from vlbench.models.layers import TransformerLayer
from vlbench.models.positions import LearnedPositions, sinusoidal_grid

if TYPE_CHECKING:
    from vlbench.models.config import ModelConfig

_GROUP = 16


class ResidualConv(nn.Module):
    """A 3x3 convolution on a residual path: shapes are local, and this sees them at a fraction of attention's cost."""

    def __init__(self, channels: int) -> None:
        """Keep the number of channels and the resolution."""
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = _norm(channels)
        self.activation = nn.GELU()

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(b, channels, h, w) to the same shape."""
        out: torch.Tensor = hidden + self.activation(self.norm(self.conv(hidden)))
        return out


def _norm(channels: int) -> nn.GroupNorm:
    # Group norm: statistics of a batch would differ between training and evaluation, and between ranks.
    return nn.GroupNorm(max(1, channels // _GROUP), channels)


class ConvStem(nn.Module):
    """3x3 convolutions of stride 2 in place of one large patch projection: (b, 3, s, s) to (b, tokens, width)."""

    def __init__(self, config: ModelConfig) -> None:
        """Make one halving for each number of channels in ``config.stem`` and one to ``config.width``."""
        super().__init__()
        parts: list[nn.Module] = []
        for before, after in pairwise((3, *config.stem, config.width)):
            parts += [nn.Conv2d(before, after, 3, stride=2, padding=1), _norm(after), nn.GELU()]
            if before != 3:
                parts.append(ResidualConv(after))
        self.parts = nn.Sequential(*parts)
        self.project = nn.Linear(config.width, config.width)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return (b, grid * grid, width), row by row."""
        tokens: torch.Tensor = self.project(self.parts(pixels).flatten(2).transpose(1, 2))
        return tokens


class PatchStem(nn.Module):
    """One linear projection of each patch (Dosovitskiy et al. 2021, equation 1): (b, 3, s, s) to (b, tokens, width)."""

    def __init__(self, config: ModelConfig) -> None:
        """Make the projection of patches of ``config.patch_size``."""
        super().__init__()
        self.project = nn.Conv2d(3, config.width, config.patch_size, stride=config.patch_size)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return (b, grid * grid, width), row by row."""
        tokens: torch.Tensor = self.project(pixels).flatten(2).transpose(1, 2)
        return tokens


class ImageEncoder(nn.Module):
    """Stem, positions, transformer layers: pixels to a vector a cell of the grid, behind the class token's if any."""

    def __init__(self, config: ModelConfig) -> None:
        """Make the encoder; positions start as a sinusoidal grid and are trained unless the config says otherwise."""
        super().__init__()
        width = config.width
        self.stem = PatchStem(config) if config.patch_size else ConvStem(config)
        self.class_token = nn.Parameter(torch.randn(width) * 0.02) if config.class_token else None
        start = sinusoidal_grid(config.grid, config.grid, width)
        if self.class_token is not None:
            start = torch.cat((torch.zeros(1, width), start))
        self.positions = LearnedPositions(len(start), width, start)
        if config.image_positions == "sinusoidal":
            self.positions.weight.requires_grad_(False)
        style = config.image_style
        self.embedding_norm = nn.LayerNorm(width, style.epsilon) if config.embedding_norm else None
        self.layers = nn.ModuleList(TransformerLayer(config, style) for _ in range(config.vision_layers))
        self.norm = nn.LayerNorm(width, style.epsilon)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return (b, tokens, width) for normalised pixels (b, 3, image_size, image_size)."""
        hidden = self.stem(pixels)
        if self.class_token is not None:
            hidden = torch.cat((self.class_token.expand(len(hidden), 1, -1), hidden), dim=1)
        hidden = self.positions(hidden)
        if self.embedding_norm is not None:
            hidden = self.embedding_norm(hidden)
        for layer in self.layers:
            hidden = layer(hidden)
        out: torch.Tensor = self.norm(hidden)
        return out
