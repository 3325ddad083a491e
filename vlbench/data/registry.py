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
    loader="vlbench.data.coco:load_coco",
)
_FLICKR30K = DatasetSpec(
    name="flickr30k",
    description="Flickr30K: photographs of people and animals with five captions each",
    splits=("test", "val", "train"),
    licence="non-commercial research and education; images under Flickr terms",
    source="https://shannon.cs.illinois.edu/DenotationGraph/",
    citation="Young et al. 2014, From image descriptions to visual denotations; split of Karpathy & Fei-Fei 2015",
    loader="vlbench.data.flickr30k:load_flickr30k",
)
_FLICKR8K = DatasetSpec(
    name="flickr8k",
    description="Flickr8K: photographs of people and dogs in action with five captions each",
    splits=("test", "val", "train"),
    licence="non-commercial research and education; images under Flickr terms",
    source="https://hockenmaier.cs.illinois.edu/8k-pictures.html",
    citation="Hodosh et al. 2013, Framing Image Description as a Ranking Task",
    loader="vlbench.data.flickr8k:load_flickr8k",
)
_VQA = DatasetSpec(
    name="vqa",
    description="VQA v2: open questions about COCO images with ten annotators' answers",
    splits=("val2014", "train2014", "test2015", "test-dev2015"),
    licence="annotations CC BY 4.0; images under Flickr terms, one licence an image",
    source="https://visualqa.org",
    citation="Goyal et al. 2017, Making the V in VQA Matter",
    loader="vlbench.data.vqa:load_vqa",
)
_VCR = DatasetSpec(
    name="vcr",
    description="VCR: questions about film stills with four answers and four rationales",
    splits=("val", "train", "test"),
    licence="non-commercial research; no redistribution",
    source="https://visualcommonsense.com",
    citation="Zellers et al. 2019, From Recognition to Cognition",
    loader="vlbench.data.vcr:load_vcr",
)
_VISUAL_GENOME = DatasetSpec(
    name="visual_genome",
    description="Visual Genome: photographs with region phrases, questions and scene graphs",
    splits=("densecap-test", "densecap-val", "densecap-train", "hash-test", "all"),
    licence="CC BY 4.0; images under Flickr terms",
    source="https://homes.cs.washington.edu/~ranjay/visualgenome",
    citation="Krishna et al. 2017, Visual Genome; split of Johnson et al. 2016, DenseCap",
    loader="vlbench.data.visual_genome:load_regions",
)


@hookimpl
def vlbench_register_datasets() -> Iterable[DatasetSpec]:
    """Return the built-in datasets."""
    return [_COCO, _FLICKR30K, _FLICKR8K, _VQA, _VCR, _VISUAL_GENOME]
