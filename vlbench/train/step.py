"""One step of training: from a batch to the weighted sum of its objectives' losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from vlbench.models.pixels import normalise
from vlbench.train import objectives
from vlbench.train.objectives import IGNORED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlbench.models.model import VisionLanguageModel

Batch = dict[str, Any]


class TrainingModel(nn.Module):
    """A model with its objectives, in the form that ``transformers.Trainer`` takes.

    ``forward(batch)`` returns ``{"loss": …}``; ``losses`` keeps the unweighted losses of the last step by name.
    """

    def __init__(self, model: VisionLanguageModel, weights: Mapping[str, float], label_smoothing: float = 0.0) -> None:
        """Weigh objectives by ``weights``; ``label_smoothing`` applies to captions."""
        super().__init__()
        self.model = model
        self.weights = dict(weights)
        self.label_smoothing = label_smoothing
        self.losses: dict[str, float] = {}

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the weighted sum of the losses of the batch's active objectives."""
        image = self.model.encode_image(normalise(batch["pixels"]))
        losses: dict[str, torch.Tensor] = {}
        if {"itc", "itm"} & set(batch["active"]) and len(batch["text_image"]) > 1:
            losses |= self._contrast(batch, image)
        for name in ("mlm", "caption", "vqa"):
            if name in batch["active"] and len(batch[f"{name}_image"]):
                losses[name] = self._tokens(name, batch, image)
        if "tag" in batch["active"]:
            losses["tag"] = objectives.tagging_loss(self.model.tag_evidence(image), batch["tags"])
        if "vcr" in batch["active"] and len(batch["vcr_labels"]):
            losses["vcr"] = self._choice(batch, image)
        total = sum((self.weights[name] * loss for name, loss in losses.items()), start=image.new_zeros(()))
        self.losses = {name: float(loss.detach()) for name, loss in losses.items()}
        return {"loss": total}

    def _contrast(self, batch: Batch, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Image-text contrast, and matching with the hard negatives that it finds."""
        model, active = self.model, batch["active"]
        ids, lengths, groups = batch["text_ids"], batch["text_lengths"], batch["text_groups"]
        image = image[batch["text_image"]]
        images, texts = model.embed_image(image), model.embed_text(ids, lengths)
        losses = {}
        if "itc" in active:
            losses["itc"] = objectives.clip_loss(images, texts, model.scale(), groups)
        if "itm" in active:
            similarity = model.scale() * functional.normalize(images, dim=-1) @ functional.normalize(texts, dim=-1).T
            same = groups[:, None] == groups[None, :]
            uniform = batch["uniform"][batch["text_image"]]
            text_of = objectives.hard_negatives(similarity, same, uniform[:, 0])
            image_of = objectives.hard_negatives(similarity.T, same, uniform[:, 1])
            # Half of the batch is matched with a wrong text, half with a wrong image: both kinds at the cost of one.
            own = torch.arange(len(ids), device=ids.device)
            swap_text = own % 2 == 0
            chosen = torch.where(swap_text, text_of, own)
            shown = torch.where(swap_text, own, image_of)
            both = torch.cat((own, chosen))
            logits = model.match(ids[both], lengths[both], torch.cat((image, image[shown])))
            losses["itm"] = objectives.matching_loss(*logits.chunk(2))
        return losses

    def _tokens(self, name: str, batch: Batch, image: torch.Tensor) -> torch.Tensor:
        """Masked or next tokens."""
        ids, labels = batch[f"{name}_ids"], batch[f"{name}_labels"]
        seen = image[batch[f"{name}_image"]]
        if name == "mlm":
            hidden = self.model.fill(ids, batch["mlm_lengths"], seen)
        else:
            hidden = self.model.decode(ids, batch[f"{name}_prefixes"], seen)
        asked = labels != IGNORED
        smoothing = self.label_smoothing if name == "caption" else 0.0
        return objectives.token_loss(self.model.words(hidden[asked]), labels[asked], smoothing)

    def _choice(self, batch: Batch, image: torch.Tensor) -> torch.Tensor:
        """Choices of items, which may differ in number."""
        logits = self.model.choose(
            batch["vcr_ids"], batch["vcr_lengths"], image[batch["vcr_image"]], batch["vcr_boxes"]
        )
        counts = batch["vcr_counts"]
        lowest = torch.finfo(logits.dtype).min
        rows = nn.utils.rnn.pad_sequence(
            list(torch.split(logits, counts.tolist())), batch_first=True, padding_value=lowest
        )
        return objectives.choice_loss(rows, batch["vcr_labels"])
