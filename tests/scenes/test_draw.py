from __future__ import annotations

import itertools
from collections import Counter

import pytest

from vlbench.data.scenes import COLORS, REGIONS, SHAPES, SIDE, SIZES, SPLITS, Scene, scene, split
from vlbench.data.scenes.draw import SPLITS as SIZES_OF_SPLITS
from vlbench.data.scenes.rng import Rng, mix64
from vlbench.data.scenes.scene import CLEAR, relation
from vlbench.errors import UsageError

BOUNDED = ("val", "test", "flickr-test")
TRAIN = list(split("train", 5000))
EVALUATION = {name: list(split(name)) for name in BOUNDED}
EVERY = [*TRAIN, *itertools.chain(*EVALUATION.values())]


def test_random_stream_is_splitmix64() -> None:
    """The first outputs of the reference implementation for the seed 1234567."""
    state, outputs = 1234567, []
    for _ in range(3):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        outputs.append(mix64(state))
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_random_stream_depends_on_every_key() -> None:
    streams = {tuple(Rng(*keys).bits() for _ in range(2)) for keys in ((0, 0), (0, 1), (1, 0), (1,), (0,), (0, 0, 0))}
    assert len(streams) == 6


def test_sample_has_no_repeats_and_reaches_every_order() -> None:
    seen = {tuple(Rng(7, k).sample((1, 2, 3), 3)) for k in range(200)}
    assert seen == set(itertools.permutations((1, 2, 3)))


def test_a_scene_is_a_pure_function_of_split_and_index() -> None:
    assert [scene("train", k) for k in (5, 3, 5)] == [TRAIN[5], TRAIN[3], TRAIN[5]]
    assert [scene("test", k) for k in (499, 0)] == [EVALUATION["test"][499], EVALUATION["test"][0]]


def test_split_starts_where_it_is_told() -> None:
    assert list(split("train", 3, start=7)) == TRAIN[7:10]
    assert list(split("val", 10, start=495)) == EVALUATION["val"][495:]
    assert list(itertools.islice(split("train"), 4)) == TRAIN[:4]
    assert [len(list(split(name))) for name in BOUNDED] == [SPLITS[name] for name in BOUNDED] == [500] * 3
    assert SIZES_OF_SPLITS is SPLITS


@pytest.mark.parametrize(("name", "index"), [("test", 500), ("val", -1), ("train", -1), ("trian", 0)])
def test_what_is_not_there_is_refused(name: str, index: int) -> None:
    with pytest.raises(UsageError, match=name):
        scene(name, index)


def test_unknown_split_is_refused_by_the_iterator() -> None:
    with pytest.raises(UsageError, match="unknown split 'dev'"):
        split("dev")


def test_scene_ids_are_unique() -> None:
    assert len({s.scene_id for s in EVERY}) == len(EVERY)


def test_no_content_is_in_two_splits() -> None:
    contents = {name: {s.content for s in scenes} for name, scenes in {**EVALUATION, "train": TRAIN}.items()}
    for first, second in itertools.combinations(contents.values(), 2):
        assert not first & second


@pytest.mark.parametrize("name", BOUNDED)
def test_colours_and_shapes_tell_evaluation_scenes_apart(name: str) -> None:
    names = {frozenset(o.name for o in s.objects) for s in EVALUATION[name]}
    assert len(names) == 500


def test_objects_lie_apart_inside_the_picture() -> None:
    for s in EVERY:
        boxes = [o.box for o in s.objects]
        assert all(0 <= x1 < x2 <= SIDE and 0 <= y1 < y2 <= SIDE for x1, y1, x2, y2 in boxes)
        for a, b in itertools.combinations(boxes, 2):
            assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]


def test_region_words_are_beyond_doubt() -> None:
    """A centre is at least eleven pixels away from the lines between regions."""
    for s in EVERY:
        for o in s.objects:
            row, column = REGIONS.index(o.region) // 3, REGIONS.index(o.region) % 3
            assert (o.x * 3 // SIDE, o.y * 3 // SIDE) == (column, row)
            assert min(abs(v - SIDE * k / 3) for v in (o.x, o.y) for k in (1, 2)) >= 11


def test_objects_of_a_scene_differ_in_name_and_region_and_are_related() -> None:
    for s in EVERY:
        assert 1 <= len(s.objects) <= 4
        assert len({o.name for o in s.objects}) == len({o.region for o in s.objects}) == len(s.objects)
        for a, b in itertools.combinations(s.objects, 2):
            assert relation(a, b, "x") or relation(a, b, "y")


def test_relation_needs_a_clear_margin() -> None:
    pairs = [(a, b) for s in TRAIN[:500] for a, b in itertools.permutations(s.objects, 2)]
    for a, b in pairs:
        assert relation(a, b, "x") == ("left" if b.x - a.x >= CLEAR else "right" if a.x - b.x >= CLEAR else None)
        assert relation(a, b, "y") == ("above" if b.y - a.y >= CLEAR else "below" if a.y - b.y >= CLEAR else None)


def test_attributes_are_evenly_spread() -> None:
    objects = [o for s in TRAIN for o in s.objects]
    for values, words in (("color", COLORS), ("shape", SHAPES), ("size", SIZES), ("region", REGIONS)):
        counts = Counter(getattr(o, values) for o in objects)
        assert set(counts) == set(words)
        assert max(counts.values()) < 1.15 * min(counts.values())


def test_single_objects_are_rare_and_all_counts_occur() -> None:
    for scenes in (TRAIN, *EVALUATION.values()):
        counts = Counter(len(s.objects) for s in scenes)
        assert set(counts) == {1, 2, 3, 4}
        assert counts[1] < 0.08 * len(scenes)


def test_content_does_not_depend_on_the_order_of_objects() -> None:
    first = EVALUATION["test"][0]
    turned = Scene(first.scene_id, first.split, first.objects[::-1], first.background)
    assert turned.content == first.content
    assert turned.reading_order == first.reading_order
