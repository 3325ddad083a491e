"""One step of training: from a batch to the weighted sum of its objectives' losses."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from vlbench.models.layers import TransformerLayer
from vlbench.models.pixels import normalise
from vlbench.train import objectives
from vlbench.train.distributed import averaged, counts_of, gather, over_ranks, rank, same_length
from vlbench.train.objectives import IGNORED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlbench.models.model import VisionLanguageModel

Batch = dict[str, Any]


class TrainingModel(nn.Module):
    """A model with its objectives, in the form that ``transformers.Trainer`` takes.

    ``forward(batch)`` returns ``{"loss": …}``; ``losses`` keeps the unweighted losses of the last step by name.
    """

    # The trainer asks for it where weights are missing, as of any model of transformers.
    _keys_to_ignore_on_save = None

    def __init__(
        self,
        model: VisionLanguageModel,
        weights: Mapping[str, float],
        label_smoothing: float = 0.0,
        teacher_scale: float = 1.0,
    ) -> None:
        """Weigh objectives by ``weights``; ``label_smoothing`` applies to captions.

        ``teacher_scale`` is the factor on the teacher's cosines.
        """
        super().__init__()
        self.model = model
        self.weights = dict(weights)
        self.label_smoothing = label_smoothing
        self.teacher_scale = teacher_scale
        self.losses: dict[str, float] = {}

    def gradient_checkpointing_enable(self, **_: Any) -> None:
        """Compute the insides of each layer again in the backward pass instead of keeping them (Chen et al. 2016)."""
        for layer in self.model.modules():
            if isinstance(layer, TransformerLayer):
                layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)  # type: ignore[method-assign]

    # The name of transformers from 5.x on; the trainer calls whichever it knows.
    activation_checkpointing_enable = gradient_checkpointing_enable

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the weighted sum of the losses of the batch's active objectives."""
        image = self.model.encode_image(normalise(batch["pixels"]))
        losses: dict[str, torch.Tensor] = {}
        if {"itc", "itm", "distill"} & set(batch["active"]):
            losses |= self._contrast(batch, image)
        for name in ("mlm", "caption", "vqa"):
            if name in batch["active"]:
                losses |= self._tokens(name, batch, image)
        if "tag" in batch["active"]:
            losses |= self._tags(batch, image)
        if "vcr" in batch["active"]:
            losses |= self._choice(batch, image)
        if "answer" in batch["active"]:
            losses |= self._answer(batch, image)
        # A rank without a row of any objective still takes part in the backward pass.
        total = sum((self.weights[name] * loss for name, loss in losses.items()), start=0.0 * image.sum())
        self.losses = averaged(losses)
        return {"loss": total}

    def _contrast(self, batch: Batch, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Image-text contrast over the batch of all ranks, and matching with the hard negatives that it finds."""
        model, active = self.model, batch["active"]
        ids, lengths = batch["text_ids"], batch["text_lengths"]
        image = image[batch["text_image"]]
        counts = counts_of(len(ids), ids.device)
        groups = gather(batch["text_groups"], counts)
        images, texts = gather(model.embed_image(image), counts), gather(model.embed_text(ids, lengths), counts)
        if sum(counts) < 2:
            return {}
        losses = {}
        with torch.autocast(ids.device.type, enabled=False):
            # A cosine of 0.3 in bfloat16, times a scale of 100, is wrong by up to 0.2.
            images, texts, scale = images.float(), texts.float(), model.scale().float()
            similarity = scale * functional.normalize(images, dim=-1) @ functional.normalize(texts, dim=-1).T
            if "itc" in active:
                losses["itc"] = objectives.clip_loss(images, texts, scale, groups)
            if "distill" in active:
                taught = gather(batch["teacher_images"], counts) @ gather(batch["teacher_texts"], counts).T
                losses["distill"] = objectives.distillation_loss(similarity, self.teacher_scale * taught)
        if "itm" in active:
            same = groups[:, None] == groups[None, :]
            uniform = gather(batch["uniform"][batch["text_image"]], counts)
            text_of = objectives.hard_negatives(similarity, same, uniform[:, 0])
            image_of = objectives.hard_negatives(similarity.T, same, uniform[:, 1])
            # Half of the batch is matched with a wrong text, half with a wrong image: both kinds at the cost of one.
            every = torch.arange(len(groups), device=ids.device)
            swap_text = every % 2 == 0
            start = sum(counts[: rank()])
            own = slice(start, start + len(ids))
            chosen = torch.where(swap_text, text_of, every)[own]
            shown = torch.where(swap_text, every, image_of)[own]
            ids = same_length(ids)
            texts_shown = torch.cat((ids, gather(ids, counts)[chosen]))
            lengths_shown = torch.cat((lengths, gather(lengths, counts)[chosen]))
            logits = model.match(texts_shown, lengths_shown, torch.cat((image, gather(image, counts)[shown])))
            wrong = ~same[every, torch.where(swap_text, text_of, image_of)][own]
            loss = objectives.matching_loss(logits[: len(ids)], logits[len(ids) :], wrong)
            losses |= _named("itm", loss, len(ids) + int(wrong.sum()))
        return losses

    def _tokens(self, name: str, batch: Batch, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Masked or next tokens."""
        ids, labels = batch[f"{name}_ids"], batch[f"{name}_labels"]
        seen = image[batch[f"{name}_image"]]
        if name == "mlm":
            hidden = self.model.fill(ids, batch["mlm_lengths"], seen)
        else:
            hidden = self.model.decode(ids, batch[f"{name}_prefixes"], seen)
        asked = labels != IGNORED
        smoothing = self.label_smoothing if name == "caption" else 0.0
        loss = objectives.token_loss(self.model.words(hidden[asked]), labels[asked], smoothing)
        return _named(name, loss, int(asked.sum()))

    def _tags(self, batch: Batch, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Tags of the images of which they are known."""
        present = batch["tags"]
        loss = objectives.tagging_loss(self.model.tag_evidence(image[batch["tags_image"]]), present)
        return _named("tag", loss, max(1.0, float(present.sum())) if len(present) else 0)

    def _answer(self, batch: Batch, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Answers of the vocabulary."""
        ids = batch["answer_ids"]
        if not len(ids):
            return _named("answer", image.new_zeros(()), 0)
        logits = self.model.answer(ids, batch["answer_lengths"], image[batch["answer_image"]])
        return _named("answer", objectives.answer_loss(logits, batch["answer_targets"]), len(ids))

    def _choice(self, batch: Batch, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Choices of items, which may differ in number."""
        if not len(batch["vcr_labels"]):
            return _named("vcr", image.new_zeros(()), 0)
        logits = self.model.choose(
            batch["vcr_ids"], batch["vcr_lengths"], image[batch["vcr_image"]], batch["vcr_boxes"]
        )
        counts = batch["vcr_counts"]
        lowest = torch.finfo(logits.dtype).min
        rows = nn.utils.rnn.pad_sequence(
            list(torch.split(logits, counts.tolist())), batch_first=True, padding_value=lowest
        )
        return _named("vcr", objectives.choice_loss(rows, batch["vcr_labels"]), len(rows))


def _named(name: str, loss: torch.Tensor, count: float) -> dict[str, torch.Tensor]:
    """Return the mean over ``count`` rows of this rank as one over all ranks, by name; nothing if there is no row."""
    whole = over_ranks(loss, count)
    return {} if whole is None else {name: whole}
