"""Results made up for tests of what is done with them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from vlbench.result import ModelInfo, Result, SampleCounts, TaskInfo
from vlbench.types import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL = ModelInfo("clip", "open_clip", "ViT-B-32", "sha256:" + "ab" * 32, 151_277_313, "float32", "sha256:" + "cd" * 32)
TASK = TaskInfo(
    name="coco_caption",
    version=1,
    dataset="coco",
    split="karpathy-test",
    protocol="generate",
    prompt="none[max_new_tokens=30,num_beams=1]",
    fingerprint="sha256:" + "ef" * 32,
    counts={"images": 5000, "captions": 25010},
    partial=False,
)


def result(
    values: Mapping[str, float | Metric | None] | None = None,
    *,
    name: str = "clip",
    primary: str | None = None,
    model: dict[str, Any] | None = None,
    task: dict[str, Any] | None = None,
    **changes: Any,
) -> Result:
    """Return a result with these metrics; ``model`` and ``task`` change their parts, ``changes`` the rest."""
    metrics = {
        key: value if isinstance(value, Metric) else Metric(value, reason="was not computed" if value is None else None)
        for key, value in (values or {"CIDEr": 1.0}).items()
    }
    about = dataclasses.replace(TASK, **(task or {}))
    made = Result(
        run_id="0123456789abcdef",
        created="2026-11-24T02:00:00Z",
        model=dataclasses.replace(MODEL, **{"name": name, **(model or {})}),
        task=about,
        signature=f"{about.name}:1|{about.dataset}:{about.split}|protocol:{about.protocol}|data:abcd",
        samples=SampleCounts(5000, 5000, 0),
        primary_metric=primary or next(iter(metrics)),
        metrics=metrics,
        cost={"wall_seconds": 1.5},
        environment={"python": "3.11.7"},
        command=("vlbench", "run"),
        settings={"batch_size": "auto", "seed": 0},
    )
    return dataclasses.replace(made, **changes)
