"""``vlbench doctor`` on a good and on a bad model of a plugin."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.cli import vlbench

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = """
import numpy as np
import vlbench


class Pixels(vlbench.Adapter):
    def prepare_image(self, image):
        return np.asarray(image.resize((4, 4)), dtype=np.float32).ravel()

    def embed_images(self, images):
        return np.stack(images)


class Neighbours(Pixels):
    def embed_images(self, images):
        return np.stack(images) + len(images)


@vlbench.hookimpl
def vlbench_register_models():
    return [vlbench.ModelSpec("good", "", Pixels), vlbench.ModelSpec("bad", "", Neighbours)]
"""


def test_a_good_model_passes_and_a_bad_one_is_told_why(tmp_path: Path) -> None:
    plugin = tmp_path / "models.py"
    plugin.write_text(PLUGIN)
    good = vlbench("doctor", "--plugin", plugin, "--model", "good", "--json")
    assert good.returncode == 0, good.stderr
    found = json.loads(good.stdout)
    assert not any(found["checks"].values())
    assert set(found["milliseconds_per_request"]["embed_images"]) == {"1", "4", "16", "64"}
    bad = vlbench("doctor", "--plugin", plugin, "--model", "bad")
    assert bad.returncode == 4
    assert "FAILED a batch of one equals a batch of many" in bad.stdout


def test_an_unknown_model_is_one_clear_error() -> None:
    done = vlbench("doctor", "--model", "vlbench-tinny")
    assert done.returncode == 2
    assert "did you mean 'vlbench-tiny'" in done.stderr and done.stderr.count("\n") == 1
