"""vlbench against CLIP_benchmark on COCO retrieval: same open_clip weights, same folder, each by its command line.

Usage: ``pip install clip-benchmark==1.6.2 requests`` and ``python benchmarks/vs_clip_benchmark.py [--images N]
[--repeats R] [--keep FOLDER] [--python PYTHON] [--dtype DTYPE]``, where PYTHON is an interpreter that has
clip-benchmark, if this one has not. Data and seeded weights are made in a temporary folder, or kept. ``clip_benchmark
eval --no_amp`` with its default batch size and number of workers races ``vlbench run --no-cache`` in float32 and in
DTYPE (by default vlbench's own for the device) if that is another, whose recalls are shown and not compared. Each runs
in a process of its own, imports and loading of weights included. Peak memory is that of the largest process: the four
workers that decode for CLIP_benchmark are not added.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import made_coco
import vs_bare_loop

from vlbench.dtypes import default_dtype
from vlbench.runner.devices import pick_device

if TYPE_CHECKING:
    from collections.abc import Callable

THEIRS = {"text_to_image": "image_retrieval", "image_to_text": "text_retrieval"}


def clip_benchmark(python: str, folder: Path) -> made_coco.Measured:
    """Evaluate with CLIP_benchmark; its layout of COCO is val2014's, with the annotation file by name."""
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "result.json"
        command = [python, "-m", "clip_benchmark.cli", "eval", "--dataset", "mscoco_captions", "--split", "test"]
        command += ["--dataset_root", str(folder), "--annotation_file", str(made_coco.annotations(folder))]
        command += ["--model", made_coco.ARCHITECTURE, "--pretrained", str(made_coco.weights(folder)), "--no_amp"]
        command += ["--recall_k", *map(str, made_coco.KS), "--output", str(output)]
        _, seconds, peak = made_coco.run(command)
        metrics = json.loads(output.read_text())["metrics"]
    found = {f"{ours}_recall@{k}": metrics[f"{name}_recall@{k}"] for ours, name in THEIRS.items() for k in made_coco.KS}
    return made_coco.Measured(seconds, peak, found)


def main() -> int:
    """Print the tables; return 1 if recalls in float32 differ by more than near ties explain."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    made_coco.add_options(parser)
    parser.add_argument("--python", default=sys.executable, help="interpreter that has clip-benchmark")
    parser.add_argument("--dtype", default=default_dtype(pick_device("auto")), help="raced beside float32")
    given = parser.parse_args()
    with made_coco.prepared(given) as folder:
        programs: dict[str, Callable[[], made_coco.Measured]] = {
            "CLIP_benchmark": partial(clip_benchmark, given.python, folder),
            "vlbench, float32": partial(made_coco.vlbench, folder, "--dtype", "float32"),
        }
        other = f"vlbench, {given.dtype}"
        programs[other] = partial(made_coco.vlbench, folder, "--dtype", given.dtype)
        print(f"{given.images} images, {given.repeats} repeats in turn")
        measured = made_coco.race(programs, given.repeats)
        made_coco.show(measured)
        same = {name: runs for name, runs in measured.items() if name != other or given.dtype == "float32"}
        return int(not made_coco.agree(same, made_coco.near_ties(*vs_bare_loop.embed(folder)), given.images))


if __name__ == "__main__":
    sys.exit(main())
