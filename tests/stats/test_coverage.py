"""Intervals hold the true value about as often as they say: a small form of ``benchmarks/coverage.py``."""

from __future__ import annotations

import pytest

from tests.support.cli import ROOT
from tests.support.files import load_file

DATA_SETS = 150


@pytest.mark.parametrize("name", ["accuracy", "recall", "cider"])
def test_coverage(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Of 150 data sets 91 % are the lowest that chance makes likely; samples drawn alone would give about 80 %."""
    script = load_file(ROOT / "benchmarks" / "coverage.py")
    monkeypatch.setattr(script, "IMAGES", 100)
    monkeypatch.setattr(script, "BOOTSTRAP", 200)
    assert 0.88 <= script.coverage(getattr(script, name), DATA_SETS, seed=7) <= 0.99
