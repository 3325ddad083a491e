"""Scenes in the formats of COCO Captions and of the Karpathy split files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from vlbench.data.scenes.captions import captions
from vlbench.data.scenes.draw import VERSION
from vlbench.data.scenes.scene import SIDE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.data.scenes.scene import Scene

Json = dict[str, Any]

INFO: Json = {
    "description": "vlbench scenes, procedurally drawn",
    "url": "",
    "version": str(VERSION),
    "year": 2014,
    "contributor": "vlbench",
    "date_created": "2014-01-01 00:00:00",
}
LICENSE: Json = {"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}


def coco_name(scene: Scene, folder: str) -> str:
    """Return the file name of a scene in the folder ``train2014`` or ``val2014``."""
    return f"COCO_{folder}_{scene.scene_id:012d}.png"


def coco_captions(scenes: Sequence[Scene], folder: str) -> Json:
    """Return the document ``captions_<folder>.json``; an annotation's id is 10 * image id + k."""
    images = [
        {
            "license": 1,
            "file_name": coco_name(scene, folder),
            "coco_url": "",
            "height": SIDE,
            "width": SIDE,
            "date_captured": "2014-01-01 00:00:00",
            "flickr_url": "",
            "id": scene.scene_id,
        }
        for scene in scenes
    ]
    annotations = [
        {"image_id": scene.scene_id, "id": 10 * scene.scene_id + k, "caption": text}
        for scene in scenes
        for k, text in enumerate(captions(scene))
    ]
    return {"info": INFO, "images": images, "licenses": [LICENSE], "annotations": annotations}


def karpathy_coco(parts: Mapping[str, tuple[str, Sequence[Scene]]]) -> Json:
    """Return ``dataset_coco.json``; ``parts`` maps a split to its image folder and scenes."""
    images: list[Json] = []
    for part, (folder, scenes) in parts.items():
        for scene in scenes:
            row = _karpathy_row(scene, part, len(images), coco_name(scene, folder))
            images.append({"filepath": folder, **row, "cocoid": scene.scene_id})
    return {"images": images, "dataset": "coco"}


def karpathy_flickr30k(parts: Mapping[str, Sequence[Scene]]) -> Json:
    """Return ``dataset_flickr30k.json``; ``parts`` maps a split to its scenes."""
    images: list[Json] = []
    for part, scenes in parts.items():
        images.extend(
            _karpathy_row(scene, part, n, flickr_name(scene)) for n, scene in enumerate(scenes, start=len(images))
        )
    return {"images": images, "dataset": "flickr30k"}


def flickr_name(scene: Scene) -> str:
    """Return the file name of a scene in ``flickr30k-images``."""
    return f"{scene.scene_id}.png"


def _karpathy_row(scene: Scene, part: str, number: int, name: str) -> Json:
    sentences = [
        {"tokens": re.findall(r"\w+", text.lower()), "raw": text, "imgid": number, "sentid": 10 * scene.scene_id + k}
        for k, text in enumerate(captions(scene))
    ]
    return {
        "sentids": [sentence["sentid"] for sentence in sentences],
        "filename": name,
        "imgid": number,
        "split": part,
        "sentences": sentences,
    }
