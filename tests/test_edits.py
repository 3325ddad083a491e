"""Edits of pictures: what they draw, and that keys keep edited pictures apart."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from vlbench.data.source import LocalFolder
from vlbench.edits import PALETTE, Crop, Marks, colour_names
from vlbench.errors import DataError
from vlbench.types import EmbedImage, ImageRef, Region

if TYPE_CHECKING:
    from pathlib import Path

SQUARE = Region("person1", (40.0, 40.0, 80.0, 80.0), (((50.0, 50.0), (70.0, 50.0), (60.0, 70.0)),))
BARE = Region("dog1", (90.0, 60.0, 110.0, 90.0))


@pytest.fixture
def image(tmp_path: Path) -> ImageRef:
    pixels = np.arange(100 * 120 * 3, dtype=np.uint32).reshape(100, 120, 3) % 97
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "a.png")
    return ImageRef(LocalFolder(tmp_path), "a.png")


def edited(image: ImageRef, *edits: Crop | Marks) -> ImageRef:
    return ImageRef(image.source, image.name, edits=edits)


def pixels(image: ImageRef) -> np.ndarray:
    return np.asarray(image.load())


def test_a_crop_is_those_very_pixels(image: ImageRef) -> None:
    assert (pixels(edited(image, Crop((10, 20, 50, 90)))) == pixels(image)[20:90, 10:50]).all()


def test_a_crop_ends_where_the_picture_does(image: ImageRef) -> None:
    assert edited(image, Crop((-5, 90, 20, 300))).load().size == (20, 10)
    with pytest.raises(DataError, match=r"a\.png has 120 x 100 pixels; the region \[120, 0, 130, 10\] lies outside"):
        edited(image, Crop((120, 0, 130, 10))).load()


def test_marks_follow_the_outline_or_the_box(image: ImageRef) -> None:
    before = pixels(image)
    outline, box = (pixels(edited(image, Marks((SQUARE,), outlines))) for outlines in (True, False))
    assert tuple(outline[50, 60]) == PALETTE["red"] and tuple(box[60, 40]) == PALETTE["red"]
    # The box's left edge is untouched where the outline is drawn, and the middle of both is.
    assert (outline[60, 40] == before[60, 40]).all() and (box[60, 60] == before[60, 60]).all()
    assert image.load().tobytes() == before.tobytes()


def test_a_region_without_an_outline_gets_its_box_and_each_its_own_colour(image: ImageRef) -> None:
    drawn = pixels(edited(image, Marks((SQUARE, BARE))))
    assert tuple(drawn[50, 60]) == PALETTE["red"] and tuple(drawn[75, 90]) == PALETTE["blue"]


def test_the_label_stands_beside_its_box_and_inside_the_picture(image: ImageRef) -> None:
    """Above the box; below it at the top edge; in its corner where it fills the picture."""
    red = np.array(PALETTE["red"])

    def plate_rows(*box: float) -> np.ndarray:
        drawn = pixels(edited(image, Marks((Region("x", (box[0], box[1], box[2], box[3])),))))
        return np.flatnonzero((drawn[:, int(box[0]) + 4] == red).all(axis=1))

    assert plate_rows(40, 40, 80, 80).min() < 36
    assert plate_rows(40, 2, 80, 60).max() > 64
    assert plate_rows(0, 0, 119, 99).size
    assert edited(image, Marks((Region("farout", (500.0, 500.0, 600.0, 600.0)),))).load().size == (120, 100)


def test_keys_tell_pictures_apart(image: ImageRef) -> None:
    variants = [
        image,
        ImageRef(image.source, image.name, (SQUARE,)),
        edited(image, Crop((0, 0, 10, 10))),
        edited(image, Crop((0, 0, 10, 11))),
        edited(image, Marks((SQUARE,))),
        edited(image, Marks((SQUARE,), outlines=False)),
        edited(image, Marks((SQUARE, BARE))),
        edited(image, Marks((BARE, SQUARE))),
        edited(image, Crop((0, 0, 10, 10)), Marks((SQUARE,))),
        edited(image, Marks((SQUARE,)), Crop((0, 0, 10, 10))),
    ]
    assert len({variant.key for variant in variants}) == len(variants)
    assert len({EmbedImage(variant).key for variant in variants}) == len(variants)
    assert edited(image, Marks((SQUARE,))).key == edited(image, Marks((SQUARE,))).key
    gone = ImageRef(image.source, "gone.png")
    assert gone.key != edited(gone, Crop((0, 0, 10, 10))).key


def test_an_edited_image_travels_to_other_processes(image: ImageRef) -> None:
    marked = edited(image, Marks((SQUARE,)))
    copy = pickle.loads(pickle.dumps(marked))
    assert copy.key == marked.key and (pixels(copy) == pixels(marked)).all()


def test_colours_come_again_after_the_last() -> None:
    names = colour_names(len(PALETTE) + 1)
    assert names[:-1] == list(PALETTE) and names[-1] == names[0]
