"""Zero-shot classification: the classifier from prompt ensembles, ranks of the right class, means over classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vlbench.metrics.retrieval import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt


def class_weights(prompts: Iterable[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Return one unit vector a class: float32 of shape (classes, d).

    ``prompts`` holds the text embeddings of each class, (templates, d). Each is normalised, the mean over the templates
    is taken and normalised again (Radford et al. 2021, section 3.1.4; open_clip's ``build_zero_shot_classifier``).
    """
    return normalise(np.stack([normalise(vectors).astype(np.float64).mean(axis=0) for vectors in prompts]))


def mean_per_class(values: Sequence[float], labels: Sequence[int]) -> float:
    """Return the mean over classes of the mean value of each class; classes without samples do not count.

    >>> mean_per_class([1.0, 1.0, 0.0, 0.0], [0, 0, 0, 1])
    0.3333333333333333
    """
    sums = np.bincount(labels, weights=values)
    counts = np.bincount(labels)
    return float(np.mean(sums[counts > 0] / counts[counts > 0]))
