"""Scenes in the format of Visual Genome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlbench.data.scenes.graph import regions, relationships
from vlbench.data.scenes.questions import questions
from vlbench.data.scenes.scene import SIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.data.scenes.scene import Scene, SceneObject

Json = dict[str, Any]
_MANY = 1000
"""Ids of regions, questions, objects and relationships are _MANY * image id + k."""


def genome_name(scene: Scene) -> str:
    """Return the file name of a scene in ``VG_100K``."""
    return f"{scene.scene_id}.png"


def genome_documents(train: Sequence[Scene], val: Sequence[Scene], test: Sequence[Scene]) -> dict[str, Any]:
    """Return the documents by file name, with the file of DenseCap that tells the splits."""
    scenes = [*train, *val, *test]
    parts = {"train": train, "val": val, "test": test}
    return {
        "densecap_splits.json": {part: [scene.scene_id for scene in members] for part, members in parts.items()},
        "image_data.json": [_image(scene) for scene in scenes],
        "region_descriptions.json": [{"id": s.scene_id, "regions": _regions(s)} for s in scenes],
        "question_answers.json": [{"id": s.scene_id, "qas": _answers(s)} for s in scenes],
        "objects.json": [{"image_id": s.scene_id, "objects": _objects(s)} for s in scenes],
        "attributes.json": [{"image_id": s.scene_id, "attributes": _attributed(s)} for s in scenes],
        "relationships.json": [{"image_id": s.scene_id, "relationships": _relations(s)} for s in scenes],
        "scene_graphs.json": [_graph(s) for s in scenes],
    }


def _image(scene: Scene) -> Json:
    url = f"VG_100K/{genome_name(scene)}"
    return {
        "image_id": scene.scene_id,
        "url": url,
        "width": SIDE,
        "height": SIDE,
        "coco_id": scene.scene_id,
        "flickr_id": None,
    }


def _regions(scene: Scene) -> list[Json]:
    return [
        {
            "region_id": _MANY * scene.scene_id + k,
            "image_id": scene.scene_id,
            "phrase": region.phrase,
            "x": region.x,
            "y": region.y,
            "width": region.width,
            "height": region.height,
        }
        for k, region in enumerate(regions(scene))
    ]


def _answers(scene: Scene) -> list[Json]:
    return [
        {
            "qa_id": _MANY * scene.scene_id + k,
            "image_id": scene.scene_id,
            "question": question.question,
            "answer": f"{question.multiple_choice_answer.capitalize()}.",
            "a_objects": [],
            "q_objects": [],
        }
        for k, question in enumerate(questions(scene))
    ]


def _object(scene: Scene, index: int, item: SceneObject) -> Json:
    x1, y1, x2, y2 = item.box
    return {
        "object_id": _MANY * scene.scene_id + index,
        "x": x1,
        "y": y1,
        "w": x2 - x1,
        "h": y2 - y1,
        "names": [item.shape],
        "synsets": [],
    }


def _objects(scene: Scene) -> list[Json]:
    return [_object(scene, k, item) for k, item in enumerate(scene.objects)]


def _attributed(scene: Scene) -> list[Json]:
    return [{**_object(scene, k, item), "attributes": [item.size, item.color]} for k, item in enumerate(scene.objects)]


def _relations(scene: Scene) -> list[Json]:
    objects = _objects(scene)
    return [
        {
            "relationship_id": _MANY * scene.scene_id + k,
            "predicate": found.predicate,
            "synsets": [],
            "subject": objects[found.subject],
            "object": objects[found.object],
        }
        for k, found in enumerate(relationships(scene))
    ]


def _graph(scene: Scene) -> Json:
    related = [
        {
            "relationship_id": row["relationship_id"],
            "predicate": row["predicate"],
            "synsets": [],
            "subject_id": row["subject"]["object_id"],
            "object_id": row["object"]["object_id"],
        }
        for row in _relations(scene)
    ]
    return {"image_id": scene.scene_id, "objects": _attributed(scene), "relationships": related}
