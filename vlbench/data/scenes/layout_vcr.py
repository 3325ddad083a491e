"""Scenes in the format of VCR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlbench.data.scenes.vcr import vcr_items

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vlbench.data.scenes.scene import Scene
    from vlbench.data.scenes.vcr import Tokens, VCRItem

Json = dict[str, Any]


def vcr_name(scene: Scene, ending: str) -> str:
    """Return the name of a scene's picture ("png") or metadata ("json") under ``vcr1images``."""
    return f"{_movie(scene)}/{scene.scene_id}.{ending}"


def _movie(scene: Scene) -> str:
    return f"scenes_{scene.split}"


def vcr_rows(scenes: Sequence[Scene], part: str) -> Iterator[Json]:
    """Yield the lines of ``<part>.jsonl``."""
    number = 0
    for image, scene in enumerate(scenes):
        for k, item in enumerate(vcr_items(scene)):
            yield {
                **_texts(item),
                "movie": _movie(scene),
                "objects": list(item.objects),
                "interesting_scores": [0],
                "answer_likelihood": "likely",
                "img_fn": vcr_name(scene, "png"),
                "metadata_fn": vcr_name(scene, "json"),
                "answer_label": item.answer_label,
                "answer_sources": [number] * 4,
                "answer_match_iter": [k] * 4,
                "rationale_label": item.rationale_label,
                "rationale_sources": [number] * 4,
                "rationale_match_iter": [k] * 4,
                "img_id": f"{part}-{image}",
                "question_number": k,
                "annot_id": f"{part}-{number}",
                "match_fold": f"{part}-0",
                "match_index": number,
            }
            number += 1


def vcr_metadata(scene: Scene) -> Json:
    """Return the metadata document of a scene."""
    item = vcr_items(scene)[0]
    return {
        "boxes": [list(box) for box in item.boxes],
        "segms": [[[list(point) for point in line] for line in outline] for outline in item.segms],
        "names": list(item.objects),
        "width": item.width,
        "height": item.height,
    }


def _texts(item: VCRItem) -> Json:
    return {
        "question_orig": _original(item.question),
        "answer_orig": _original(item.answer_choices[item.answer_label]),
        "rationale_orig": _original(item.rationale_choices[item.rationale_label]),
        "question": _lists(item.question),
        "answer_choices": [_lists(choice) for choice in item.answer_choices],
        "rationale_choices": [_lists(choice) for choice in item.rationale_choices],
    }


def _lists(tokens: Tokens) -> list[str | list[int]]:
    return [token if isinstance(token, str) else list(token) for token in tokens]


def _original(tokens: Tokens) -> str:
    """Return the text as the annotator typed it: tags are numbers counted from 1."""
    words = (token if isinstance(token, str) else " and ".join(str(k + 1) for k in token) for token in tokens)
    text = " ".join(words)
    for mark in (".", ",", "?"):
        text = text.replace(f" {mark}", mark)
    return text
