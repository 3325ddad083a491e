"""CIDEr and BLEU-1..4 of vlbench beside pycocoevalcap's, over the same tokens, in turns in one process.

Usage: ``python benchmarks/caption_metrics.py [FOLDER]``. FOLDER holds ``coco_karpathy_test.json`` and
``VinVL_base_test.results.json`` (captions in the COCO results format); the first five captions of each image are the
references. Without it 5,000 images with five references each are made up from a vocabulary of 3,000 words whose
frequencies fall as 1/rank. Timed is the scoring of tokenised captions, from strings to corpus and per-image values;
tokenising is not. Returns 1 where a value differs by more than 1e-12 or vlbench is not three times as fast.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider_scorer import CiderScorer

from vlbench.metrics.bleu import bleu_counts
from vlbench.metrics.cider import cider
from vlbench.metrics.ngrams import count_ngrams
from vlbench.metrics.ptb import tokenize

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES, REFERENCES, TURNS, BOUND, TOLERANCE = 5000, 5, 5, 3.0, 1e-12
NAMES = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "CIDEr")

Captions = tuple[list[str], list[list[str]]]
Scores = tuple[np.ndarray, np.ndarray]


def made_up() -> Captions:
    """Return captions of 6 to 15 words; each image has its own 30 words, so that captions of an image overlap."""
    rng = random.Random(20261125)
    vocabulary = [f"w{rank}" for rank in range(3000)]
    weights = [1 / (rank + 1) for rank in range(3000)]
    candidates, references = [], []
    for _ in range(IMAGES):
        own = rng.choices(vocabulary, weights, k=30)
        made = [" ".join(rng.choices(own, k=rng.randint(6, 15))) for _ in range(REFERENCES + 1)]
        candidates.append(made[0])
        references.append(made[1:])
    return candidates, references


def real(folder: Path) -> Captions:
    """Return the tokenised captions in ``folder``."""
    truth = json.loads((folder / "coco_karpathy_test.json").read_text())
    answers = json.loads((folder / "VinVL_base_test.results.json").read_text())
    texts = {answer["image_id"]: answer["caption"] for answer in answers}
    ids = [int(Path(image["image"]).stem.rpartition("_")[2]) for image in truth]
    references = [tokenize(image["caption"][:REFERENCES]) for image in truth]
    return tokenize([texts[image_id] for image_id in ids]), references


def official(candidates: list[str], references: list[list[str]]) -> Scores:
    """Score with pycocoevalcap: corpus values (5,), per-image values (5, n)."""
    bleu, weighed = BleuScorer(n=4), CiderScorer(n=4, sigma=6.0)
    for pair in zip(candidates, references, strict=True):
        bleu += pair
        weighed += pair
    bleu_corpus, bleu_images = bleu.compute_score(option="closest", verbose=0)
    cider_corpus, cider_images = weighed.compute_score()
    return np.array([*bleu_corpus, cider_corpus]), np.array([*bleu_images, cider_images])


def ours(candidates: list[str], references: list[list[str]]) -> Scores:
    """Score with vlbench, in the same form."""
    ngrams = count_ngrams(candidates, references)
    counts, scores = bleu_counts(ngrams), cider(ngrams).d
    return np.array([*counts.corpus(), scores.mean()]), np.array([*zip(*counts.per_image(), strict=True), scores])


def main() -> int:
    """Print one table; return 1 if a bound is passed."""
    captions = real(Path(sys.argv[1])) if len(sys.argv) > 1 else made_up()
    scorers: dict[str, Callable[[list[str], list[list[str]]], Scores]] = {"pycocoevalcap": official, "vlbench": ours}
    seconds: dict[str, list[float]] = {name: [] for name in scorers}
    scores: dict[str, Scores] = {}
    for _ in range(TURNS):
        for name, score in scorers.items():
            started = time.perf_counter()
            scores[name] = score(*captions)
            seconds[name].append(time.perf_counter() - started)
    words = sum(len(text.split()) for text in captions[0])
    counted = f"{len(captions[0])} images, {sum(map(len, captions[1]))} references, {words} candidate words"
    print(f"{'real' if len(sys.argv) > 1 else 'made-up'} captions: {counted}; {TURNS} turns each")
    print(f"{'':14} {'median s':>9} {'min':>7} {'max':>7}  " + "".join(f"{name:>13}" for name in NAMES))
    for name, values in seconds.items():
        times = f"{statistics.median(values):9.3f} {min(values):7.3f} {max(values):7.3f}"
        print(f"{name:14} {times}  " + "".join(f"{value:13.10f}" for value in scores[name][0]))
    gap = max(float(np.abs(a - b).max()) for a, b in zip(scores["vlbench"], scores["pycocoevalcap"], strict=True))
    ratio = statistics.median(seconds["pycocoevalcap"]) / statistics.median(seconds["vlbench"])
    print(
        f"vlbench is {ratio:.1f} times as fast (bound {BOUND:.0f}); largest difference, per image or corpus: {gap:.1e}"
    )
    return int(ratio < BOUND or gap > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
