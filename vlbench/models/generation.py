"""Texts that a built-in model writes, and how likely given ones are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vlbench.models.search import search
from vlbench.models.tokenizer import EOS, SPECIAL

if TYPE_CHECKING:
    from vlbench.models.model import VisionLanguageModel
    from vlbench.models.search import Texts
    from vlbench.types import Decoding

NEVER = [token for token in range(len(SPECIAL)) if token != EOS]


@torch.inference_mode()
def generate(
    model: VisionLanguageModel,
    prompts: torch.Tensor,
    lengths: torch.Tensor,
    image: torch.Tensor,
    decoding: Decoding,
) -> list[list[int]]:
    """Return the tokens written after each prompt, without the end mark.

    ``prompts`` int64 (b, n) are ``[BOS] … [SEP]`` padded at the end, ``lengths`` (b,) their lengths, ``image``
    (b, m, width) the image tokens.
    """

    def next_logits(texts: Texts) -> torch.Tensor:
        hidden = model.decode(texts.ids, texts.prefixes, image[texts.owners])
        last = hidden[torch.arange(len(hidden), device=hidden.device), texts.lengths - 1]
        logits = model.words(last).float()
        logits[:, NEVER] = -torch.inf
        return logits

    room = model.config.max_length - int(lengths.max())
    return search(next_logits, prompts, lengths, EOS, decoding, min(decoding.max_new_tokens, room))


def loglikelihood(
    model: VisionLanguageModel, ids: torch.Tensor, lengths: torch.Tensor, prefixes: torch.Tensor, image: torch.Tensor
) -> torch.Tensor:
    """Return the natural-log probability (b,) of what stands behind each prefix, the end mark included.

    ``ids`` (b, n) are prompt and continuation, padded at the end; ``lengths`` and ``prefixes`` (b,).
    """
    hidden = model.decode(ids, prefixes, image)
    scores = model.words(hidden[:, :-1]).float().log_softmax(dim=-1)
    each = scores.gather(2, ids[:, 1:, None])[..., 0]
    position = torch.arange(1, ids.shape[1], device=ids.device)[None]
    counted = (position >= prefixes[:, None]) & (position < lengths[:, None])
    return (each * counted).sum(dim=-1)
