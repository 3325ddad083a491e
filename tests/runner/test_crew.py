"""Workers in processes of their own: when they compute."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vlbench.adapter import LoadOptions
from vlbench.runner.crew import Processes
from vlbench.runner.plan import plan
from vlbench.runner.worker import Answered, Ended, Joined, WorkerOptions
from vlbench.types import EmbedText

if TYPE_CHECKING:
    from pathlib import Path

    from vlbench.runner.worker import Message

PLUGIN = """
from pathlib import Path

import numpy as np

import vlbench


class Telling(vlbench.Adapter):
    def embed_texts(self, texts):
        with Path(__file__).with_name("calls").open("a") as calls:
            calls.write("x")
        return np.ones((len(texts), 2), dtype=np.float32)


@vlbench.hookimpl
def vlbench_register_models():
    return [vlbench.ModelSpec("telling", "writes down its calls", Telling)]
"""


def _next(crew: Processes) -> Message:
    while not (told := crew.receive(60.0)):
        pass
    return told[0][1]


def test_a_worker_computes_nothing_before_its_last_answer_is_durable(tmp_path: Path) -> None:
    """Otherwise a driver that is killed would lose two batches of each worker."""
    plugin = tmp_path / "telling.py"
    plugin.write_text(PLUGIN)
    crew = Processes([WorkerOptions("telling", (str(plugin),), LoadOptions())])
    crew.start(0)
    try:
        assert isinstance(_next(crew), Joined)
        crew.send(0, list(plan([EmbedText(word) for word in ("red", "green")], lambda _: 1)))
        for count in (1, 2):
            assert isinstance(_next(crew), Answered)
            time.sleep(0.3)
            assert len((tmp_path / "calls").read_text()) == count
            crew.go_on(0)
        assert isinstance(_next(crew), Ended)
    finally:
        crew.close()
