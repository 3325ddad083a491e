"""The transformer layer, with or without cross-attention, normalised before each part (Xiong et al. 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from vlbench.models.attention import MultiHeadAttention

if TYPE_CHECKING:
    import torch

    from vlbench.models.config import ModelConfig


class FeedForward(nn.Module):
    """``W2 gelu(W1 x)`` (Vaswani et al. 2017, section 3.3; GELU: Hendrycks and Gimpel 2016)."""

    def __init__(self, width: int, ratio: int) -> None:
        """Widen to ``ratio * width`` and back."""
        super().__init__()
        self.widen = nn.Linear(width, ratio * width)
        self.activation = nn.GELU()
        self.narrow = nn.Linear(ratio * width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(…, width) to (…, width)."""
        out: torch.Tensor = self.narrow(self.activation(self.widen(hidden)))
        return out


class TransformerLayer(nn.Module):
    """Self-attention, cross-attention to a memory where the layer has it, feed-forward; each on a residual path."""

    def __init__(self, config: ModelConfig, *, cross: bool = False) -> None:
        """Make a layer of ``config.width``; ``cross`` adds attention to the image."""
        super().__init__()
        width = config.width
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = MultiHeadAttention(width, config.heads)
        self.cross_norm = nn.LayerNorm(width) if cross else None
        self.cross_attention = MultiHeadAttention(width, config.heads) if cross else None
        self.feed_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, config.mlp_ratio)
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
        hidden = hidden + self.dropout(self.self_attention(self.self_norm(hidden), mask=mask))
        if self.cross_attention is not None and self.cross_norm is not None:
            if memory is None:
                raise ValueError("a layer with cross-attention needs a memory")
            hidden = hidden + self.dropout(self.cross_attention(self.cross_norm(hidden), memory, rows=rows))
        out: torch.Tensor = hidden + self.dropout(self.feed_forward(self.feed_norm(hidden)))
        return out
