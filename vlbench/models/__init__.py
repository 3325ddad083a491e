"""Built-in vision-language models: attention, positions, encoders, fusion and heads, each written out."""

from __future__ import annotations

from pathlib import Path

CHECKPOINTS = Path(__file__).parent / "checkpoints"
"""Folder of the checkpoints that ship with vlbench."""
