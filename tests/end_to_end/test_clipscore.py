"""CLIPScore through the real command line: scores of a file, scores of a run, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import layouts
from tests.support.cli import vlbench

COLOURS = Path(__file__).parents[1] / "support" / "colours.py"


def write(root: Path) -> Path:
    """Write COCO images in red, green and blue, and captions of which the second names a wrong colour."""
    layouts.coco(root / "coco")
    texts = {391895: "a red thing", 522418: "a blue thing", 184613: "a blue thing"}
    path = root / "answers.json"
    layouts.write(path, [{"image_id": image_id, "caption": text} for image_id, text in texts.items()])
    return path


def score(*arguments: object) -> Any:
    return vlbench("score", "--task", "coco_caption", "--task-arg", "meteor=off", "--plugin", COLOURS, *arguments)


def unit(values: Any) -> np.ndarray:
    return np.asarray(np.array(values) / np.linalg.norm(values))


def picture(root: Path, image_id: int) -> np.ndarray:
    """What the model sees of an image of one colour, which JPEG has changed a little."""
    with Image.open(root / "val2014" / f"COCO_val2014_{image_id:012d}.jpg") as image:
        return unit(np.asarray(image.resize((4, 4)), dtype=np.float64).mean(axis=(0, 1)) + 1.0)


def test_a_file_of_captions(tmp_path: Path) -> None:
    predictions = write(tmp_path)
    arguments = ("--predictions", predictions, "--data", tmp_path, "--json")
    done = score(*arguments, "--task-arg", "clipscore=colours")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    red, green, blue = (picture(tmp_path / "coco", image_id) for image_id in layouts.COLOURS)
    red_word, blue_word = unit([1.01, 0.01, 0.01]), unit([0.01, 0.01, 1.01])
    expected = 2.5 * np.mean([red @ red_word, green @ blue_word, blue @ blue_word])
    assert result["metrics"]["CLIPScore[colours]"]["value"] == pytest.approx(expected, rel=1e-5)
    assert 0 < result["metrics"]["RefCLIPScore[colours]"]["value"] < 1.0
    assert "|scored_by:colours@" in result["signature"]
    (plain,) = json.loads(score(*arguments).stdout)
    assert "scored_by" not in plain["signature"] and "CLIPScore[colours]" not in plain["metrics"]
    assert plain["metrics"]["CIDEr"] == result["metrics"]["CIDEr"]


def test_without_images_or_with_a_model_that_does_not_embed(tmp_path: Path) -> None:
    predictions = write(tmp_path)
    for path in (tmp_path / "coco" / "val2014").iterdir():
        path.unlink()
    arguments = ("--predictions", predictions, "--data", tmp_path)
    done = score(*arguments, "--task-arg", "clipscore=colours")
    assert done.returncode == 2 and "3 of 3 images are missing" in done.stderr
    assert "colours looks at them to score: give --data with the images" in done.stderr
    write(tmp_path)
    done = score(*arguments, "--task-arg", "clipscore=colors")
    assert done.returncode == 2 and "unknown model 'colors'; did you mean 'colours'?" in done.stderr
    (tmp_path / "writer.py").write_text(
        "import vlbench\n"
        "class Writer(vlbench.Adapter):\n"
        "    def generate(self, items):\n"
        "        return ['a dog'] * len(items)\n"
        "@vlbench.hookimpl\n"
        "def vlbench_register_models():\n"
        "    return [vlbench.ModelSpec('writer', 'one caption for all', Writer)]\n"
    )
    done = score(*arguments, "--plugin", tmp_path / "writer.py", "--task-arg", "clipscore=writer")
    assert done.returncode == 2
    assert "writer cannot score captions: it lacks embed_images and embed_texts" in done.stderr


def test_an_image_that_does_not_decode_fails_its_sample_alone(tmp_path: Path) -> None:
    predictions = write(tmp_path)
    (tmp_path / "coco" / "val2014" / "COCO_val2014_000000522418.jpg").write_bytes(b"not a picture")
    done = score("--predictions", predictions, "--data", tmp_path, "--json", "--task-arg", "clipscore=colours")
    (result,) = json.loads(done.stdout)
    assert result["samples"]["failed"] == 1
    assert "522418: colours: image" in result["samples"]["failures"][0]
    assert result["metrics"]["CLIPScore[colours]"]["value"] > 1.0


def test_a_run_and_the_same_run_again(tmp_path: Path) -> None:
    """One model writes the captions and another, here the same one, judges them; nothing of its journal stays."""
    arguments = ("run", "--tasks", "coco_caption", "--limit", "4", "--output", tmp_path, "--json", "--device", "cpu")
    options = ("--task-arg", "meteor=off", "--task-arg", "clipscore=vlbench-tiny")
    done = vlbench(*arguments, *options)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert 0 < result["metrics"]["RefCLIPScore[vlbench-tiny]"]["value"] < 2.5
    assert "|scored_by:vlbench-tiny@" in result["signature"]
    assert not list((tmp_path / ".journal").glob("*.records"))
    again = vlbench(*arguments, *options)
    assert "finished already; result reused" in again.stderr
    assert json.loads(again.stdout) == [result]
