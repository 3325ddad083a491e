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
_NOCAPS = DatasetSpec(
    name="nocaps",
    description="NoCaps: Open Images photographs with ten captions each, many of objects that COCO's captions lack",
    splits=("val", "test"),
    licence="captions under the terms on nocaps.org; images CC BY 2.0 as listed by Open Images",
    source="https://nocaps.org",
    citation="Agrawal et al. 2019, nocaps: novel object captioning at scale",
    loader="vlbench.data.nocaps:load_nocaps",
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
_WINOGROUND = DatasetSpec(
    name="winoground",
    description="Winoground: pairs of images and captions of the same words in another order",
    splits=("test",),
    licence="research only, access by request; images from Getty Images",
    source="https://huggingface.co/datasets/facebook/winoground",
    citation="Thrush et al. 2022, Winoground: Probing Vision and Language Models for Visio-Linguistic Compositionality",
    loader="vlbench.data.winoground:load_winoground",
)
_SUGARCREPE = DatasetSpec(
    name="sugarcrepe",
    description="SugarCrepe: COCO val2017 images with a right and a subtly wrong caption",
    splits=("test",),
    licence="MIT; images under Flickr terms, one licence an image",
    source="https://github.com/RAIVNLab/sugar-crepe",
    citation="Hsieh et al. 2023, SugarCrepe: Fixing Hackable Benchmarks for Vision-Language Compositionality",
    loader="vlbench.data.sugarcrepe:load_sugarcrepe",
    images_of="coco",
)
_IMAGENET = DatasetSpec(
    name="imagenet",
    description="ImageNet, or any folder with one folder of images a class",
    splits=("val", "train", "test", "all"),
    licence="non-commercial research, access by request; another folder has its own",
    source="https://image-net.org",
    citation="Deng et al. 2009, ImageNet; Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge",
    loader="vlbench.data.image_folder:load_image_folder",
)

_OKVQA = DatasetSpec(
    name="okvqa",
    description="OK-VQA: questions about COCO images that need outside knowledge",
    splits=("val2014", "train2014"),
    licence="annotations CC BY 4.0; images under Flickr terms, one licence an image",
    source="https://okvqa.allenai.org",
    citation="Marino et al. 2019, OK-VQA",
    loader="vlbench.data.okvqa:load_okvqa",
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
    loader="vlbench.data.gqa:load_gqa",
)
_VIZWIZ = DatasetSpec(
    name="vizwiz",
    description="VizWiz-VQA: questions of blind people about their photographs, with ten answers",
    splits=("val", "train", "test"),
    licence="CC BY 4.0",
    source="https://vizwiz.org/tasks-and-datasets/vqa",
    citation="Gurari et al. 2018, VizWiz Grand Challenge",
    loader="vlbench.data.vizwiz:load_vizwiz",
)


@hookimpl
def vlbench_register_datasets() -> Iterable[DatasetSpec]:
    """Return the built-in datasets."""
    return [
        _COCO,
        _FLICKR30K,
        _FLICKR8K,
        _NOCAPS,
        _VQA,
        _OKVQA,
        _GQA,
        _VIZWIZ,
        _VCR,
        _VISUAL_GENOME,
        _WINOGROUND,
        _SUGARCREPE,
        _IMAGENET,
    ]
