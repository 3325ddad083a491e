"""Retrieval by further ground truths: recall, mAP@R and R-precision by ECCV Caption and CxC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vlbench.data.eccv import ABSENT
from vlbench.metrics.precision import Placement
from vlbench.tasks.retrieval_rounds import DIRECTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.data.eccv import Truth
    from vlbench.tasks.retrieval_rounds import Outcome, Outcomes

    Scores = dict[str, float]

RECALLS = {"eccv": (1,), "cxc": (1, 5, 10)}
"""Ks at which recall is reported: ECCV Caption is made for mAP@R, and reports R@1 beside it."""


def extended_scores(outcomes: Outcomes, truths: Sequence[Truth]) -> tuple[list[Scores], list[Scores]]:
    """Return the further scores of each query in both directions; {} for a query that no truth knows.

    Images are ranked over the captions that form a truth's gallery, captions over all images. A failed query scores 0.
    """
    images, texts = (len(outcome.reasons) for outcome in outcomes)
    scores: tuple[list[Scores], list[Scores]] = [{} for _ in range(images)], [{} for _ in range(texts)]
    for truth in truths:
        galleries = truth.captions, np.arange(images)
        for side, right in enumerate((truth.captions_of, truth.images_of)):
            found = _placements(outcomes[side], right, galleries[side], (texts, images)[side])
            for query, items in right.items():
                scores[side][query] |= _scores(truth.name, DIRECTIONS[side], found.get(query), len(items))
    return scores


def _placements(
    outcome: Outcome, right: Mapping[int, Sequence[int]], gallery: np.ndarray, items: int
) -> dict[int, Placement]:
    place = np.full(items, ABSENT, dtype=np.int64)
    place[gallery] = np.arange(len(gallery))
    asked = np.array(sorted(query for query in right if not outcome.reasons[query]), dtype=np.int64)
    placements = {}
    for query, row in outcome.scorer(asked, gallery) if len(asked) else ():
        wanted = np.array([item for item in right[query] if item != ABSENT], dtype=np.int64)
        placements[query] = Placement.of(row, place[wanted])
    return placements


def _scores(truth: str, direction: str, found: Placement | None, relevant: int) -> Scores:
    name = f"{truth}_{direction}"
    scores = {f"{name}_recall@{k}": found.hit(k) if found else 0.0 for k in RECALLS[truth]}
    if truth == "eccv":
        scores[f"{name}_map@R"] = found.average_precision(relevant) if found else 0.0
        scores[f"{name}_r_precision"] = found.r_precision(relevant) if found else 0.0
    return scores
