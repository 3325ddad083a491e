"""The built-in datasets, as a plugin: what they are, where they come from and under which terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlbench.hookspecs import hookimpl
from vlbench.specs import DatasetSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

_COCO = DatasetSpec(
    name="coco",
    description="COCO Captions: everyday photographs with five captions each",
    splits=("karpathy-test", "karpathy-val", "karpathy-train", "val2014", "train2014", "val2017", "train2017"),
    licence="captions CC BY 4.0; images under Flickr terms, one licence an image",
    source="https://cocodataset.org",
    citation="Chen et al. 2015, Microsoft COCO Captions; split of Karpathy & Fei-Fei 2015",
)
_FLICKR30K = DatasetSpec(
    name="flickr30k",
    description="Flickr30K: photographs of people and animals with five captions each",
    splits=("test", "val", "train"),
    licence="non-commercial research and education; images under Flickr terms",
    source="https://shannon.cs.illinois.edu/DenotationGraph/",
    citation="Young et al. 2014, From image descriptions to visual denotations; split of Karpathy & Fei-Fei 2015",
)
_VQA = DatasetSpec(
    name="vqa",
    description="VQA v2: open questions about COCO images with ten annotators' answers",
    splits=("val2014", "train2014", "test2015", "test-dev2015"),
    licence="annotations CC BY 4.0; images under Flickr terms, one licence an image",
    source="https://visualqa.org",
    citation="Goyal et al. 2017, Making the V in VQA Matter",
)
_VCR = DatasetSpec(
    name="vcr",
    description="VCR: questions about film stills with four answers and four rationales",
    splits=("val", "train", "test"),
    licence="non-commercial research; no redistribution",
    source="https://visualcommonsense.com",
    citation="Zellers et al. 2019, From Recognition to Cognition",
)

_OKVQA = DatasetSpec(
    name="okvqa",
    description="OK-VQA: questions about COCO images that need outside knowledge",
    splits=("val2014", "train2014"),
    licence="annotations CC BY 4.0; images under Flickr terms, one licence an image",
    source="https://okvqa.allenai.org",
    citation="Marino et al. 2019, OK-VQA",
)
_GQA = DatasetSpec(
    name="gqa",
    description="GQA: compositional questions made from scene graphs, one answer each",
    splits=(
        "testdev_balanced",
        "val_balanced",
        "train_balanced",
        "test_balanced",
        "challenge_balanced",
        "submission_all",
    ),
    licence="CC BY 4.0; images under Flickr terms",
    source="https://cs.stanford.edu/people/dorarad/gqa",
    citation="Hudson & Manning 2019, GQA",
)
_VIZWIZ = DatasetSpec(
    name="vizwiz",
    description="VizWiz-VQA: questions of blind people about their photographs, with ten answers",
    splits=("val", "train", "test"),
    licence="CC BY 4.0",
    source="https://vizwiz.org/tasks-and-datasets/vqa",
    citation="Gurari et al. 2018, VizWiz Grand Challenge",
)


@hookimpl
def vlbench_register_datasets() -> Iterable[DatasetSpec]:
    """Return the built-in datasets."""
    return [_COCO, _FLICKR30K, _VQA, _VCR, _OKVQA, _GQA, _VIZWIZ]
