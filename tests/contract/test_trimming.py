"""Causal text towers give the same embeddings up to the longest text of a batch as over all of their places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support import checkpoints
from vlbench.adapter import Adapter, LoadOptions
from vlbench.adapters import trimming
from vlbench.adapters.clip import Clip
from vlbench.adapters.open_clip import OpenCLIP
from vlbench.errors import UsageError
from vlbench.testing.adapters import answer
from vlbench.types import Embedding, EmbedText

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ("a red circle", "is there a small blue star on the large green square?", "no", "", "red " * 90)
TOLERANCE = 1e-5


def _embedded(adapter: Adapter, texts: tuple[str, ...]) -> np.ndarray:
    found = answer(adapter, [EmbedText(text) for text in texts])
    return np.stack([response.vector for response in found if isinstance(response, Embedding)])


def _both(kind: type[Adapter], checkpoint: str, **arguments: str) -> tuple[Adapter, Adapter]:
    on, off = (LoadOptions(checkpoint, arguments={**arguments, "trim": value}) for value in ("on", "off"))
    return kind(on), kind(off)


@pytest.mark.parametrize("texts", [TEXTS[:1], TEXTS[:4], TEXTS], ids=["alone", "short", "longest"])
def test_open_clip(texts: tuple[str, ...]) -> None:
    trimmed, whole = _both(OpenCLIP, "ViT-S-32-alt", pretrained="none")
    assert np.abs(_embedded(trimmed, texts) - _embedded(whole, texts)).max() < TOLERANCE


def test_transformers(tmp_path: Path) -> None:
    trimmed, whole = _both(Clip, str(checkpoints.clip(tmp_path / "clip")))
    assert np.abs(_embedded(trimmed, TEXTS[:4]) - _embedded(whole, TEXTS[:4])).max() < TOLERANCE


def test_the_tower_runs_as_far_as_the_longest_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """And with the switch off over its whole context."""
    lengths = []
    for adapter in _both(OpenCLIP, "ViT-S-32-alt", pretrained="none"):
        hook = adapter.model.transformer.register_forward_hook(lambda _, given, out: lengths.append(given[0].shape[1]))
        _embedded(adapter, ("red", "a red circle"))
        hook.remove()
    assert lengths == [5, adapter.model.context_length]


def test_a_text_read_at_the_end_mark_by_name_or_by_size() -> None:
    """The towers of open_clip's custom models read the end mark itself, projected by a layer, a matrix or nothing."""
    import torch
    from open_clip.transformer import TextTransformer

    ids = torch.zeros(2, 16, dtype=torch.long)
    ids[0, :4] = torch.tensor([97, 5, 6, 98])
    ids[1, :3] = torch.tensor([97, 99, 98])
    for settings in (
        {"pool_type": "eos", "eos_id": 98, "proj_bias": True},
        {"pool_type": "argmax", "proj_type": "none"},
    ):
        torch.manual_seed(0)
        tower = TextTransformer(16, 100, width=32, heads=2, layers=2, output_dim=8, **settings).eval()
        with torch.inference_mode():
            expected, found = tower(ids), trimming.embed_trimmed(tower, ids)
        assert (expected - found).abs().max() < TOLERANCE


@pytest.mark.parametrize("settings", [{"no_causal_mask": True}, {"pool_type": "last"}, {"embed_cls": True}])
def test_other_towers_are_left_alone(settings: dict[str, object]) -> None:
    from open_clip.transformer import TextTransformer

    assert trimming.causal_tower(TextTransformer(8, 20, width=16, heads=2, layers=1, **settings)) is None


def test_a_wrong_switch_is_one_clear_error() -> None:
    with pytest.raises(UsageError, match="trim=no is neither on nor off"):
        OpenCLIP(LoadOptions("ViT-S-32-alt", arguments={"pretrained": "none", "trim": "no"}))
