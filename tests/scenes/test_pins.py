"""The benchmark never changes unnoticed: after a failure here VERSION has to go up and models are trained anew."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from vlbench.data.scenes import VERSION, captions, questions, regions, render, split, vcr_items

if TYPE_CHECKING:
    from vlbench.data.scenes import Scene

COUNTS = {"train": 500, "val": 500, "test": 500, "flickr-test": 500}
PIXELS = {
    "train": "5c02a045ebd808ba",
    "val": "483e4a37a68d39a9",
    "test": "ff4c39ddda1f6e5b",
    "flickr-test": "66929ca52c0a1370",
}
TEXTS = {
    "train": "b3f471ef89dd5cf3",
    "val": "5e514f434053c2a4",
    "test": "af457a3c91752c75",
    "flickr-test": "9ba0776cf9edee76",
}


def pixels_digest(name: str) -> str:
    digest = hashlib.sha256()
    for scene in split(name, COUNTS[name]):
        digest.update(render(scene).tobytes())
    return digest.hexdigest()[:16]


def texts(scene: Scene) -> str:
    rows = [dataclasses.asdict(question) for question in questions(scene)]
    rows += [dataclasses.asdict(item) for item in vcr_items(scene)]
    rows += [dataclasses.asdict(region) for region in regions(scene)]
    return json.dumps([dataclasses.asdict(scene), captions(scene), rows])


def texts_digest(name: str) -> str:
    digest = hashlib.sha256()
    for scene in split(name, COUNTS[name]):
        digest.update(texts(scene).encode())
    return digest.hexdigest()[:16]


def test_version() -> None:
    assert VERSION == 1


@pytest.mark.parametrize("name", COUNTS)
def test_decoded_pixels(name: str) -> None:
    assert pixels_digest(name) == PIXELS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_objects_and_texts(name: str) -> None:
    assert texts_digest(name) == TEXTS[name]
