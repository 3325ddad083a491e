"""OK-VQA (Marino et al. 2019): questions about COCO images that need knowledge from outside the image.

Layout: that of VQA, without the version in front: ``OpenEnded_mscoco_<split>_questions.json`` and
``mscoco_<split>_annotations.json``. Five annotators answered, and each answer stands twice, so that the accuracy of VQA
applies. ``answer`` is the stemmed form, against which the official number is taken; ``raw_answer`` is what was typed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlbench.data.vqa import Layout, load_vqa

if TYPE_CHECKING:
    from vlbench.data.source import LocalFolder
    from vlbench.types import Dataset, VisualQuestion

NAME = "okvqa"
LAYOUT = Layout(NAME, "", {"val2014": {"questions": 5_046}, "train2014": {"questions": 9_009}}, raw_answers=True)
FILES = {split: LAYOUT.question_files(split) for split in LAYOUT.official_counts}


def load_okvqa(folder: LocalFolder, split: str | None = None, limit: int | None = None) -> Dataset[VisualQuestion]:
    """Read a split (default ``val2014``) with stemmed and raw answers; raises as ``load_vqa`` does."""
    return load_vqa(folder, split, limit, LAYOUT)
