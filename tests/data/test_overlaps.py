"""Which training data spoils which test data."""

from __future__ import annotations

import pytest

from vlbench.data.overlaps import ALIASES, COLLECTIONS, DATASET, IMAGES, exposure, family


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("coco", "coco"),
        ("COCO-Captions", "coco"),
        ("coco:karpathy-train", "coco"),
        ("mscoco_captions", "coco"),
        ("cocoa", "cocoa"),
        ("vqav2:train2014", "vqa"),
        ("ok-vqa", "okvqa"),
        ("visual_genome", "visualgenome"),
        ("Visual Genome 1.4", "visualgenome"),
        ("sugar_crepe", "sugarcrepe"),
        ("scenes-train:1000000", "scenes"),
        ("scenes/coco", "scenes"),
        ("laion-2b", "laion"),
        ("", ""),
    ],
)
def test_names_lose_split_version_and_spelling(name: str, expected: str) -> None:
    assert family(name) == expected


@pytest.mark.parametrize(
    ("trained_on", "dataset", "level"),
    [
        (("coco",), "coco", DATASET),
        (("laion-2b", "coco:karpathy-train"), "vqa", IMAGES),
        (("vqa",), "coco", IMAGES),
        (("visual_genome",), "gqa", IMAGES),
        (("visual_genome",), "vqa", IMAGES),
        (("coco", "vqa"), "vqa", DATASET),
        (("flickr8k",), "flickr30k", IMAGES),
        (("flickr30k",), "coco", ""),
        (("coco",), "scenes/coco", ""),
        (("scenes",), "scenes/vqa", DATASET),
        (("coco",), "nocaps", ""),
        (("wit-400m",), "coco", ""),
        ((), "coco", ""),
    ],
)
def test_a_dataset_is_seen_itself_or_by_its_images(trained_on: tuple[str, ...], dataset: str, level: str) -> None:
    found = exposure(trained_on, dataset)
    assert found.level == level
    assert bool(found.through) == bool(level) and set(found.through) <= set(trained_on)


def test_the_table_is_consistent() -> None:
    names = [name for members in COLLECTIONS.values() for name in members]
    assert len(set(names)) == len(names), "in one collection only"
    assert all(family(name) == name for name in names)
    assert set(ALIASES.values()) <= set(names)
