"""A plugin file: the colour model, made slow enough to be killed in the middle."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vlbench

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.colours import Colours  # noqa: E402

SECONDS_PER_BATCH = float(os.environ.get("SLOW_COLOURS_SECONDS", "0.05"))
MARK = os.environ.get("SLOW_COLOURS_MARK")
"""A file that is made when the first batch is computed."""


def _work() -> None:
    if MARK:
        Path(MARK).touch()
    time.sleep(SECONDS_PER_BATCH)


class SlowColours(Colours):
    def embed_images(self, images: Sequence[Any]) -> np.ndarray:
        _work()
        return super().embed_images(images)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        _work()
        return super().embed_texts(texts)


@vlbench.hookimpl
def vlbench_register_models() -> Iterable[vlbench.ModelSpec]:
    return [vlbench.ModelSpec("slow-colours", "colours, slowly", SlowColours)]
