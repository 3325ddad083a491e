"""How well caption metrics agree with people: Kendall's tau with the expert judgements of Flickr8K.

Usage: ``python benchmarks/caption_correlation.py FOLDER``. FOLDER holds ``Flickr8k.token.txt`` and
``ExpertAnnotations.txt`` (Hodosh et al. 2013). As in Table 1 of Hessel et al. 2021: each caption is scored for an image
that it was not written for, against the image's five captions; each of its three judgements is one observation; CIDEr's
document frequencies come from the images as often as they are judged. Printed are 100 tau-c and 100 tau-b.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from vlbench.metrics.captions import score_captions

NAMES = ("Bleu_1", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "CIDEr_original")


def taus(scores: np.ndarray, grades: np.ndarray) -> tuple[float, float]:
    """Return Kendall's tau-c and tau-b of n scores with n small integers, by sorting and counting."""
    levels = np.unique(grades)
    n = len(scores)
    concordance = 0
    for low, high in [(a, b) for i, a in enumerate(levels) for b in levels[i + 1 :]]:
        below, above = np.sort(scores[grades == low]), scores[grades == high]
        # Of each pair of grades: scores in the same order, less those in the opposite order.
        concordance += int(np.searchsorted(below, above, "left").sum())
        concordance -= int((len(below) - np.searchsorted(below, above, "right")).sum())
    groups = [np.unique(values, return_counts=True)[1].astype(float) for values in (scores, grades)]
    untied = [n * (n - 1) / 2 - (counts * (counts - 1) / 2).sum() for counts in groups]
    smaller = min(len(counts) for counts in groups)
    tau_c = 2 * concordance / (n**2 * (smaller - 1) / smaller)
    return tau_c, concordance / float(np.sqrt(untied[0] * untied[1]))


def judged(folder: Path) -> tuple[list[str], list[list[str]], np.ndarray]:
    """Return candidates, references and the (n, 3) judgements from 1 to 4."""
    captions: dict[str, str] = {}
    of_image: dict[str, list[str]] = {}
    for line in (folder / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        name, text = line.split("\t")
        captions[name] = text
        of_image.setdefault(name.partition("#")[0], []).append(text)
    candidates, references, grades = [], [], []
    for line in (folder / "ExpertAnnotations.txt").read_text(encoding="utf-8").splitlines():
        image, name, *votes = line.split("\t")
        if name.partition("#")[0] != image:
            candidates.append(captions[name])
            references.append(of_image[image])
            grades.append([int(vote) for vote in votes])
    return candidates, references, np.array(grades)


def main() -> int:
    """Print one row a metric."""
    candidates, references, grades = judged(Path(sys.argv[1]))
    scores = score_captions(dict(enumerate(candidates)), dict(enumerate(references)), metrics=NAMES)
    print(f"Flickr8K expert judgements: {len(candidates)} pairs, {grades.size} judgements")
    print(f"{'metric':16} {'tau-c':>8} {'tau-b':>8}")
    for name in NAMES:
        if name not in scores.per_image:
            print(f"{name:16} {scores.reasons[name]}")
            continue
        values = np.repeat(scores.per_image[name], grades.shape[1])
        tau_c, tau_b = taus(values, grades.ravel())
        print(f"{name:16} {100 * tau_c:8.3f} {100 * tau_b:8.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
