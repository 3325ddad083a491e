from __future__ import annotations

from typing import TYPE_CHECKING

from vlbench.data.scenes import parse_caption, regions, relationships, split

if TYPE_CHECKING:
    from collections.abc import Callable

    from vlbench.data.scenes import SceneObject

SCENES = list(split("train", 300))


def test_relationships_are_all_and_only_the_clear_ones() -> None:
    gaps: dict[str, Callable[[SceneObject, SceneObject], int]] = {
        "to the left of": lambda a, b: b.x - a.x,
        "to the right of": lambda a, b: a.x - b.x,
        "above": lambda a, b: b.y - a.y,
        "below": lambda a, b: a.y - b.y,
    }
    for scene in SCENES:
        n = range(len(scene.objects))
        expected = {
            (i, word, j)
            for i in n
            for j in n
            for word, gap in gaps.items()
            if i != j and gap(scene.objects[i], scene.objects[j]) >= 28
        }
        found = [(r.subject, r.predicate, r.object) for r in relationships(scene)]
        assert set(found) == expected
        assert len(found) == len(expected)


def test_region_phrases_fit_their_boxes() -> None:
    for scene in SCENES:
        found = regions(scene)
        assert len(found) == 2 * len(scene.objects) - 1
        for region in found:
            mentions = parse_caption(region.phrase)
            named = [o for m in mentions for o in scene.objects if (o.color, o.shape) == (m.color, m.shape)]
            assert len(named) == len(mentions) in (1, 2)
            boxes = [o.box for o in named]
            assert (region.x, region.y) == (min(b[0] for b in boxes), min(b[1] for b in boxes))
            assert region.x + region.width == max(b[2] for b in boxes)
            assert region.y + region.height == max(b[3] for b in boxes)
