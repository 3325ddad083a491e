"""Table: zero-shot, linear probe and CoOp by the number of labelled images a class, on attributes of scenes.

    python benchmarks/few_shot.py [--model vlbench-tiny] [--attribute shape|color|size] [--shots 1,2,4,8,16] [--seeds 3]

The pictures are single objects, cut out of scenes of the train and test splits with some of what is around them and
enlarged to a picture of their own, so that a model that was trained on whole scenes has not seen such pictures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from vlbench.data.scenes import SIDE, render, scene

MARGIN = 6
"""Pixels around an object's box that are kept."""


def make_folder(root: Path, attribute: str, train: int, test: int) -> None:
    """Write ``train/<class>/`` and ``val/<class>/`` with that many pictures a class, and the template."""
    for folder, split, wanted in (("train", "train", train), ("val", "test", test)):
        counts: dict[str, int] = {}
        index = 0
        classes = {"shape": 6, "color": 8, "size": 2}[attribute]
        while len(counts) < classes or min(counts.values()) < wanted:
            drawn = scene(split, index)
            picture = Image.fromarray(render(drawn))
            for item in drawn.objects:
                name = getattr(item, attribute)
                if counts.get(name, 0) < wanted:
                    counts[name] = counts.get(name, 0) + 1
                    x1, y1, x2, y2 = item.box
                    box = (max(0, x1 - MARGIN), max(0, y1 - MARGIN), min(SIDE, x2 + MARGIN), min(SIDE, y2 + MARGIN))
                    place = root / folder / name
                    place.mkdir(parents=True, exist_ok=True)
                    cut = picture.crop(box).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
                    cut.save(place / f"{counts[name]:04d}.png")
            index += 1
    text = {"shape": "a picture of a {}.", "color": "a {} shape.", "size": "a {} shape."}[attribute]
    (root / "templates.txt").write_text(text + "\n")


def run(*arguments: object) -> list[dict]:
    """Run vlbench and return its results."""
    command = [sys.executable, "-m", "vlbench", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def shown(result: dict) -> str:
    """Return accuracy with its interval, in percent."""
    metric = result["metrics"]["accuracy@1"]
    low, high = metric["ci95"]
    return f"{100 * metric['value']:5.1f} ({100 * low:.1f} to {100 * high:.1f})"


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vlbench-tiny")
    parser.add_argument("--attribute", default="shape", choices=("shape", "color", "size"))
    parser.add_argument("--shots", default="1,2,4,8,16")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--test", type=int, default=100, help="pictures a class that are classified")
    options = parser.parse_args()
    shots = [int(number) for number in options.shots.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / f"scenes-{options.attribute}s"
        make_folder(root, options.attribute, 2 * max(shots), options.test)
        common = ("--model", options.model, "--data", root, "--output", Path(folder) / "results")
        zero = shown(run("run", *common, "--tasks", "zeroshot_classification", "--split", "val")[0])
        few = ("--shots", options.shots, "--seeds", options.seeds)
        columns = [[shown(r) for r in run("adapt", *common, "--method", m, *few)] for m in ("probe", "coop")]
    print("| shots | zero-shot | linear probe | CoOp |\n| --- | --- | --- | --- |")
    for number, left, right in zip(shots, *columns, strict=True):
        print(f"| {number} | {zero} | {left} | {right} |")


if __name__ == "__main__":
    main()
