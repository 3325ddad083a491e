"""The built-in tasks, as a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlbench.hookspecs import hookimpl
from vlbench.specs import TaskSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

_RETRIEVAL_NEEDS = "embed_images and embed_texts (match re-ranks), or match"
_CHOOSE_NEEDS = "choose, match, loglikelihood, or embed_images and embed_texts"


@hookimpl
def vlbench_register_tasks() -> Iterable[TaskSpec]:
    """Return the built-in tasks."""
    return [
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
            "nocaps",
            "NoCaps captioning: the same, over all images and by domain",
            "vlbench.tasks.captioning:NoCaps",
            "nocaps",
            "CIDEr",
            "generate",
            default=False,
        ),
        TaskSpec(
            "vqa",
            "VQA v2: official accuracy of open answers",
            "vlbench.tasks.vqa:Vqa",
            "vqa",
            "accuracy",
            f"generate; or, to rank a shortlist: {_CHOOSE_NEEDS}",
        ),
        TaskSpec(
            "vcr",
            "VCR: answers (Q->A), rationales (QA->R), both (Q->AR)",
            "vlbench.tasks.vcr:Vcr",
            "vcr",
            "q_to_ar",
            _CHOOSE_NEEDS,
        ),
    ]
