"""Peak memory of what is large: the annotations of a million captions, and a retrieval run over them.

Usage: ``python benchmarks/memory.py [--images N] [--run-images N]``. Five captions an image, in COCO's
layout. Each part runs in a process of its own. The run is ``vlbench run`` with a model that draws 512 numbers for each
picture and text, so that nothing but the harness takes memory; this file is its plugin.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import sys
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import made_coco
import numpy as np
from PIL import Image

import vlbench

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DIMENSION = 512
CAPTIONS = 5
SPLIT = "train2014"
WORDS = [f"word{i}" for i in range(3_000)]


class Drawn(vlbench.Adapter):
    """Standard normal vectors, drawn by the bytes of a picture or a text."""

    def prepare_image(self, image: Image.Image) -> bytes:
        """Return the pixels."""
        return image.tobytes()

    def embed_images(self, images: Sequence[bytes]) -> np.ndarray:
        """Return (n, 512) float32."""
        return np.stack([_drawn(image) for image in images])

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, 512) float32."""
        return np.stack([_drawn(text.encode()) for text in texts])


def _drawn(data: bytes) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(data)).standard_normal(DIMENSION, dtype=np.float32)


@vlbench.hookimpl
def vlbench_register_models() -> Iterable[vlbench.ModelSpec]:
    """Return the model."""
    return [vlbench.ModelSpec("drawn", "random vectors", Drawn)]


def write(folder: Path, images: int, *, pictures: bool) -> None:
    """Write the annotations of COCO's layout, and pictures of a few pixels if asked."""
    draw = random.Random(0)
    names = [f"COCO_{SPLIT}_{i:012d}.jpg" for i in range(images)]
    records = [
        {
            **{"license": 3, "file_name": name, "height": 427, "width": 640, "date_captured": "2013-11-14 17:02:52"},
            **{"coco_url": f"http://images.cocodataset.org/{SPLIT}/{name}", "id": i},
        }
        for i, name in enumerate(names)
    ]
    captions = [
        {"image_id": i // CAPTIONS, "id": i, "caption": " ".join(draw.choices(WORDS, k=10)) + "."}
        for i in range(images * CAPTIONS)
    ]
    (folder / "annotations").mkdir(parents=True)
    (folder / SPLIT).mkdir()
    document = {"info": {}, "licenses": [], "images": records, "annotations": captions}
    (folder / "annotations" / f"captions_{SPLIT}.json").write_text(json.dumps(document))
    for i, name in enumerate(names if pictures else ()):
        buffer = io.BytesIO()
        Image.frombytes("RGB", (4, 4), i.to_bytes(4, "big") * 12).save(buffer, "PNG")
        (folder / SPLIT / name).write_bytes(buffer.getvalue())


def load(folder: Path) -> None:
    """Read the annotations in this process."""
    from vlbench.data.coco import load_coco
    from vlbench.data.source import LocalFolder

    load_coco(LocalFolder(folder), SPLIT)


def run(folder: Path) -> tuple[float, float]:
    """Evaluate the model by the command line; return seconds and peak GiB."""
    given = ("--plugin", __file__, "--model", "drawn", "--tasks", "coco_retrieval", "--data", folder, "--split", SPLIT)
    command = [sys.executable, "-m", "vlbench", "run", *map(str, given), "--no-cache", "--bootstrap", "0"]
    command += ["--output", str(folder / "results")]
    # The plugin is this file, which imports its neighbour.
    path = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    _, seconds, peak = made_coco.run(command, PYTHONPATH=path)
    return seconds, peak


def main() -> int:
    """Print a line for each part; return 1 where the annotations take more than 2 GiB."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=200_000, help="of the annotations")
    parser.add_argument("--run-images", type=int, default=50_000, help="of the run")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.load:
        load(given.load)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder / "large", given.images, pictures=False)
        _, seconds, load_peak = made_coco.run([sys.executable, __file__, "--load", str(folder / "large")])
        print(
            f"annotations of {given.images * CAPTIONS} captions: {seconds:.0f} s, peak {load_peak:.2f} GiB", flush=True
        )
        write(folder / "run", given.run_images, pictures=True)
        seconds, peak = run(folder / "run")
        vectors = given.run_images * (1 + CAPTIONS) * DIMENSION * 4 / 2**30
        what = f"{given.run_images} images and {given.run_images * CAPTIONS} captions"
        print(f"run over {what}: {seconds:.0f} s, peak {peak:.2f} GiB; the embeddings are {vectors:.2f} GiB")
    return int(load_peak > 2)


if __name__ == "__main__":
    sys.exit(main())
