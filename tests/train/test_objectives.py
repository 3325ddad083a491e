"""The objectives equal their formulas, written out with plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vlbench.models.tokenizer import MASK, SPECIAL
from vlbench.train.collate import mask_tokens
from vlbench.train.objectives import (
    IGNORED,
    choice_loss,
    clip_loss,
    hard_negatives,
    info_nce,
    matching_loss,
    tagging_loss,
)


def test_info_nce_is_the_mean_log_share_of_the_positive() -> None:
    similarity = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    rows = similarity.tolist()
    by_hand = -sum(math.log(math.exp(row[i]) / sum(map(math.exp, row))) for i, row in enumerate(rows)) / 5
    assert info_nce(similarity).item() == pytest.approx(by_hand, abs=1e-5)


def test_the_same_caption_twice_is_no_negative() -> None:
    similarity = torch.tensor([[2.0, 2.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 2.0]])
    groups = torch.tensor([7, 7, 8])
    loss = info_nce(similarity, groups[:, None] == groups[None, :])
    assert loss.item() == pytest.approx(
        -math.log(math.exp(2) / (math.exp(2) + 1)) * 2 / 3 + -math.log(math.exp(2) / (math.exp(2) + 2)) / 3, abs=1e-6
    )


def test_the_clip_loss_is_symmetric_and_ignores_length() -> None:
    random = torch.Generator().manual_seed(2)
    images, texts = torch.randn(6, 8, generator=random), torch.randn(6, 8, generator=random)
    scale = torch.tensor(10.0)
    one = clip_loss(images, texts, scale)
    assert one.item() == pytest.approx(clip_loss(texts, images, scale).item(), abs=1e-6)
    assert one.item() == pytest.approx(clip_loss(3 * images, 0.2 * texts, scale).item(), abs=1e-5)
    cosines = scale * torch.nn.functional.cosine_similarity(images[:, None], texts[None], dim=-1)
    assert one.item() == pytest.approx((info_nce(cosines) + info_nce(cosines.T)).item() / 2, abs=1e-5)


def test_hard_negatives_are_drawn_by_similarity_and_never_forbidden() -> None:
    similarity = torch.tensor([[9.0, 2.0, 1.0, -30.0]])
    forbidden = torch.tensor([[True, False, False, False]])
    uniform = torch.linspace(0, 1, 4001)[:-1]
    drawn = hard_negatives(similarity.expand(4000, 4), forbidden.expand(4000, 4), uniform)
    counts = torch.bincount(drawn, minlength=4)
    assert counts[0] == 0
    # exp(2) against exp(1), as far as the floor of 1e-6 on each weight lets them.
    assert counts[1] / counts[2] == pytest.approx(math.e, rel=0.02)


def test_matching_is_binary_cross_entropy() -> None:
    loss = matching_loss(torch.tensor([2.0]), torch.tensor([-1.0]), torch.tensor([True]))
    by_hand = (math.log(1 + math.exp(-2.0)) + math.log(1 + math.exp(-1.0))) / 2
    assert loss.item() == pytest.approx(by_hand, abs=1e-6)


def test_a_batch_of_one_caption_has_no_false_pair() -> None:
    """The last pair was drawn as a negative, though it is as true as all others."""
    drawn = hard_negatives(torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool), torch.tensor([0.2, 0.9]))
    assert set(drawn.tolist()) <= {0, 1}
    loss = matching_loss(torch.tensor([2.0, 2.0]), torch.tensor([5.0, 5.0]), torch.tensor([False, False]))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2.0)), abs=1e-6)


def test_tags_are_a_noisy_or_over_image_tokens() -> None:
    logits = torch.tensor([[[-1.0, 0.5], [0.3, -2.0]]])
    evidence = torch.nn.functional.softplus(logits).sum(dim=1)
    p = [1 - (1 - torch.sigmoid(logits[0, 0, t])) * (1 - torch.sigmoid(logits[0, 1, t])) for t in range(2)]
    by_hand = -math.log(p[0]) - math.log(1 - p[1])
    assert tagging_loss(evidence, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(by_hand, abs=1e-5)
    assert torch.isfinite(tagging_loss(torch.zeros(1, 2), torch.ones(1, 2)))


def test_choices_are_a_softmax_over_an_item() -> None:
    loss = choice_loss(torch.tensor([[1.0, 2.0, 0.0, -1.0]]), torch.tensor([1]))
    by_hand = -math.log(math.exp(2) / sum(map(math.exp, (1, 2, 0, -1))))
    assert loss.item() == pytest.approx(by_hand, abs=1e-6)


def test_masking_follows_bert() -> None:
    rng = np.random.default_rng(0)
    ids = [1, *range(10, 40), 3]
    fates = {"mask": 0, "kept": 0, "random": 0}
    for _ in range(400):
        changed, labels = mask_tokens(ids, 0.4, 100, rng)
        asked = [k for k, label in enumerate(labels) if label != IGNORED]
        assert len(asked) == 12 and 0 not in asked and 31 not in asked
        assert all(labels[k] == ids[k] for k in asked)
        assert all(changed[k] == ids[k] for k in range(len(ids)) if k not in asked)
        for k in asked:
            kind = "mask" if changed[k] == MASK else "kept" if changed[k] == ids[k] else "random"
            fates[kind] += 1
            assert changed[k] >= len(SPECIAL) or changed[k] == MASK
    total = sum(fates.values())
    assert fates["mask"] / total == pytest.approx(0.8, abs=0.02)
    assert fates["random"] / total == pytest.approx(0.1, abs=0.02)
    assert mask_tokens([1, 3], 0.4, 100, rng) == ([1, 3], [IGNORED, IGNORED])
