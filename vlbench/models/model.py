"""The built-in vision-language model: an image encoder, a text encoder, a fusion strategy, and heads.

Every strategy embeds images and texts. Early and interactive fusion also match, choose, fill masks and generate, with
the same weights and different masks; late fusion chooses by its dot product.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from vlbench.models.fusion import STRATEGIES
from vlbench.models.text import TextEncoder, bidirectional_mask, padding_mask, prefix_mask
from vlbench.models.vision import ImageEncoder

if TYPE_CHECKING:
    from vlbench.models.config import ModelConfig

MAX_LOGIT_SCALE = 100.0


class VisionLanguageModel(nn.Module):
    """Encoders, fusion and heads.

    Texts are int64 ids (b, n), padded at the end, with ``lengths`` (b,); images are pixels (b, 3, s, s) for
    ``encode_image`` and its result (b, tokens, width) everywhere else.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Make a model with random weights."""
        super().__init__()
        width = config.width
        self.config = config
        self.image_encoder = ImageEncoder(config)
        self.text_encoder = TextEncoder(config)
        self.fusion = STRATEGIES[config.fusion](config)
        if self.fusion.fuses:
            self.fusion_norm = nn.LayerNorm(width)
        self.image_projection = nn.Linear(width, config.embedding, bias=False)
        self.text_projection = nn.Linear(width, config.embedding, bias=False)
        # Temperature 0.07 (Radford et al. 2021, section 2.3).
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        if self.fusion.fuses:
            self.match_head = nn.Linear(width, 1)
            self.choice_head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
            self.word_transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
            self.word_bias = nn.Parameter(torch.zeros(config.vocabulary))
        self.tag_head = nn.Linear(width, len(config.tags)) if config.tags else None
        if self.tag_head is not None:
            nn.init.constant_(self.tag_head.bias, -6.0)
        self.answer_head = self.new_answer_head() if config.answers else None

    def new_answer_head(self) -> nn.Sequential:
        """Return a head with random weights over ``config.answers``, each of which begins as likely as one of them."""
        width, answers = self.config.width, len(self.config.answers)
        last = nn.Linear(width, answers)
        nn.init.constant_(last.bias, -math.log(answers))
        return nn.Sequential(nn.Linear(width, width), nn.GELU(), last)

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return image tokens (b, tokens, width): of the grid, behind the class token where there is one."""
        tokens: torch.Tensor = self.image_encoder(pixels)
        return tokens

    def embed_image(self, image: torch.Tensor) -> torch.Tensor:
        """Return embeddings (b, embedding), not normalised, of image tokens."""
        embedded: torch.Tensor = self.image_projection(self.fusion.image_alone(image).mean(dim=1))
        return embedded

    def embed_text(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return embeddings (b, embedding), not normalised."""
        mask = bidirectional_mask(lengths, ids.shape[1])
        return self._project_text(self.text_encoder(ids, mask), mask, lengths)

    def _project_text(self, hidden: torch.Tensor, mask: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        hidden = self.fusion.text_alone(hidden, mask)
        keep = padding_mask(lengths, hidden.shape[1])[..., None].to(hidden.dtype)
        embedded: torch.Tensor = self.text_projection((hidden * keep).sum(dim=1) / lengths[:, None])
        return embedded

    def scale(self) -> torch.Tensor:
        """Return the factor on the cosine: the inverse of the learned temperature, at most 100."""
        return self.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)

    def fuse(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        image: torch.Tensor,
        boxes: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return (b, n, width): each text token after it has seen the text that ``mask`` allows, and the image."""
        out: torch.Tensor = self.fusion_norm(self.fusion(self.text_encoder(ids, mask, image, boxes), mask, image))
        return out

    def match(self, ids: torch.Tensor, lengths: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Return matching logits (b,)."""
        fused = self.fuse(ids, bidirectional_mask(lengths, ids.shape[1]), image)
        logits: torch.Tensor = self.match_head(fused[:, 0])[:, 0]
        return logits

    def rank(
        self, ids: torch.Tensor, lengths: torch.Tensor, image: torch.Tensor, rows: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return scores (b,) to rank candidates by: text i with image ``rows[i]`` (default i).

        The matching logit, and added to it the scaled cosine where the model was trained for contrast, as BLIP ranks
        (Li et al. 2022; ``score_itc + score_itm`` of its official evaluation).
        """
        mask = bidirectional_mask(lengths, ids.shape[1])
        texts = self.text_encoder(ids, mask)
        hidden = self.fusion(texts, mask, image, rows)
        scores: torch.Tensor = self.match_head(self.fusion_norm(hidden[:, 0]))[:, 0]
        if "itc" in self.config.objectives:
            embedded = functional.normalize(self._project_text(texts, mask, lengths), dim=-1)
            pictures = functional.normalize(self.embed_image(image), dim=-1)
            scores = scores + self.scale() * (embedded * (pictures if rows is None else pictures[rows])).sum(dim=-1)
        return scores

    def choose(
        self, ids: torch.Tensor, lengths: torch.Tensor, image: torch.Tensor, boxes: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return one logit (b,) for each pair of prompt and choice: of the head, or the scaled cosine in late fusion.

        A tower that sees no image cannot look into ``boxes``: to late fusion all regions are alike.
        """
        if not self.fusion.fuses:
            texts = functional.normalize(self.embed_text(ids, lengths), dim=-1)
            return self.scale() * (texts * functional.normalize(self.embed_image(image), dim=-1)).sum(dim=-1)
        fused = self.fuse(ids, bidirectional_mask(lengths, ids.shape[1]), image, boxes)
        logits: torch.Tensor = self.choice_head(fused[:, 0])[:, 0]
        return logits

    def answer(self, ids: torch.Tensor, lengths: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Return logits (b, answers) of the answers of the vocabulary to questions ``ids``."""
        if self.answer_head is None:
            raise ValueError("the model has no answers")
        fused = self.fuse(ids, bidirectional_mask(lengths, ids.shape[1]), image)
        logits: torch.Tensor = self.answer_head(fused[:, 0])
        return logits

    def fill(self, ids: torch.Tensor, lengths: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Return hidden states (b, n, width) that ``words`` turns into logits of masked tokens."""
        return self.fuse(ids, bidirectional_mask(lengths, ids.shape[1]), image)

    def decode(
        self, ids: torch.Tensor, prefixes: torch.Tensor, image: torch.Tensor, boxes: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return hidden states (b, n, width) that ``words`` turns into logits of each next token.

        The first ``prefixes[i]`` tokens are the prompt, which is read both ways; the rest is causal.
        """
        return self.fuse(ids, prefix_mask(prefixes, ids.shape[1]), image, boxes)

    def words(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits (…, vocabulary); the table of word embeddings serves as output too (Press and Wolf 2017)."""
        table = self.text_encoder.embedding.words.weight
        return functional.linear(self.word_transform(hidden), table, self.word_bias)

    def tag_evidence(self, image: torch.Tensor) -> torch.Tensor:
        """Return (b, tags): ``-log P(no image token shows the tag)``, the noisy-OR of Fang et al. 2015.

        With p the probability of a tag in one token, P(tag) = 1 - prod(1 - p) and -log(1 - p) = softplus(logit).
        """
        if self.tag_head is None:
            raise ValueError("the model has no tags")
        evidence: torch.Tensor = functional.softplus(self.tag_head(self.fusion.image_alone(image))).sum(dim=1)
        return evidence
