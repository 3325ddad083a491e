"""How many colours, shapes, sizes and positions in a model's captions of the bundled benchmark are right.

    vlbench run --tasks coco_caption --output results
    python benchmarks/caption_attributes.py results [MODEL]

Prints one table row for each attribute: said, right, and the share. Objects that captions leave out are counted beside.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vlbench.data.scenes import caption_attributes
from vlbench.data.scenes.caption_check import AttributeCount
from vlbench.data.scenes.draw import split
from vlbench.leaderboard.samples import read_rows
from vlbench.leaderboard.store import load_results, samples_path, stem


def main() -> None:
    """Read the captions of a results folder and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("model", nargs="?", default="vlbench-tiny")
    arguments = parser.parse_args()
    stored = load_results(arguments.results)
    chosen = [r for r in stored if r.model.name == arguments.model and r.task.name == "coco_caption"]
    if not chosen or not chosen[0].task.dataset.startswith("scenes/"):
        raise SystemExit(f"{arguments.results} has no captions of {arguments.model} on scenes")
    scenes = {str(scene.scene_id): scene for scene in split("test")}
    count = AttributeCount()
    for row in read_rows(samples_path(arguments.results / f"{stem(chosen[0])}.json")):
        count += caption_attributes(scenes[row.image_id], row.response)
    for name in ("colors", "shapes", "sizes", "positions"):
        said, right = getattr(count, f"{name}_said"), getattr(count, f"{name}_right")
        print(f"{name:10} {right:5} of {said:5} right  {right / max(said, 1):.1%}")
    print(f"{'objects':10} {count.objects_mentioned:5} mentioned, {count.objects_in_scene} in the scenes")


if __name__ == "__main__":
    main()
