"""The built-in tasks, as a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlbench.hookspecs import hookimpl
from vlbench.specs import TaskSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

_RETRIEVAL_NEEDS = "embed_images and embed_texts (match re-ranks), or match"
_CHOOSE_NEEDS = "choose, match, loglikelihood, or embed_images and embed_texts"
_OPEN_NEEDS = f"generate; or, to rank a shortlist: {_CHOOSE_NEEDS}"

_MAIN_JOB = (
    TaskSpec(
        "coco_retrieval",
        "COCO image-text retrieval: recall@1/5/10 both ways",
        "vlbench.tasks.retrieval:CocoRetrieval",
        "coco",
        "text_to_image_recall@1",
        _RETRIEVAL_NEEDS,
    ),
    TaskSpec(
        "flickr30k_retrieval",
        "Flickr30K image-text retrieval: recall@1/5/10 both ways",
        "vlbench.tasks.retrieval:Flickr30kRetrieval",
        "flickr30k",
        "text_to_image_recall@1",
        _RETRIEVAL_NEEDS,
    ),
    TaskSpec(
        "coco_caption",
        "COCO captioning: BLEU, METEOR, ROUGE-L, CIDEr",
        "vlbench.tasks.captioning:CocoCaption",
        "coco",
        "CIDEr",
        "generate",
    ),
    TaskSpec(
        "vqa",
        "VQA v2: official accuracy of open answers",
        "vlbench.tasks.vqa:Vqa",
        "vqa",
        "accuracy",
        _OPEN_NEEDS,
    ),
    TaskSpec(
        "vcr",
        "VCR: answers (Q->A), rationales (QA->R), both (Q->AR)",
        "vlbench.tasks.vcr:Vcr",
        "vcr",
        "q_to_ar",
        _CHOOSE_NEEDS,
    ),
)
_OWN_DATA = (
    TaskSpec(
        "flickr8k_retrieval",
        "Flickr8K image-text retrieval: recall@1/5/10 both ways",
        "vlbench.tasks.retrieval:Flickr8kRetrieval",
        "flickr8k",
        "text_to_image_recall@1",
        _RETRIEVAL_NEEDS,
        default=False,
    ),
    TaskSpec(
        "nocaps",
        "NoCaps captioning: the same, over all images and by domain",
        "vlbench.tasks.captioning:NoCaps",
        "nocaps",
        "CIDEr",
        "generate",
        default=False,
    ),
    TaskSpec(
        "okvqa",
        "OK-VQA: official accuracy of open answers, against stemmed and raw ones",
        "vlbench.tasks.vqa:OkVqa",
        "okvqa",
        "accuracy",
        _OPEN_NEEDS,
        default=False,
    ),
    TaskSpec(
        "gqa",
        "GQA: exact accuracy, binary and open",
        "vlbench.tasks.gqa:Gqa",
        "gqa",
        "accuracy",
        _OPEN_NEEDS,
        default=False,
    ),
    TaskSpec(
        "vizwiz",
        "VizWiz-VQA: its own accuracy of open answers, and telling the unanswerable",
        "vlbench.tasks.vizwiz:VizWiz",
        "vizwiz",
        "accuracy",
        _OPEN_NEEDS,
        default=False,
    ),
    TaskSpec(
        "winoground",
        "Winoground: two images, two captions; text, image and group score",
        "vlbench.tasks.winoground:Winoground",
        "winoground",
        "group_score",
        "match, or embed_images and embed_texts",
        default=False,
    ),
    TaskSpec(
        "sugarcrepe",
        "SugarCrepe: right captions against subtly wrong ones, by category",
        "vlbench.tasks.sugarcrepe:SugarCrepe",
        "sugarcrepe",
        "accuracy",
        _CHOOSE_NEEDS,
        default=False,
    ),
    TaskSpec(
        "zeroshot_classification",
        "zero-shot classification of an image folder: top-1, top-5",
        "vlbench.tasks.zeroshot_classification:ZeroshotClassification",
        "imagenet",
        "accuracy@1",
        "embed_images and embed_texts",
        default=False,
    ),
)
"""Tasks whose datasets the bundled scenes do not have: none of them is part of ``all``."""

_VISUAL_GENOME = (
    TaskSpec(
        "vg_region_retrieval",
        "Visual Genome: crops of regions against their phrases, recall@1/5/10 both ways",
        "vlbench.tasks.genome_retrieval:VgRegionRetrieval",
        "visual_genome",
        "text_to_image_recall@1",
        _RETRIEVAL_NEEDS,
        default=False,
    ),
    TaskSpec(
        "vg_region_caption",
        "Visual Genome: a caption for the crop of a region, against its phrase",
        "vlbench.tasks.genome_captioning:VgRegionCaption",
        "visual_genome",
        "CIDEr",
        "generate",
        default=False,
    ),
    TaskSpec(
        "vg_qa",
        "Visual Genome: open questions, exact match after the VQA normalisation",
        "vlbench.tasks.genome:VgQa",
        "visual_genome",
        "accuracy",
        _OPEN_NEEDS,
        default=False,
    ),
    TaskSpec(
        "vg_attributes",
        "Visual Genome: which object has which attribute, two statements",
        "vlbench.tasks.genome:VgAttributes",
        "visual_genome",
        "accuracy",
        _CHOOSE_NEEDS,
        default=False,
    ),
    TaskSpec(
        "vg_relations",
        "Visual Genome: which object is where to which, two statements",
        "vlbench.tasks.genome:VgRelations",
        "visual_genome",
        "accuracy",
        _CHOOSE_NEEDS,
        default=False,
    ),
)
"""Tasks on Visual Genome, which has no official split: none of them is part of ``all``."""


@hookimpl
def vlbench_register_tasks() -> Iterable[TaskSpec]:
    """Return the built-in tasks."""
    return [*_MAIN_JOB, *_OWN_DATA, *_VISUAL_GENOME]
