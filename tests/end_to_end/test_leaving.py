"""The process ends without a teardown of the interpreter, after all that a normal end waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import vlbench

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = """
import atexit, sys, threading, time
from pathlib import Path

import vlbench

place = Path(__file__).parent
atexit.register((place / "handler").write_text, "ran")
atexit.register(print, "said at the end")


@vlbench.hookimpl
def vlbench_register_models():
    return []


def late():
    time.sleep(0.5)
    (place / "thread").write_text("ran")


class Torn:
    def __init__(self):
        self.file = open(place / "teardown", "w")

    def __del__(self):
        self.file.write("ran")
        self.file.flush()


threading.Thread(target=late).start()
kept = sys.modules["kept_for_teardown"] = Torn()
"""


@pytest.mark.parametrize(("arguments", "code"), [(("list", "models"), 0), (("run", "--model", "no-such-model"), 2)])
def test_handlers_run_and_threads_are_joined_and_nothing_is_torn_down(
    tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    plugin = tmp_path / "leaving_plugin.py"
    plugin.write_text(PLUGIN)
    done = vlbench(*arguments, "--plugin", plugin)
    assert done.returncode == code, done.stderr
    assert done.stdout.endswith("said at the end\n")
    assert [(tmp_path / name).read_text() for name in ("handler", "thread", "teardown")] == ["ran", "ran", ""]
