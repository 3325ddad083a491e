"""A plugin file: the colour model, whose process kills itself once, at the first texts after ``mark`` is removed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vlbench

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support.colours import Colours  # noqa: E402


class Fragile(Colours):
    argument_names = (*Colours.argument_names, "mark")

    def embed_texts(self, texts: Sequence[Any]) -> np.ndarray:
        mark = Path(self.options.arguments["mark"])
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed_texts(texts)


@vlbench.hookimpl
def vlbench_register_models() -> Iterable[vlbench.ModelSpec]:
    return [vlbench.ModelSpec("fragile", "colours that die once", Fragile)]
