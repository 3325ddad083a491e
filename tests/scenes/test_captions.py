from __future__ import annotations

import re

import pytest

from vlbench.data.scenes import (
    COLORS,
    REGIONS,
    SHAPES,
    SIZES,
    AttributeCount,
    Background,
    Mention,
    Scene,
    SceneObject,
    caption_attributes,
    captions,
    parse_caption,
    split,
)
from vlbench.data.scenes.scene import CLEAR

SCENES = [*split("train", 1500), *split("test"), *split("flickr-test", 100)]
TWO = Scene(
    0,
    "train",
    (SceneObject("star", "orange", "large", 22, 22), SceneObject("circle", "red", "small", 64, 106)),
    Background(0, 0, 0),
)


def test_every_caption_names_every_object_truly() -> None:
    for scene in SCENES:
        for text in captions(scene):
            mentions = parse_caption(text)
            assert len(mentions) == len(scene.objects), text
            for mention, o in zip(mentions, scene.reading_order, strict=True):
                truth = (o.size, o.color, o.shape, o.region)
                assert all(said in (None, true) for said, true in zip(mention, truth, strict=True)), text
                assert (mention.color, mention.shape) == (o.color, o.shape), text


def test_relations_in_captions_hold() -> None:
    seen = set()
    for scene in SCENES:
        for text in captions(scene):
            match = re.match(r"(.*?) (to the left of|to the right of|above|below) ", text)
            if match is None:
                continue
            first, second = scene.reading_order[:2]
            dx, dy = second.x - first.x, second.y - first.y
            gap = {"to the left of": dx, "to the right of": -dx, "above": dy, "below": -dy}[match[2]]
            assert gap >= CLEAR, text
            seen.add(match[2])
    assert seen == {"to the left of", "to the right of", "above"}  # the first object is never the lower one


def test_the_five_captions_together_say_everything() -> None:
    for scene in SCENES:
        total = sum((caption_attributes(scene, text) for text in captions(scene)), AttributeCount())
        n = len(scene.objects)
        assert total.colors_right == total.colors_said == total.shapes_right == total.shapes_said == 5 * n
        assert total.sizes_right == total.sizes_said >= 2 * n
        assert total.positions_right == total.positions_said >= 2 * n
        assert total.objects_mentioned == total.objects_in_scene == 5 * n


def test_captions_are_good_english() -> None:
    words = set()
    for scene in SCENES:
        for text in captions(scene):
            assert re.fullmatch(r"(A|[A-Z][a-z]+)([,:]? [a-z]+)*\.", text), text
            for article, following in re.findall(r"\b(an?) (\w+)", text, re.IGNORECASE):
                assert (article.lower() == "an") == (following[0] in "aeiou"), text
            assert re.search(r"\b(in|at|on) the (?!picture)", text) is None or re.search(
                r"\bin the (top left|top right|bottom left|bottom right|center)\b|\bat the (top|bottom)\b|"
                r"\bon the (left|right)\b",
                text,
            )
            words |= set(re.findall(r"\w+", text.lower()))
    assert words >= {*COLORS, *SHAPES, *SIZES, *" ".join(REGIONS).split()}
    assert len(words) < 60


def test_number_words_count_the_objects() -> None:
    numbers = {"two": 2, "three": 3, "four": 4}
    for scene in SCENES:
        text = captions(scene)[4].lower()
        first = text.split()[0]
        assert numbers.get(first, 1) == len(scene.objects)
        assert (first == "just") == (len(scene.objects) == 1)


def test_templates_vary() -> None:
    starts = {(k, " ".join(text.split()[:2])) for scene in SCENES for k, text in enumerate(captions(scene))}
    assert {(0, "There is"), (1, "A picture"), (1, "A drawing"), (2, "The picture"), (2, "There is")} <= starts


def test_no_caption_of_the_test_split_fits_two_pictures() -> None:
    everything = [text for scene in split("test") for text in captions(scene)]
    assert len(set(everything)) == len(everything) == 2500


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("an orange star", [Mention(None, "orange", "star", None)]),
        ("A small red circle is in the top left of a star", [
            Mention("small", "red", "circle", "top left"), Mention(None, None, "star", None)]),
        ("red small  circle at\nthe bottom", [Mention("small", "red", "circle", "bottom")]),
        ("a red circle to the left of a cross", [
            Mention(None, "red", "circle", None), Mention(None, None, "cross", None)]),
        ("crosses and a dog", []),
        ("", []),
    ],
)  # fmt: skip
def test_free_text_is_parsed(text: str, mentions: list[Mention]) -> None:
    assert parse_caption(text) == mentions


def test_wrong_attributes_are_counted_wrong() -> None:
    count = caption_attributes(TWO, "A small blue circle at the top and a large orange star in the top left.")
    assert count == AttributeCount(1, 2, 2, 2, 2, 2, 1, 2, 2, 2)


def test_left_out_and_invented_objects_are_counted() -> None:
    assert caption_attributes(TWO, "a red circle") == AttributeCount(1, 1, 1, 1, 0, 0, 0, 0, 1, 2)
    assert caption_attributes(TWO, "nothing") == AttributeCount(objects_in_scene=2)
    twice = caption_attributes(TWO, "a red circle, a red circle and a red circle")
    assert (twice.colors_right, twice.colors_said, twice.shapes_right) == (1, 3, 1)


def test_a_caption_that_repeats_without_end_is_still_counted() -> None:
    count = caption_attributes(TWO, "a red circle and " * 40)
    assert (count.colors_right, count.colors_said, count.objects_mentioned) == (1, 40, 40)
