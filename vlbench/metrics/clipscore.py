"""CLIPScore and RefCLIPScore: how well a caption fits its image, and also its references, to a dual encoder.

Source: Hessel et al. 2021, and the authors' code: w = 2.5, texts after the prompt "A photo depicts ", the best
reference counts. Any dual encoder can stand in for CLIP ViT-B/32, whose numbers the paper has; so the model's name is
part of the metric's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PROMPT", "clip_score", "ref_clip_score"]

PROMPT = "A photo depicts "
WEIGHT = 2.5


def clip_score(image: NDArray[np.float32], caption: NDArray[np.float32]) -> float:
    """Return 2.5 max(cos, 0) of two embeddings of shape (d,)."""
    return WEIGHT * max(float(_cosines(image, caption[None])[0]), 0.0)


def ref_clip_score(score: float, caption: NDArray[np.float32], references: NDArray[np.float32]) -> float:
    """Return the harmonic mean of a CLIPScore and of max(cos, 0) with the best of m references, (m, d)."""
    closest = max(float(_cosines(caption, references).max()), 0.0)
    return 2 * score * closest / (score + closest) if score and closest else 0.0


def _cosines(one: NDArray[np.float32], many: NDArray[np.float32]) -> NDArray[np.float64]:
    left, right = one.astype(np.float64), many.astype(np.float64)
    norms = np.linalg.norm(left) * np.linalg.norm(right, axis=1)
    return np.asarray(right @ left / np.maximum(norms, 1e-12))
