"""Miniature train splits of COCO, VQA v2 and VCR in their official layouts; no image is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.layouts import annotation, karpathy_document, lines, vcr_items, write

if TYPE_CHECKING:
    from pathlib import Path

ASKED = [
    ("Is it red?", "yes"),
    ("Is it red?", "yes"),
    ("is it RED", "no"),
    ("Is it blue?", "no"),
    ("Is it old?", "no"),
    ("What color is the cat?", "black"),
    ("What color is the dog?", "black"),
    ("What color is the cup?", "white"),
    ("What animal is it?", "cat"),
]


def coco(root: Path) -> None:
    """Karpathy's file: one restval image with two captions, which count as train."""
    write(root / "coco" / "dataset_coco.json", karpathy_document())


def vqa(root: Path) -> None:
    """Questions and annotations; ids are 1, 2, …."""
    asked = [{"image_id": 1, "question": text, "question_id": n} for n, (text, _) in enumerate(ASKED, 1)]
    answered = [annotation(n, 1, "x", "other", [answer] * 10) for n, (_, answer) in enumerate(ASKED, 1)]
    write(root / "vqa" / "v2_OpenEnded_mscoco_train2014_questions.json", {"questions": asked})
    write(root / "vqa" / "v2_mscoco_train2014_annotations.json", {"annotations": answered})


def vcr(root: Path) -> None:
    """Two items, without images or metadata."""
    write(root / "vcr" / "train.jsonl", lines(vcr_items()))


def everything(root: Path) -> Path:
    """Write all three and return the root."""
    coco(root)
    vqa(root)
    vcr(root)
    return root
