"""What a model has seen of a dataset: the dataset itself, or its images by way of another dataset.

Splits are not looked at: who names a dataset that a checkpoint was trained on rarely names the split, and the usual
splits cross. Karpathy's train split holds 30,504 images of val2014 ("restval"), on which VQA v2 and OK-VQA are
validated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLLECTIONS: Mapping[str, Mapping[str, str]] = {
    "COCO photographs": {
        "coco": "Chen et al. 2015; the images of 2014 and 2017 are the same, split differently",
        "vqa": "Goyal et al. 2017; images are named COCO_train2014_…, COCO_val2014_…, COCO_test2015_…",
        "okvqa": "Marino et al. 2019; questions about COCO 2014, in mscoco files",
        "aokvqa": "Schwenk et al. 2022; questions about COCO 2017",
        "refcoco": "Yu et al. 2016; objects in images of COCO train2014",
        "visualgenome": "Krishna et al. 2017; image_data has the coco_id of each image that is one of COCO",
        "gqa": "Hudson & Manning 2019; images and scene graphs are those of Visual Genome",
        "sugarcrepe": "Hsieh et al. 2023; images of COCO val2017",
        "eccvcaption": "Chun et al. 2022; Karpathy's test images of COCO",
        "cxc": "Parekh et al. 2021; Karpathy's val and test images of COCO",
    },
    "Flickr photographs of people and animals": {
        "flickr30k": "Young et al. 2014; extends Flickr8K",
        "flickr8k": "Hodosh et al. 2013; its images are among those of Flickr30K",
        "snlive": "Xie et al. 2019; images of Flickr30K",
    },
}
"""Datasets that share images, each with who says so."""

ALIASES: Mapping[str, str] = {
    "mscoco": "coco",
    "coco2014": "coco",
    "coco2017": "coco",
    "vg": "visualgenome",
    "vqav2": "vqa",
    "vqa2": "vqa",
    "refcocog": "refcoco",
    "eccv": "eccvcaption",
}
_KNOWN = {name for members in COLLECTIONS.values() for name in members}

DATASET = "dataset"
IMAGES = "images"


class Exposure(NamedTuple):
    """``level``: ``dataset``, ``images`` or empty; ``through``: the training datasets that it comes from."""

    level: str = ""
    through: tuple[str, ...] = ()


def family(name: str) -> str:
    """Return the dataset that a name stands for, without split, version and spelling.

    >>> family("COCO-Captions"), family("visual_genome 1.4"), family("vqav2:train2014"), family("scenes/coco")
    ('coco', 'visualgenome', 'vqa', 'scenes')
    """
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    for end in range(len(words), 0, -1):
        joined = "".join(words[:end])
        if joined in ALIASES or joined in _KNOWN:
            return ALIASES.get(joined, joined)
    return words[0] if words else ""


def exposure(trained_on: Sequence[str], dataset: str) -> Exposure:
    """Return what a model that was trained on ``trained_on`` has seen of ``dataset``.

    >>> exposure(["laion-2b", "coco"], "vqa"), exposure(["laion-2b"], "vqa")
    (Exposure(level='images', through=('coco',)), Exposure(level='', through=()))
    """
    own = family(dataset)
    same = tuple(name for name in trained_on if family(name) == own)
    if same:
        return Exposure(DATASET, same)
    kin = {name for members in COLLECTIONS.values() if own in members for name in members}
    shared = tuple(name for name in trained_on if family(name) in kin)
    return Exposure(IMAGES, shared) if shared else Exposure()
