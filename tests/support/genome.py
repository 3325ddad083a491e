"""A miniature of Visual Genome in its official layout, with the quirks of the official files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from tests.support.layouts import write

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]

SIZE = (64, 48)
FOLDERS = {1: "VG_100K_2", 2: "VG_100K", 3: "VG_100K"}
"""Image 3 lies where its url does not say."""


def image_data() -> list[Json]:
    return [
        {
            "image_id": image_id,
            "url": f"https://cs.stanford.edu/people/rak248/VG_100K{'_2' if image_id != 2 else ''}/{image_id}.jpg",
            "width": SIZE[0],
            "height": SIZE[1],
            "coco_id": None,
            "flickr_id": None,
        }
        for image_id in FOLDERS
    ]


def _region(region_id: int, image_id: int, phrase: str, *box: int) -> Json:
    x, y, width, height = box
    place = {"x": x, "y": y, "width": width, "height": height}
    return {"region_id": region_id, "image_id": image_id, "phrase": phrase, **place}


def region_descriptions() -> list[Json]:
    """Image 1 says one thing twice of one box, reaches out of the picture, and has boxes that are of no use."""
    first = [
        _region(10, 1, "the wall is white", 0, 0, 30, 30),
        _region(11, 1, "The wall is  white ", 0, 0, 30, 30),
        _region(12, 1, "shade is along the street ", -5, 20, 40, 60),
        _region(13, 1, "a speck", 3, 3, 15, 30),
        _region(14, 1, "nothing of it", 70, 0, 30, 30),
        _region(15, 1, " ", 0, 0, 30, 30),
    ]
    second = [_region(20, 2, "The wall is white", 10, 10, 30, 30), _region(21, 2, "a red car", 20, 0, 44, 40)]
    return [{"id": 1, "regions": first}, {"id": 2, "regions": second}, {"id": 3, "regions": []}]


def question_answers() -> list[Json]:
    asked = {
        1: [("What color is the clock?", "Green."), ("How many people are there?", "Two.")],
        2: [("WhAt is this?", "A dog."), ("Where is the dog?", "On the  couch.")],
        3: [("What is that?", "Dog.")],
    }
    return [
        {
            "id": image_id,
            "qas": [
                {
                    "qa_id": 100 * image_id + k,
                    "image_id": image_id,
                    "question": question,
                    "answer": answer,
                    "a_objects": [],
                    "q_objects": [],
                }
                for k, (question, answer) in enumerate(pairs)
            ],
        }
        for image_id, pairs in asked.items()
    ]


def _object(object_id: int, name: str, attributes: list[str] | None = None, **changes: Any) -> Json:
    row = {"object_id": object_id, "names": [name], "synsets": [f"{name}.n.01"], "x": 0, "y": 0, "w": 20, "h": 20}
    return row | ({} if attributes is None else {"attributes": attributes}) | changes


def _relation(relationship_id: int, subject: int, predicate: str, item: int) -> Json:
    return {
        "relationship_id": relationship_id,
        "predicate": predicate,
        "synsets": [],
        "subject_id": subject,
        "object_id": item,
    }


def scene_graphs() -> list[Json]:
    """Objects without attributes or with ``name`` in place of ``names``; predicates in capitals and with articles."""
    first = [
        _object(1, "wall", ["white", "tall"]),
        _object(2, "tree", ["Brown"]),
        _object(3, "sidewalk"),
        _object(4, "man") | {"name": "man", "attributes": None},
        _object(5, "shoes", ["grey"], synsets=None),
    ]
    del first[3]["names"]
    related = [
        _relation(30, 2, "ON", 3),
        _relation(31, 4, "is wearing", 5),
        _relation(32, 2, "next to", 1),
        _relation(33, 2, "on a", 3),
    ]
    second = [_object(6, "cup", ["red"]), _object(7, "cup", ["blue"]), _object(8, "plate", ["blue"])]
    return [
        {"image_id": 1, "objects": first, "relationships": related},
        {"image_id": 2, "objects": second, "relationships": [_relation(40, 6, "on", 8)]},
        {"image_id": 3, "objects": [], "relationships": []},
    ]


DOCUMENTS = {
    "image_data.json": image_data,
    "region_descriptions.json": region_descriptions,
    "question_answers.json": question_answers,
    "scene_graphs.json": scene_graphs,
}


def genome(root: Path, *, test: tuple[int, ...] | None = (1, 2)) -> None:
    """Write the layout, with a file of DenseCap that has ``test`` as its test split; None: without that file."""
    for name, document in DOCUMENTS.items():
        write(root / name, document())
    if test is not None:
        write(root / "densecap_splits.json", {"train": [3], "val": [], "test": list(test)})
    for image_id, folder in FOLDERS.items():
        path = root / folder / f"{image_id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE, "white").save(path)
