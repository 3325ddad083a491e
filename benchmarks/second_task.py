"""A second task over images that an earlier run has seen: its time against the same task with an empty cache.

Usage: ``python benchmarks/second_task.py [--images N] [--repeats R] [--keep FOLDER]``. Data in COCO's layout and seeded
weights of open_clip are made in a temporary folder, or kept. The first task is ``coco_retrieval``; the second is
``zeroshot_classification`` of the same images into ten classes by seven prompts each, which are new to the model.
``cold`` is the second task alone, ``warm`` after the first, each in a process of its own, which evaluates ten images
without a cache before: imports are not timed, loading of the model is. Exits with 1 where warm takes more than 10 % of
cold, or where the results differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import made_coco

BOUND = 0.10
CLASSES = ("man", "woman", "child", "dog", "cat", "horse", "bus", "boat", "plane", "chair")
FEW = 10
SHARED = ("model", "task", "signature", "settings", "samples", "metrics")


def sort_into_classes(folder: Path) -> None:
    """Lay links to the images into one folder a class, all of them and a few."""
    for name, limit in (("classes", None), ("few", FEW)):
        for number, image in enumerate(sorted((folder / made_coco.SPLIT).iterdir())[:limit]):
            place = folder / name / CLASSES[number % len(CLASSES)]
            place.mkdir(parents=True, exist_ok=True)
            if not (place / image.name).exists():
                (place / image.name).symlink_to(image)


def measure(folder: Path, output: Path) -> None:
    """Print seconds of the second task in this process, and its result."""
    from vlbench.runner.driver import evaluate
    from vlbench.runner.options import RunOptions

    def run(data: str, cache: bool) -> dict[str, object]:
        options = RunOptions(
            data=folder / data,
            cache=cache,
            output=output / data,
            model_arguments={"pretrained": str(made_coco.weights(folder))},
            task_arguments={"zeroshot_classification": {"templates": "simple"}},
        )
        model = f"open_clip:{made_coco.ARCHITECTURE}"
        return dict(evaluate(model, ["zeroshot_classification"], options).results[0].to_json())

    run("few", cache=False)
    started = time.perf_counter()
    result = run("classes", cache=True)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "cost": result["cost"], "result": {name: result[name] for name in SHARED}}))


def second(folder: Path, first: bool) -> dict[str, object]:
    """Return what ``measure`` prints, with an empty cache or after the ``first`` task."""
    with tempfile.TemporaryDirectory() as place:
        environment = {"VLBENCH_CACHE": f"{place}/cache"}
        if first:
            command = [sys.executable, "-m", "vlbench", "run", "--model", f"open_clip:{made_coco.ARCHITECTURE}"]
            command += ["--model-arg", f"pretrained={made_coco.weights(folder)}", "--tasks", "coco_retrieval"]
            command += ["--data", str(folder), "--split", made_coco.SPLIT, "--output", f"{place}/first"]
            made_coco.run(command, **environment)
        text, _, _ = made_coco.run([sys.executable, __file__, "--measure", str(folder), place], **environment)
    return dict(json.loads(text.splitlines()[-1]))


def main() -> int:
    """Print one table; return 1 if the bound is missed or a result differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    made_coco.add_options(parser)
    parser.add_argument("--measure", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(*given.measure)
        return 0
    with made_coco.prepared(given) as folder:
        sort_into_classes(folder)
        runs = [(second(folder, first=False), second(folder, first=True)) for _ in range(given.repeats)]
    print(f"zeroshot_classification of {given.images} images, {len(CLASSES)} classes; {given.repeats} repeats in turn")
    print(f"{'':6}{'median s':>10}{'min':>9}{'max':>9}{'computed':>10}{'cached':>8}")
    for name, column in (("cold", 0), ("warm", 1)):
        seconds = [pair[column]["seconds"] for pair in runs]
        cost = runs[0][column]["cost"]
        row = f"{name:6}{statistics.median(seconds):10.2f}{min(seconds):9.2f}{max(seconds):9.2f}"
        print(f"{row}{cost['requests_computed']:10}{cost['requests_cached']:8}")
    shares = [warm["seconds"] / cold["seconds"] for cold, warm in runs]
    equal = all(pair[column]["result"] == runs[0][0]["result"] for pair in runs for column in (0, 1))
    spread = f"{min(shares):.1%} to {max(shares):.1%}; bound {BOUND:.0%}"
    print(f"warm takes {statistics.median(shares):.1%} of cold ({spread}); results equal: {equal}")
    return int(not equal or statistics.median(shares) > BOUND)


if __name__ == "__main__":
    sys.exit(main())
