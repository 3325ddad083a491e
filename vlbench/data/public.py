"""Where the official files can be fetched without asking anyone, as a table; and what must be asked for.

Sizes are the rounded ones that the publishers state; where none is stated there is none. None of the publishers states
a SHA-256, so that of the first download is recorded and nothing is claimed about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_GB, _MB = 10**9, 10**6


@dataclass(frozen=True)
class Archive:
    """A zip file, the members to take (a glob), the dataset in whose folder they belong, and its size in bytes."""

    url: str
    members: str
    dataset: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Recipe:
    """What makes a split complete; ``links`` are folders of another dataset that hold the same images."""

    archives: tuple[Archive, ...]
    links: tuple[str, ...] = ()


_ZIPS = "http://images.cocodataset.org"
_VQA = "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa"
_KARPATHY = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"


def _images(folder: str, size: int | None) -> Archive:
    return Archive(f"{_ZIPS}/zips/{folder}.zip", f"{folder}/*.jpg", "coco", size)


def _captions(split: str) -> Archive:
    url = f"{_ZIPS}/annotations/annotations_trainval{split[-4:]}.zip"
    return Archive(url, f"annotations/captions_{split}.json", "coco", 241 * _MB)


def _vqa(kind: str, part: str, members: str) -> Archive:
    return Archive(f"{_VQA}/v2_{kind}_{part}_mscoco.zip", members, "vqa")


_TRAIN2014, _VAL2014 = _images("train2014", 13 * _GB), _images("val2014", 6 * _GB)
_TRAIN2017, _VAL2017 = _images("train2017", 18 * _GB), _images("val2017", 1 * _GB)
_TEST2015 = _images("test2015", None)
_SPLIT_FILE = Archive(_KARPATHY, "dataset_coco.json", "coco")
_FLICKR30K = Recipe((Archive(_KARPATHY, "dataset_flickr30k.json", "flickr30k"),))
# A model that ranks answers takes its shortlist from the train annotations.
_TRAIN_ANSWERS = _vqa("Annotations", "Train", "v2_mscoco_train2014_annotations.json")

PUBLIC: Mapping[str, Mapping[str, Recipe]] = {
    "coco": {
        "karpathy-test": Recipe((_SPLIT_FILE, _VAL2014)),
        "karpathy-val": Recipe((_SPLIT_FILE, _VAL2014)),
        "karpathy-train": Recipe((_SPLIT_FILE, _TRAIN2014, _VAL2014)),
        "val2014": Recipe((_captions("val2014"), _VAL2014)),
        "train2014": Recipe((_captions("train2014"), _TRAIN2014)),
        "val2017": Recipe((_captions("val2017"), _VAL2017)),
        "train2017": Recipe((_captions("train2017"), _TRAIN2017)),
    },
    "flickr30k": {"test": _FLICKR30K, "val": _FLICKR30K, "train": _FLICKR30K},
    "vqa": {
        "val2014": Recipe(
            (
                _vqa("Questions", "Val", "v2_OpenEnded_mscoco_val2014_questions.json"),
                _vqa("Annotations", "Val", "v2_mscoco_val2014_annotations.json"),
                _TRAIN_ANSWERS,
                _VAL2014,
            ),
            ("val2014",),
        ),
        "train2014": Recipe(
            (
                _vqa("Questions", "Train", "v2_OpenEnded_mscoco_train2014_questions.json"),
                _TRAIN_ANSWERS,
                _TRAIN2014,
            ),
            ("train2014",),
        ),
        "test2015": Recipe(
            (_vqa("Questions", "Test", "v2_OpenEnded_mscoco_test2015_questions.json"), _TEST2015), ("test2015",)
        ),
        "test-dev2015": Recipe(
            (_vqa("Questions", "Test", "v2_OpenEnded_mscoco_test-dev2015_questions.json"), _TEST2015), ("test2015",)
        ),
    },
}

BY_HAND: Mapping[str, str] = {
    "flickr30k": "ask for the images with the form on https://shannon.cs.illinois.edu/DenotationGraph/ "
    "and unpack them into flickr30k/flickr30k-images/",
    "flickr8k": "ask for the images through https://hockenmaier.cs.illinois.edu/8k-pictures.html and unpack them into "
    "flickr8k/Flicker8k_Dataset/",
    "visual_genome": "fetch images and annotations from https://homes.cs.washington.edu/~ranjay/visualgenome/api.html "
    "and unpack them into visual_genome/",
    "winoground": "accept the terms on https://huggingface.co/datasets/facebook/winoground, log in, and use --data hub",
    "sugarcrepe": "fetch the seven files of https://github.com/RAIVNLab/sugar-crepe/tree/main/data into sugarcrepe/, "
    "and COCO's val2017 (vlbench data get coco --split val2017)",
    "imagenet": "ask for access on https://image-net.org and unpack the images into imagenet/val/<class>/",
    "okvqa": "fetch questions and annotations from https://okvqa.allenai.org/download.html into okvqa/, "
    "and link COCO's images (vlbench data get coco) as okvqa/val2014",
    "gqa": "fetch questions and images from https://cs.stanford.edu/people/dorarad/gqa/download.html into gqa/",
    "vizwiz": "fetch images and annotations from https://vizwiz.org/tasks-and-datasets/vqa into vizwiz/",
    "nocaps": "fetch nocaps_val_4500_captions.json and the images that it lists from https://nocaps.org/download "
    "into nocaps/",
    "vcr": "accept the terms on https://visualcommonsense.com and unpack vcr1annots.zip and vcr1images.zip into vcr/",
}
"""What ``vlbench data get`` does not fetch: how to get it, and where it belongs under the data root."""
