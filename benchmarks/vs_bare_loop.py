"""vlbench against the shortest correct hand-written loop over the same open_clip model and COCO folder, in fp32.

Usage: ``python benchmarks/vs_bare_loop.py [--images N] [--repeats R] [--keep FOLDER]``. Data and seeded weights are
made in a temporary folder, or kept. The loop decodes, embeds and ranks, nothing else: no journal, samples or
intervals, and its text tower runs all places. It races ``vlbench run`` with ``trim=off``, which computes the same, and
with ``trim=on``. Each program runs in a process of its own, imports and loading of weights included. Peak memory is
that of the largest process.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import made_coco
import numpy as np
from PIL import Image

BATCH = 64


def embed(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return embeddings of images (n, d) and texts (m, d), normalised, and the row of each text's image (m,)."""
    import open_clip
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    document = json.loads(made_coco.annotations(folder).read_text())
    files = [folder / made_coco.SPLIT / image["file_name"] for image in document["images"]]
    texts = [annotation["caption"] for annotation in document["annotations"]]
    row = {image["id"]: n for n, image in enumerate(document["images"])}
    model, _, transform = open_clip.create_model_and_transforms(
        made_coco.ARCHITECTURE, pretrained=str(made_coco.weights(folder)), device=device
    )
    tokenizer = open_clip.get_tokenizer(made_coco.ARCHITECTURE)
    model.eval()
    made = []
    with torch.inference_mode():
        for start in range(0, len(files), BATCH):
            pixels = torch.stack([transform(Image.open(file)) for file in files[start : start + BATCH]])
            made.append(model.encode_image(pixels.to(device), normalize=True).cpu())
        image_vectors = torch.cat(made).numpy()
        made.clear()
        for start in range(0, len(texts), BATCH):
            made.append(model.encode_text(tokenizer(texts[start : start + BATCH]).to(device), normalize=True).cpu())
    owners = np.array([row[annotation["image_id"]] for annotation in document["annotations"]])
    return image_vectors, torch.cat(made).numpy(), owners


def recalls(images: np.ndarray, texts: np.ndarray, owners: np.ndarray) -> dict[str, float]:
    """Return the share of queries with a right item among the first K."""
    scores = texts @ images.T
    found = np.argsort(-scores, axis=1)
    chosen = owners[np.argsort(-scores.T, axis=1)]
    hits = {"text_to_image": found == owners[:, None], "image_to_text": chosen == np.arange(len(images))[:, None]}
    return {
        f"{way}_recall@{k}": float(hit[:, :k].any(axis=1).mean()) for way, hit in hits.items() for k in made_coco.KS
    }


def bare_loop(folder: Path) -> made_coco.Measured:
    """Run the loop in a process of its own."""
    text, seconds, peak = made_coco.run([sys.executable, __file__, "--loop", str(folder)])
    return made_coco.Measured(seconds, peak, json.loads(text))


def main() -> int:
    """Print the tables; return 1 if recalls differ by more than near ties explain."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    made_coco.add_options(parser)
    parser.add_argument("--loop", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.loop:
        print(json.dumps(recalls(*embed(given.loop))))
        return 0
    with made_coco.prepared(given) as folder:
        programs = {"bare loop": partial(bare_loop, folder)} | {
            f"vlbench, trim={trim}": partial(
                made_coco.vlbench, folder, "--dtype", "float32", "--model-arg", f"trim={trim}"
            )
            for trim in ("off", "on")
        }
        print(f"{given.images} images, {given.repeats} repeats in turn, float32")
        measured = made_coco.race(programs, given.repeats)
        made_coco.show(measured)
        return int(not made_coco.agree(measured, made_coco.near_ties(*embed(folder)), given.images))


if __name__ == "__main__":
    sys.exit(main())
