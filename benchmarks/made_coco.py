"""Shared by the scripts that race vlbench on COCO retrieval: data, seeded weights, timed processes, the table.

Weights are random, so recalls are near chance. They serve to show that programs agree, query by query.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator, Mapping

ARCHITECTURE = "ViT-B-32"
SPLIT = "val2014"
CAPTIONS_PER_IMAGE = 5
CAPTION_WORDS = {8: 17, 9: 22, 10: 22, 11: 15, 12: 10, 13: 5, 14: 3, 15: 2, 16: 1, 17: 1, 18: 1, 20: 1}
"""Words of a caption and their share in percent: those of COCO's Karpathy test split, rounded."""
KS = (1, 5, 10)
RECALLS = tuple(f"{way}_recall@{k}" for way in ("text_to_image", "image_to_text") for k in KS)
TIE = 1e-5
"""Scores that lie closer may change places by the rounding of products of other shapes."""
WORDS = (
    "a the man woman child dog cat horse bus train boat plane table chair bench street field beach kitchen room tree "
    "ball bat kite plate cup cake pizza banana red blue green yellow black white brown small large young old wooden "
    "sitting standing riding holding eating playing walking looking flying sleeping on in under near behind beside "
    "with of and two three several some his her their next front top open"
)


class Measured(NamedTuple):
    """One run of one program: seconds, GiB of its largest process, and its recalls by vlbench's names."""

    seconds: float
    peak: float
    recalls: Mapping[str, float]


def annotations(folder: Path) -> Path:
    """Return the annotation file of the data in ``folder``."""
    return folder / "annotations" / f"captions_{SPLIT}.json"


def weights(folder: Path) -> Path:
    """Return the file of the model's weights."""
    return folder / "weights.pt"


def add_options(parser: ArgumentParser) -> None:
    """Add the options that all races have."""
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="folder of data and weights to write, or use again")


@contextmanager
def prepared(given: Namespace) -> Iterator[Path]:
    """Yield the folder of data and weights, made where it is empty."""
    if given.images < max(KS):
        sys.exit(f"--images {given.images}: recall@{max(KS)} needs {max(KS)} images or more")
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        if not annotations(folder).is_file():
            draw(folder, given.images)
        made = len(json.loads(annotations(folder).read_text())["images"])
        if made != given.images:
            sys.exit(f"{folder} holds {made} images, not {given.images}: name another folder")
        if not weights(folder).is_file():
            save_weights(weights(folder))
        yield folder


def draw(folder: Path, count: int) -> None:
    """Write 640 x 480 JPEGs and five distinct captions each, in COCO's layout."""
    random = np.random.default_rng(0)
    words_known = WORDS.split()
    lengths, shares = list(CAPTION_WORDS), np.array(list(CAPTION_WORDS.values())) / 100
    (folder / SPLIT).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    for image_id in range(1, count + 1):
        name = f"COCO_{SPLIT}_{image_id:012d}.jpg"
        # Coarse colours and some noise: pictures that differ, in files about as large as photographs.
        coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((640, 480))
        noisy = np.asarray(coarse, dtype=np.int16) + random.integers(-20, 21, (480, 640, 3), dtype=np.int16)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / SPLIT / name, quality=90)
        images.append({"id": image_id, "file_name": name, "width": 640, "height": 480})
        for _ in range(CAPTIONS_PER_IMAGE):
            words = random.choice(words_known, random.choice(lengths, p=shares), replace=False)
            captions.append({"id": len(captions) + 1, "image_id": image_id, "caption": " ".join(words) + "."})
    annotations(folder).parent.mkdir(exist_ok=True)
    annotations(folder).write_text(json.dumps({"info": {}, "licenses": [], "images": images, "annotations": captions}))


def save_weights(path: Path) -> None:
    """Save the architecture's random weights of seed 0, in a process of their own."""
    program = (
        "import sys, open_clip, torch; torch.manual_seed(0); "
        "torch.save(open_clip.create_model(sys.argv[1]).state_dict(), sys.argv[2])"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, ARCHITECTURE, str(path)], check=True)


def run(command: list[str], **environment: str) -> tuple[str, float, float]:
    """Run ``command``; return its output, its seconds, and GiB of the largest process it was or waited for."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (output, errors):
            stream.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read()}")
        return output.read(), seconds, usage.ru_maxrss / 2**20


def vlbench(folder: Path, *options: str) -> Measured:
    """Evaluate with ``vlbench run``, nothing cached from runs before."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "vlbench", "run", "--model", f"open_clip:{ARCHITECTURE}"]
        command += ["--model-arg", f"pretrained={weights(folder)}", "--tasks", "coco_retrieval", "--data", str(folder)]
        command += ["--split", SPLIT, "--no-cache", "--output", f"{place}/results", "--json", *options]
        text, seconds, peak = run(command, VLBENCH_CACHE=f"{place}/cache")
    (result,) = json.loads(text)
    return Measured(seconds, peak, {name: result["metrics"][name]["value"] for name in RECALLS})


def race(programs: Mapping[str, Callable[[], Measured]], repeats: int) -> dict[str, list[Measured]]:
    """Run all programs in turn, ``repeats`` times; the first of ``programs`` is what the others are compared with."""
    measured: dict[str, list[Measured]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            measured[name].append(program())
    return measured


def show(measured: Mapping[str, list[Measured]]) -> None:
    """Print times, ratios of the same turn, and memory; then all recalls."""
    base = next(iter(measured))
    print(f"{'':24}{'median s':>9}{'min':>8}{'max':>8}{'peak GiB':>9}   {base} takes (min, max)")
    for name, runs in measured.items():
        seconds = [one.seconds for one in runs]
        ratios = [one.seconds / own for one, own in zip(measured[base], seconds, strict=True)]
        row = f"{name:24}{statistics.median(seconds):9.2f}{min(seconds):8.2f}{max(seconds):8.2f}"
        row += f"{max(one.peak for one in runs):9.2f}   "
        print(f"{row}{statistics.median(ratios):.2f} times as long ({min(ratios):.2f}, {max(ratios):.2f})")
    print(f"\n{'recall':24}" + "".join(f"{name:>26}" for name in measured))
    for recall in RECALLS:
        print(f"{recall:24}" + "".join(f"{runs[0].recalls[recall]:26.6f}" for runs in measured.values()))


def near_ties(images: np.ndarray, texts: np.ndarray, owners: np.ndarray) -> dict[str, int]:
    """Count the queries of each recall whose hit hangs on two scores within ``TIE``.

    ``images`` (n, d) and ``texts`` (m, d) are normalised, ``owners`` (m,) holds the row of each text's image.
    """
    own = owners[:, None] == np.arange(len(images))
    scores = texts.astype(np.float64) @ images.astype(np.float64).T
    counts = {}
    for way, table, right in (("text_to_image", scores, own), ("image_to_text", scores.T, own.T)):
        best = np.where(right, table, -np.inf).max(axis=1, keepdims=True)
        wrong = np.where(right, -np.inf, table)
        fewest, most = ((wrong > best + shift).sum(axis=1) for shift in (TIE, -TIE))
        counts |= {f"{way}_recall@{k}": int(((fewest < k) & (most >= k)).sum()) for k in KS}
    return counts


def agree(measured: Mapping[str, list[Measured]], ties: Mapping[str, int], images: int) -> bool:
    """Print the largest differences to the first program; tell whether near ties can explain each of them."""
    queries = {recall: images * (CAPTIONS_PER_IMAGE if recall[0] == "t" else 1) for recall in RECALLS}
    base, *others = measured.values()
    fine = True
    first_name = next(iter(measured))
    print(f"\nqueries whose hit hangs on scores within {TIE:g}, and queries decided otherwise than by {first_name}")
    for recall in RECALLS:
        apart = [
            max(abs(one.recalls[recall] - first.recalls[recall]) for one, first in zip(runs, base, strict=True))
            * queries[recall]
            for runs in others
        ]
        fine &= all(round(queried) <= ties[recall] for queried in apart)
        print(f"{recall:24}{ties[recall]:4} of {queries[recall]:5}   " + "  ".join(f"{round(n):4}" for n in apart))
    return fine
