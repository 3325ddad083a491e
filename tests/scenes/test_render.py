from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from vlbench.data.scenes import COLORS, SHAPES, SIDE, SIZES, Background, Scene, SceneObject, render, split
from vlbench.data.scenes.backgrounds import KINDS, TINTS, background_picture
from vlbench.data.scenes.draw import _KINDS, _TINTS, _VARIANTS
from vlbench.data.scenes.render import POLYGONS, RGB, polygon

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCENES = list(split("train", 300))
PLAIN = Background(0, 0, 0)


def single(shape: str, color: str, size: str, x: int = 64, y: int = 64) -> Scene:
    return Scene(0, "train", (SceneObject(shape, color, size, x, y),), PLAIN)


def drawn(scene: Scene) -> NDArray[np.bool_]:
    """Where the picture differs from its background."""
    changed: NDArray[np.bool_] = np.any(render(scene) != background_picture(scene.background), axis=2)
    return changed


def halved(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    small: NDArray[np.float64] = np.mean(picture.reshape(64, 2, 64, 2, 3), axis=(1, 3), dtype=np.float64)
    return small


def test_pictures_have_the_stated_form() -> None:
    picture = render(SCENES[0])
    assert picture.shape == (SIDE, SIDE, 3)
    assert picture.dtype == np.uint8
    picture[:] = 0  # a picture is the caller's own
    assert render(SCENES[0]).any()


def test_only_boxes_are_drawn_on_and_every_middle_has_its_colour() -> None:
    for scene in SCENES:
        changed = drawn(scene)
        for o in scene.objects:
            x1, y1, x2, y2 = o.box
            assert changed[y1:y2, x1:x2].mean() > 0.25
            changed[y1:y2, x1:x2] = False
            assert tuple(render(scene)[o.y, o.x]) == RGB[o.color]
        assert not changed.any()


def test_every_object_shows_at_64_pixels() -> None:
    for scene in SCENES:
        small = halved(render(scene))
        for o in scene.objects:
            assert np.abs(small[o.y // 2, o.x // 2] - RGB[o.color]).max() < 1


def test_shapes_fill_their_box_and_sizes_differ() -> None:
    for shape in SHAPES:
        areas = []
        for size in SIZES:
            scene = single(shape, "blue", size)
            changed = drawn(scene)
            rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
            assert max(np.ptp(rows), np.ptp(columns)) + 1 >= 1.7 * scene.objects[0].radius
            areas.append(changed.sum())
        assert areas[1] > 2 * areas[0]


def test_shapes_differ_clearly_at_64_pixels() -> None:
    for size, least in (("small", 20), ("large", 50)):
        masks = [np.abs(halved(render(single(s, "black", size))) - TINTS[0]).max(axis=2) > 100 for s in SHAPES]
        for first, second in itertools.combinations(masks, 2):
            assert (first ^ second).sum() >= least


def test_colours_differ_from_each_other_and_from_every_background() -> None:
    grounds = set()
    for kind, tint, variant in itertools.product(range(_KINDS), range(_TINTS), range(_VARIANTS)):
        picture = background_picture(Background(kind, tint, variant))
        grounds |= {tuple(pixel) for pixel in (*picture[:, 0].tolist(), *picture[64].tolist())}
    for a, b in itertools.combinations(COLORS, 2):
        assert np.linalg.norm(np.subtract(RGB[a], RGB[b])) > 80
    for color in COLORS:
        nearest = min(np.linalg.norm(np.subtract(RGB[color], ground)) for ground in grounds)
        assert nearest > 60, color


def test_every_kind_and_tint_of_background_is_used() -> None:
    assert (len(KINDS), len(TINTS)) == (_KINDS, _TINTS)
    used = {(s.background.kind, s.background.tint) for s in split("train", 2000)}
    assert len(used) == _KINDS * _TINTS


def test_backgrounds_are_shared_and_cannot_be_drawn_on() -> None:
    assert not background_picture(PLAIN).flags.writeable


def test_outlines_lie_in_the_box_and_cover_what_is_drawn() -> None:
    from PIL import Image, ImageDraw

    for shape in POLYGONS:
        for size in SIZES:
            scene = single(shape, "red", size, 50, 70)
            o = scene.objects[0]
            corners = polygon(shape, o.x, o.y, o.radius)
            x1, y1, x2, y2 = o.box
            assert all(x1 <= x <= x2 and y1 <= y <= y2 for x, y in corners)
            canvas = Image.new("1", (SIDE, SIDE))
            ImageDraw.Draw(canvas).polygon([(x, y) for x, y in corners], fill=1)
            outline, changed = np.array(canvas), drawn(scene)
            assert (outline & changed).sum() > 0.8 * (outline | changed).sum()
