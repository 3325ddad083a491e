"""A plugin file: the colour model, whose process kills itself once, at the first texts after ``mark`` is removed.

With ``asleep``, the process that makes this file falls asleep over its first images, and any other fails.
"""

from __future__ import annotations

import os
import signal
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


class Fragile(Colours):
    argument_names = (*Colours.argument_names, "mark", "asleep")

    def embed_images(self, images: Sequence[Any]) -> np.ndarray:
        if "asleep" in self.options.arguments:
            Path(self.options.arguments["asleep"]).touch(exist_ok=False)
            time.sleep(600)
        return super().embed_images(images)

    def embed_texts(self, texts: Sequence[Any]) -> np.ndarray:
        mark = Path(self.options.arguments["mark"])
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed_texts(texts)


@vlbench.hookimpl
def vlbench_register_models() -> Iterable[vlbench.ModelSpec]:
    return [vlbench.ModelSpec("fragile", "colours that die once", Fragile)]
