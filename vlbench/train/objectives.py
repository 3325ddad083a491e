"""The objectives of pretraining and fine-tuning, each a function from scores to a loss.

All are means over the batch, natural logarithms, 0-dimensional float tensors.
"""

from __future__ import annotations

import torch
from torch.nn import functional

IGNORED = -100
"""Label of a position that does not count (PyTorch's default ``ignore_index``)."""


def info_nce(similarity: torch.Tensor, duplicates: torch.Tensor | None = None) -> torch.Tensor:
    """InfoNCE (van den Oord et al. 2018, equation 4): row i's positive is column i, the others are negatives.

    ``similarity`` (n, n) is cosine over temperature. ``duplicates`` bool (n, n) marks further positives (the same
    caption twice in a batch), which are taken out of the negatives.
    """
    if duplicates is not None:
        diagonal = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
        similarity = similarity.masked_fill(duplicates & ~diagonal, torch.finfo(similarity.dtype).min)
    return functional.cross_entropy(similarity, torch.arange(len(similarity), device=similarity.device))


def clip_loss(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, groups: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the symmetric loss of CLIP (Radford et al. 2021, figure 3): InfoNCE both ways, averaged.

    ``images`` and ``texts`` (n, d) belong together row by row; ``groups`` int64 (n,) is equal for equal texts.
    """
    similarity = scale * functional.normalize(images, dim=-1) @ functional.normalize(texts, dim=-1).T
    duplicates = None if groups is None else groups[:, None] == groups[None, :]
    return (info_nce(similarity, duplicates) + info_nce(similarity.T, duplicates)) / 2


def hard_negatives(similarity: torch.Tensor, forbidden: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Draw a negative for each row in proportion to the softmax of its similarity (Li et al. 2021, section 3.2).

    ``similarity`` (n, m), ``forbidden`` bool (n, m) marks what is no negative, ``uniform`` (n,) are the random numbers
    in [0, 1). Returns int64 (n,); of a row where all is forbidden any number.
    """
    weights = similarity.detach().float().softmax(dim=-1).clamp_min(1e-6).masked_fill(forbidden, 0.0)
    cumulative = weights.cumsum(dim=-1)
    drawn = torch.searchsorted(cumulative, (uniform.to(cumulative) * cumulative[:, -1])[:, None], right=True)[:, 0]
    return drawn.clamp_max(similarity.shape[1] - 1)


def matching_loss(positives: torch.Tensor, negatives: torch.Tensor, wrong: torch.Tensor) -> torch.Tensor:
    """Image-text matching: binary cross-entropy over logits of true and of false pairs.

    ``wrong`` bool (n,) marks which of the ``negatives`` (n,) are false pairs; the others are left out, as in a batch of
    one caption, where every pair is true.
    """
    negatives = negatives[wrong]
    logits = torch.cat((positives, negatives))
    labels = torch.cat((torch.ones_like(positives), torch.zeros_like(negatives)))
    return functional.binary_cross_entropy_with_logits(logits, labels)


def token_loss(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Cross-entropy of tokens: masked ones (Devlin et al. 2019, section 3.1) or next ones. (n, v) and int64 (n,)."""
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing)


def tagging_loss(evidence: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of noisy-OR tags, summed over tags and divided by the number of true ones.

    ``evidence`` (n, t) is ``-log(1 - p)``; ``present`` (n, t) is 0 or 1. Fang et al. 2015, section 3.
    """
    present = present.to(evidence.dtype)
    # log p = log(1 - exp(-evidence)), which needs care near evidence 0.
    log_p = torch.log(-torch.expm1(-evidence.clamp_min(1e-6)))
    return (evidence * (1 - present) - log_p * present).sum() / present.sum().clamp_min(1.0)


def distillation_loss(similarity: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """Return how far the distributions over a batch are from the teacher's: KL divergence both ways, averaged.

    ``similarity`` and ``taught`` (n, n) are cosines over temperature of images (rows) and texts, of the model and of
    its teacher. The divergence is that of Hinton et al. 2015; that a student mimics the affinities of images and texts
    is of Wu et al. 2023 (TinyCLIP).
    """

    def divergence(scores: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        own, wanted = scores.log_softmax(dim=-1), target.log_softmax(dim=-1)
        return functional.kl_div(own, wanted, reduction="batchmean", log_target=True)

    return (divergence(similarity, taught) + divergence(similarity.T, taught.T)) / 2


def answer_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy with soft targets (Teney et al. 2018), summed over answers, averaged over questions.

    ``logits`` and ``targets`` (n, answers), targets in [0, 1].
    """
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(logits)


def choice_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over the choices of an item: (n, choices) and int64 (n,) (Zellers et al. 2019, section 5)."""
    return functional.cross_entropy(logits, labels)
