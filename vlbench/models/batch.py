"""Texts of several lengths as one batch of tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.models.tokenizer import Tokens


class Padded(NamedTuple):
    """Texts as tensors: int64 ids (b, n), int64 lengths (b,), float32 boxes (b, n, 4)."""

    ids: torch.Tensor
    lengths: torch.Tensor
    boxes: torch.Tensor


def pad(texts: Sequence[Tokens]) -> Padded:
    """Pad texts at the end to the longest."""
    length = max((len(text.ids) for text in texts), default=1)
    ids = torch.zeros(len(texts), length, dtype=torch.long)
    boxes = torch.zeros(len(texts), length, 4)
    for row, text in enumerate(texts):
        ids[row, : len(text.ids)] = torch.tensor(text.ids, dtype=torch.long)
        if any(box[2] for box in text.boxes):
            boxes[row, : len(text.ids)] = torch.tensor(text.boxes)
    return Padded(ids, torch.tensor([len(text.ids) for text in texts], dtype=torch.long), boxes)
