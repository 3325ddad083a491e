"""The page that leads from formula to function leads to functions that exist."""

from __future__ import annotations

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest
import torch

from vlbench.train.objectives import token_loss

PAGE = Path(__file__).resolve().parents[2] / "docs" / "theory.md"
NAMED = sorted(set(re.findall(r"`(vlbench[\w.]*:[\w.]+)`", PAGE.read_text(encoding="utf-8"))))


def test_every_function_that_the_page_names_exists_and_says_what_it_does() -> None:
    assert len(NAMED) > 20
    for name in NAMED:
        module, _, path = name.partition(":")
        found = reduce(getattr, path.split("."), importlib.import_module(module))
        assert callable(found) and found.__doc__, name


def test_smoothed_targets_by_hand() -> None:
    """Of the targets 0.1 is shared among four tokens: 0.925 for the right one, 0.025 for the others."""
    logits = torch.tensor([[2.0, 0.5, -1.0, 0.0]])
    log_p = logits.log_softmax(dim=-1)[0].tolist()
    by_hand = -(0.925 * log_p[1] + 0.025 * (log_p[0] + log_p[2] + log_p[3]))
    assert token_loss(logits, torch.tensor([1]), 0.1).item() == pytest.approx(by_hand, abs=1e-6)
