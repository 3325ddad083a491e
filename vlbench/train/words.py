"""A trained model meets texts of another kind: its tokenizer is learned anew, its word vectors are carried over."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import nn

from vlbench.models.checkpoint import Checkpoint
from vlbench.models.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORN = 1.25
"""A tokenizer that needs this many times the tokens of one learned from the texts themselves is replaced."""


def adapt_words(checkpoint: Checkpoint, texts: Sequence[str], say: Callable[[str], None]) -> Checkpoint:
    """Return ``checkpoint`` with a tokenizer that fits ``texts``; the same where its own fits well enough.

    A new token begins with the mean of the vectors that the old tokenizer wrote it with (Hewitt 2021 averages over all
    words; the token's own pieces say more), so that what the model knows of words in common stays. The number of tokens
    never grows, and the model is changed in place.
    """
    old = checkpoint.tokenizer
    fresh = TextTokenizer.train(texts, len(old))
    before, after = (sum(len(one.encode(text).ids) for text in texts) for one in (old, fresh))
    if before <= WORN * after:
        return checkpoint
    pieces = [old.pieces(fresh.token(number)) for number in range(len(fresh))]
    model = checkpoint.model
    table = model.text_encoder.embedding.words.weight.detach()
    words = nn.Embedding(len(fresh), table.shape[1])
    with torch.no_grad():
        words.weight.copy_(torch.stack([table[own].mean(dim=0) for own in pieces]))
    model.text_encoder.embedding.words = words
    if model.fusion.fuses:  # two towers alone write nothing
        bias = model.word_bias.detach()
        model.word_bias = nn.Parameter(torch.stack([bias[own].mean() for own in pieces]))
    model.config = dataclasses.replace(model.config, vocabulary=len(fresh))
    new = sum(len(own) > 1 for own in pieces)
    say(
        f"tokenizer: learned anew from the data, {new} of {len(fresh)} tokens are new "
        f"({before / max(len(texts), 1):.1f} tokens a text before, {after / max(len(texts), 1):.1f} now)"
    )
    return Checkpoint(model, fresh)
