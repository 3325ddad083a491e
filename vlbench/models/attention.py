"""Scaled dot-product and multi-head attention (Vaswani et al. 2017, sections 3.2.1 and 3.2.2)."""

from __future__ import annotations

import math

import torch
from torch import nn


def scaled_dot_product_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Return ``softmax(Q K^T / sqrt(d)) V`` (Vaswani et al. 2017, equation 1).

    Shapes: ``query`` (..., n, d), ``key`` (..., m, d), ``value`` (..., m, v), result (..., n, v). ``mask`` is boolean,
    broadcastable to (..., n, m), True where a query may look at a key; each query must see at least one key.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if mask is not None:
        # The lowest finite number: with -inf a row without any key would turn into NaN and poison the whole batch.
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1) @ value


class MultiHeadAttention(nn.Module):
    """``Concat(head_1, …, head_h) W^O`` over h heads (Vaswani et al. 2017, section 3.2.2)."""

    def __init__(self, width: int, heads: int, memory_width: int | None = None) -> None:
        """Project queries from ``width``, keys and values from ``memory_width`` (default ``width``)."""
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of {heads} heads")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(memory_width or width, width)
        self.value = nn.Linear(memory_width or width, width)
        self.output = nn.Linear(width, width)

    def forward(
        self,
        hidden: torch.Tensor,
        memory: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        rows: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend from ``hidden`` (b, n, width) to ``memory`` (b, m, memory width; default ``hidden``).

        ``mask`` is boolean, broadcastable to (b, 1, n, m), True where a query may look at a key. With ``rows`` int64
        (b,), row i attends to ``memory[rows[i]]``, whose keys and values are projected once for all that share it.
        Result (b, n, width).
        """
        memory = hidden if memory is None else memory
        query, key, value = (
            self._split(self.query(hidden)),
            self._split(self.key(memory)),
            self._split(self.value(memory)),
        )
        if rows is not None:
            key, value = key[rows], value[rows]
        attended = scaled_dot_product_attention(query, key, value, mask)
        joined: torch.Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return joined

    def _split(self, projected: torch.Tensor) -> torch.Tensor:
        """(b, n, width) to (b, heads, n, width / heads)."""
        batch, length, width = projected.shape
        return projected.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
