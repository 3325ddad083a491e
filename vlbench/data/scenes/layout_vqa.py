"""Scenes in the format of VQA v2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlbench.data.scenes.layout_captions import INFO, LICENSE
from vlbench.data.scenes.questions import questions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.data.scenes.questions import Question
    from vlbench.data.scenes.scene import Scene

Json = dict[str, Any]


def vqa_documents(scenes: Sequence[Scene], subtype: str) -> tuple[Json, Json]:
    """Return the documents of questions and of annotations; a question's id is 1000 * image id + k."""
    asked: list[Json] = []
    annotations: list[Json] = []
    for scene in scenes:
        for k, question in enumerate(questions(scene)):
            key = {"image_id": scene.scene_id, "question_id": 1000 * scene.scene_id + k}
            asked.append({**key, "question": question.question})
            annotations.append({**_annotation(question), **key})
    head = {"info": INFO, "data_type": "mscoco", "data_subtype": subtype, "license": LICENSE}
    return {**head, "task_type": "Open-Ended", "questions": asked}, {**head, "annotations": annotations}


def _annotation(question: Question) -> Json:
    return {
        "question_type": question.question_type,
        "multiple_choice_answer": question.multiple_choice_answer,
        "answers": [
            {
                "answer": answer,
                "answer_confidence": "yes" if answer == question.multiple_choice_answer else "maybe",
                "answer_id": number,
            }
            for number, answer in enumerate(question.answers, start=1)
        ],
        "answer_type": question.answer_type,
    }
