"""Attention and positions equal PyTorch's own and the formulas of the papers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlbench.models.attention import MultiHeadAttention, scaled_dot_product_attention
from vlbench.models.positions import LearnedPositions, sinusoidal_grid, sinusoidal_positions

SIZES = st.integers(1, 9)


@settings(deadline=None, max_examples=30)
@given(batch=st.integers(1, 3), queries=SIZES, keys=SIZES, width=SIZES, masked=st.booleans(), seed=st.integers(0, 99))
def test_attention_equals_pytorch(batch: int, queries: int, keys: int, width: int, masked: bool, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    query = torch.randn(batch, 2, queries, width, generator=random)
    key = torch.randn(batch, 2, keys, width, generator=random)
    value = torch.randn(batch, 2, keys, width + 1, generator=random)
    mask = None
    if masked:
        mask = torch.rand(batch, 1, queries, keys, generator=random) < 0.5
        mask[..., 0] = True
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert torch.allclose(scaled_dot_product_attention(query, key, value, mask), expected, atol=1e-5)


@pytest.mark.parametrize("memory_width", [None, 24])
def test_multi_head_attention_equals_pytorch(memory_width: int | None) -> None:
    torch.manual_seed(3)
    mine = MultiHeadAttention(32, 4, memory_width).eval()
    theirs = torch.nn.MultiheadAttention(32, 4, batch_first=True, kdim=memory_width, vdim=memory_width).eval()
    with torch.no_grad():
        if memory_width is None:
            theirs.in_proj_weight.copy_(torch.cat((mine.query.weight, mine.key.weight, mine.value.weight)))
        else:
            theirs.q_proj_weight.copy_(mine.query.weight)
            theirs.k_proj_weight.copy_(mine.key.weight)
            theirs.v_proj_weight.copy_(mine.value.weight)
        theirs.in_proj_bias.copy_(torch.cat((mine.query.bias, mine.key.bias, mine.value.bias)))
        theirs.out_proj.load_state_dict(mine.output.state_dict())
    hidden, memory = torch.randn(2, 5, 32), torch.randn(2, 7, memory_width or 32)
    mask = torch.rand(2, 5, 7) < 0.7
    mask[..., 0] = True
    expected, _ = theirs(hidden, memory, memory, attn_mask=~mask.repeat_interleave(4, dim=0))
    assert torch.allclose(mine(hidden, memory, mask[:, None]), expected, atol=1e-5)


def test_a_row_that_sees_nothing_is_no_nan() -> None:
    tensors = torch.randn(3, 1, 2, 4).unbind(0)
    out = scaled_dot_product_attention(*tensors, mask=torch.zeros(2, 2, dtype=torch.bool))
    assert torch.isfinite(out).all()


def test_a_width_that_the_heads_do_not_share_is_refused() -> None:
    with pytest.raises(ValueError, match="width 30 is not a multiple of 4 heads"):
        MultiHeadAttention(30, 4)


def test_sinusoidal_positions_follow_the_paper() -> None:
    table = sinusoidal_positions(50, 16)
    for position in (0, 1, 17, 49):
        for i in range(8):
            angle = position / 10000 ** (2 * i / 16)
            assert table[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
    with pytest.raises(ValueError, match="even width, not 7"):
        sinusoidal_positions(3, 7)


def test_grid_positions_are_rows_and_columns() -> None:
    grid = sinusoidal_grid(3, 4, 16).view(3, 4, 16)
    assert torch.equal(grid[2, :, :8], sinusoidal_positions(3, 8)[2].expand(4, 8))
    assert torch.equal(grid[:, 3, 8:], sinusoidal_positions(4, 8)[3].expand(3, 8))
    assert len({tuple(row.tolist()) for row in grid.flatten(0, 1)}) == 12


def test_learned_positions_are_added() -> None:
    positions = LearnedPositions(6, 4)
    hidden = torch.randn(2, 3, 4)
    assert torch.equal(positions(hidden) - hidden, (hidden + positions.weight[:3]) - hidden)
