"""Images as the built-in models take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from PIL import Image

MEAN = STD = 0.5
"""Pixels in [0, 1] become (pixel - MEAN) / STD, per channel (as the original ViT)."""

DESCRIPTION = "RGB squashed to a square by bilinear resampling with antialiasing, mean 0.5, std 0.5"


def resize(image: Image.Image, side: int) -> np.ndarray:
    """Return uint8 (side, side, 3); the aspect ratio is not kept, so that boxes stay fractions of the sides."""
    from PIL import Image as PILImage

    return np.asarray(image.resize((side, side), PILImage.Resampling.BILINEAR))


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """Turn uint8 (b, side, side, 3) into float32 (b, 3, side, side)."""
    return ((pixels.permute(0, 3, 1, 2).float() / 255 - MEAN) / STD).contiguous()
