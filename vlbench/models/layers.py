"""The transformer layer, with or without cross-attention, normalised before each part or after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from vlbench.models.attention import MultiHeadAttention

if TYPE_CHECKING:
    from collections.abc import Callable

    from vlbench.models.config import LayerStyle, ModelConfig


class QuickGELU(nn.Module):
    """``x sigmoid(1.702 x)``, the approximation of GELU (Hendrycks and Gimpel 2016, section 2) of OpenAI's CLIP."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the same shape."""
        return hidden * torch.sigmoid(1.702 * hidden)


class FeedForward(nn.Module):
    """``W2 gelu(W1 x)`` (Vaswani et al. 2017, section 3.3; GELU: Hendrycks and Gimpel 2016)."""

    def __init__(self, width: int, ratio: int, activation: str = "gelu") -> None:
        """Widen to ``ratio * width`` and back; ``activation`` is gelu or quick_gelu."""
        super().__init__()
        self.widen = nn.Linear(width, ratio * width)
        self.activation = nn.GELU() if activation == "gelu" else QuickGELU()
        self.narrow = nn.Linear(ratio * width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(…, width) to (…, width)."""
        out: torch.Tensor = self.narrow(self.activation(self.widen(hidden)))
        return out


class TransformerLayer(nn.Module):
    """Self-attention, cross-attention to a memory where the layer has it, feed-forward; each on a residual path."""

    def __init__(self, config: ModelConfig, style: LayerStyle, *, cross: bool = False) -> None:
        """Make a layer of ``config.width``; ``cross`` adds attention to the image."""
        super().__init__()
        width, epsilon = config.width, style.epsilon
        self.norm_first = style.norm == "before"
        self.self_norm = nn.LayerNorm(width, epsilon)
        self.self_attention = MultiHeadAttention(width, config.heads)
        self.cross_norm = nn.LayerNorm(width, epsilon) if cross else None
        self.cross_attention = MultiHeadAttention(width, config.heads) if cross else None
        self.feed_norm = nn.LayerNorm(width, epsilon)
        self.feed_forward = FeedForward(width, config.mlp_ratio, style.activation)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        hidden: torch.Tensor,
        mask: torch.Tensor | None = None,
        memory: torch.Tensor | None = None,
        rows: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return (b, n, width). ``mask`` broadcasts to (b, 1, n, n); ``memory`` (b, m, width) is seen whole.

        ``rows`` int64 (b,): which memory each row sees, where they share (default: row i sees memory i).
        """
        hidden = self.residual(hidden, self.self_norm, lambda x: self.self_attention(x, mask=mask))
        if self.cross_attention is not None and self.cross_norm is not None:
            if memory is None:
                raise ValueError("a layer with cross-attention needs a memory")
            cross = self.cross_attention
            hidden = self.residual(hidden, self.cross_norm, lambda x: cross(x, memory, rows=rows))
        return self.residual(hidden, self.feed_norm, self.feed_forward)

    def residual(
        self, hidden: torch.Tensor, norm: nn.Module, part: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Return ``x + f(LN(x))`` (Xiong et al. 2020), or ``LN(x + f(x))`` as Vaswani et al. 2017 and BERT have it."""
        if self.norm_first:
            first: torch.Tensor = hidden + self.dropout(part(norm(hidden)))
            return first
        out: torch.Tensor = norm(hidden + self.dropout(part(hidden)))
        return out
