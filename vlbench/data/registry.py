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
_NOCAPS = DatasetSpec(
    name="nocaps",
    description="NoCaps: Open Images photographs with ten captions each, many of objects that COCO's captions lack",
    splits=("val",),
    licence="captions under the terms on nocaps.org; images CC BY 2.0 as listed by Open Images",
    source="https://nocaps.org",
    citation="Agrawal et al. 2019, nocaps: novel object captioning at scale",
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


@hookimpl
def vlbench_register_datasets() -> Iterable[DatasetSpec]:
    """Return the built-in datasets."""
    return [_COCO, _FLICKR30K, _NOCAPS, _VQA, _VCR]
