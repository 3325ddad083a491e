"""Positions of tokens: sinusoidal (Vaswani et al. 2017, section 3.5) and learned (Devlin et al. 2019)."""

from __future__ import annotations

import torch
from torch import nn


def sinusoidal_positions(length: int, width: int) -> torch.Tensor:
    """Return float32 (length, width): ``sin(pos / 10000^(2i/width))`` at 2i, the cosine at 2i + 1.

    Raises ``ValueError`` for an odd width.
    """
    if width % 2:
        raise ValueError(f"sinusoidal positions need an even width, not {width}")
    position = torch.arange(length, dtype=torch.float64)[:, None]
    rate = torch.pow(10000.0, -torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = position * rate
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1).float()


def sinusoidal_grid(rows: int, columns: int, width: int) -> torch.Tensor:
    """Return float32 (rows * columns, width): half of the width encodes the row, half the column (He et al. 2022).

    Raises ``ValueError`` where ``width`` is no multiple of 4.
    """
    row = sinusoidal_positions(rows, width // 2)[:, None].expand(rows, columns, -1)
    column = sinusoidal_positions(columns, width // 2)[None].expand(rows, columns, -1)
    return torch.cat((row, column), dim=-1).flatten(0, 1)


class LearnedPositions(nn.Module):
    """One trained vector a position."""

    def __init__(self, length: int, width: int, start: torch.Tensor | None = None) -> None:
        """Hold (length, width) weights, from ``start`` where it is given, else small random ones."""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(length, width) * 0.02 if start is None else start.clone())

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Add positions to ``hidden`` (b, n, width), n at most ``length``."""
        return hidden + self.weight[: hidden.shape[1]]
