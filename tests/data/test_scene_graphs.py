"""Probes from scene graphs: which statements are made, which are not, and what can be wrong in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support import genome
from tests.support.layouts import write
from vlbench.data.scene_graph_words import ATTRIBUTES, CLASS_OF, ONE_WAY, OPPOSITES, sides
from vlbench.data.scene_graphs import load_attribute_probes, load_relation_probes
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    genome.genome(tmp_path)
    return LocalFolder(tmp_path)


def test_attributes_of_two_objects_are_changed_over(folder: LocalFolder) -> None:
    """The second image gives none: "the blue cup and the red plate" is half true, for one cup is blue."""
    dataset = load_attribute_probes(folder)
    assert dataset.counts == {"images": 2, "probes": 3}
    assert [(s.probe_id, s.true, s.false, s.kind) for s in dataset.samples] == [
        ("1/1-2/colour", "the white wall and the brown tree", "the brown wall and the white tree", "colour"),
        ("1/1-5/colour", "the white wall and the grey shoes", "the grey wall and the white shoes", "colour"),
        ("1/2-5/colour", "the brown tree and the grey shoes", "the grey tree and the brown shoes", "colour"),
    ]


def test_relations_are_turned_round_and_predicates_replaced(folder: LocalFolder) -> None:
    """Not "next to", which holds both ways; not the second "on a", which says the same; not one of two cups."""
    dataset = load_relation_probes(folder)
    assert [(s.probe_id, s.true, s.false, s.about) for s in dataset.samples] == [
        ("1/30/swap", "the tree on the sidewalk", "the sidewalk on the tree", "on"),
        ("1/30/replace", "the tree on the sidewalk", "the tree under the sidewalk", "on"),
        ("1/31/swap", "the man wearing the shoes", "the shoes wearing the man", "wearing"),
    ]
    assert {s.probe_id for s in load_relation_probes(folder, per_image=2).samples} < {
        s.probe_id for s in dataset.samples
    }


LEFT_OUT: dict[str, tuple[Callable[[dict[str, Any]], object], int, int]] = {
    "nothing changed": (lambda g: None, 3, 3),
    "two colours of one object": (lambda g: g["objects"][0]["attributes"].append("red"), 1, 3),
    "the same colour in other words": (lambda g: g["objects"][4].update(attributes=["Silver", "gray"]), 3, 3),
    "colours of one class": (lambda g: g["objects"][1].update(attributes=["light grey"]), 2, 3),
    "a colour in the name": (lambda g: g["objects"][1].update(names=["white tree"]), 1, 3),
    "a sentence as name": (lambda g: g["objects"][1].update(names=["tree is brown."]), 1, 1),
    "no name": (lambda g: g["objects"][1].update(names=[]), 1, 1),
    "a speck": (lambda g: g["objects"][1].update(w=15), 1, 1),
    "outside": (lambda g: g["objects"][1].update(x=60), 1, 1),
    "a synset in common": (lambda g: g["objects"][1].update(synsets=["wall.n.01"]), 2, 3),
    "a second tree of unknown colour": (lambda g: g["objects"][2].update(names=["tree"]), 1, 1),
    "the opposite is said too": (
        lambda g: g["relationships"][2].update(subject_id=3, object_id=2, predicate="ON"),
        3,
        1,
    ),
    "the replacement is said too": (lambda g: g["relationships"][2].update(object_id=3, predicate="under"), 3, 1),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_may_be_true_is_not_called_false(folder: LocalFolder, case: str) -> None:
    change, attributes, relations = LEFT_OUT[case]
    document = genome.scene_graphs()
    change(document[0])
    write(folder.path / "scene_graphs.json", document)
    assert load_attribute_probes(folder).counts["probes"] == attributes
    assert load_relation_probes(folder).counts["probes"] == relations


BREAKS: dict[str, tuple[Callable[[Any], object], str]] = {
    "no objects": (lambda d: d[0].pop("objects"), "record [0] has no 'objects'"),
    "no names": (lambda d: d[0]["objects"][0].pop("names"), "record [0].objects[0] has no 'names'"),
    "names a string": (lambda d: d[0]["objects"][0].update(names="wall"), "objects[0].names is a string, not a list"),
    "an attribute null": (
        lambda d: d[0]["objects"][0]["attributes"].append(None),
        "objects[0].attributes is not a list of strings",
    ),
    "box missing": (lambda d: d[0]["objects"][2].pop("h"), "record [0].objects[2] has no 'h'"),
    "object twice": (lambda d: d[0]["objects"][2].update(object_id=1), "duplicate object ids 1"),
    "object not listed": (
        lambda d: d[0]["relationships"][1].update(object_id=99),
        "record [0].relationships[1] is of object 99, which the image does not list",
    ),
    "predicate a number": (
        lambda d: d[0]["relationships"][1].update(predicate=3),
        "relationships[1].predicate is an integer, not a string",
    ),
    "unlisted image": (lambda d: d[2].update(image_id=9), "images that image_data.json does not list: 9"),
    "image twice": (lambda d: d[2].update(image_id=1), "duplicate image ids 1"),
}


@pytest.mark.parametrize("case", BREAKS)
def test_a_broken_graph_is_named_in_one_line(folder: LocalFolder, case: str) -> None:
    change, message = BREAKS[case]
    document = genome.scene_graphs()
    change(document)
    write(folder.path / "scene_graphs.json", document)
    for load in (load_attribute_probes, load_relation_probes):
        with pytest.raises(DataError) as error:
            load(folder)
        text = str(error.value)
        assert message in text and str(folder.path / "scene_graphs.json") in text and "\n" not in text


def test_the_tables_are_consistent() -> None:
    words = [word for classes in ATTRIBUTES.values() for members in classes for word in members]
    assert len(words) == len(set(words)) == len(CLASS_OF)
    assert set(OPPOSITES) <= ONE_WAY
    assert not ONE_WAY & {"next to", "near", "beside", "with", "by", "and", "touching", "against"}
    assert all(OPPOSITES[word] in sides(word)[1] and word in sides(word)[0] for word in OPPOSITES)
    assert sides("under")[1] == sides("on")[0] and sides("wearing") == (frozenset({"wearing"}), frozenset())
