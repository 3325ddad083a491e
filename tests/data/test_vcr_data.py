"""VCR in its official layout: rendering of token lists, regions, and what can be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support import layouts
from vlbench.data.source import LocalFolder
from vlbench.data.vcr import load_vcr, object_labels, render
from vlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_token_lists_become_text_that_points_to_regions(tmp_path: Path) -> None:
    layouts.vcr(tmp_path)
    dataset = load_vcr(LocalFolder(tmp_path))
    assert (dataset.name, dataset.split, dataset.partial) == ("vcr", "val", True)
    assert dataset.counts == {"questions": 2, "images": 1}
    item = dataset.samples[0]
    assert item.question == "Does [person1]n't like [person2] and [bottle1], or does [person2]'s cat?"
    assert item.answers == ("Yes.", "No, [person2] does.", "[person1] is sad.", "Maybe.")
    assert item.rationales[2] == "[bottle1] smiles."
    assert (item.annot_id, item.image_id, item.answer_label, item.rationale_label) == ("val-0", "val-0", 1, 3)


def test_all_objects_are_regions_in_order(tmp_path: Path) -> None:
    layouts.vcr(tmp_path)
    first, second = load_vcr(LocalFolder(tmp_path)).samples
    regions = first.image.regions
    assert [r.label for r in regions] == ["person1", "person2", "bottle1"]
    assert regions[0].box == (0.5, 1.0, 4.0, 5.0)
    assert regions[1].polygons == (((3, 1), (4, 1), (4, 2)), ((5, 1), (6, 1), (6, 2)))
    assert regions[2].polygons == ()
    assert first.image is second.image and first.image.load().size == (8, 6)


def test_labels_count_by_class() -> None:
    assert object_labels(["person", "car", "person", "wine glass"]) == ("person1", "car1", "person2", "wineglass1")


def test_quotes_and_numbers_keep_their_blanks() -> None:
    assert render(["It", "'s", "3", ".", "5", "'", "x", "."], [], "x") == "It's 3. 5 ' x."


def test_limit_reads_only_the_metadata_that_it_needs(tmp_path: Path) -> None:
    items = layouts.vcr_items()
    items[1] |= {"img_fn": "other.jpg", "metadata_fn": "other.json"}
    paths = layouts.vcr(tmp_path)
    layouts.write(paths[0], layouts.lines(items))
    assert load_vcr(LocalFolder(tmp_path), None, 1).counts == {"questions": 1, "images": 1}
    with pytest.raises(DataError, match=r"other\.json is missing"):
        load_vcr(LocalFolder(tmp_path))


def test_the_test_split_has_no_labels(tmp_path: Path) -> None:
    paths = layouts.vcr(tmp_path)
    items = layouts.vcr_items()
    for item in items:
        del item["answer_label"], item["rationale_label"]
    layouts.write(tmp_path / "test.jsonl", layouts.lines(items))
    assert [s.answer_label for s in load_vcr(LocalFolder(tmp_path), "test").samples] == [-1, -1]
    layouts.write(paths[0], layouts.lines(items))
    with pytest.raises(DataError, match=r"record \[0\] has no 'answer_label'"):
        load_vcr(LocalFolder(tmp_path))


BREAKS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "points nowhere": (
        lambda i: i["question"].append([3]),
        "[1].question: [3] points to no object; there are 3",
    ),
    "points to minus one": (
        lambda i: i["answer_choices"][2].append([-1]),
        "_choices[2]: [-1] points to no object",
    ),
    "empty tag": (lambda i: i["question"].append([]), "points to no object"),
    "a number as token": (lambda i: i["question"].append(1), "record [1].question: 1 points to no object"),
    "label too high": (lambda i: i.update(answer_label=4), "answer_label is 4; there are 4 choices"),
    "label a string": (lambda i: i.update(rationale_label="1"), "rationale_label is a string, not an integer"),
    "one choice": (lambda i: i.update(answer_choices=[["x"]]), "answer_choices has 1 choices"),
    "choice a string": (lambda i: i["answer_choices"].insert(0, "x"), "answer_choices[0] is a string, not a list"),
    "no question": (lambda i: i.pop("question"), "record [1] has no 'question'"),
    "objects differ": (lambda i: i.update(objects=["person", "dog", "bottle"]), "objects differs"),
    "id twice": (lambda i: i.update(annot_id="val-0"), "duplicate annotation ids val-0"),
}


@pytest.mark.parametrize("case", BREAKS)
def test_a_broken_item_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    paths = layouts.vcr(tmp_path)
    items = layouts.vcr_items()
    change, message = BREAKS[case]
    change(items[1])
    layouts.write(paths[0], layouts.lines(items))
    with pytest.raises(DataError) as error:
        load_vcr(LocalFolder(tmp_path))
    text = str(error.value)
    assert message in text and str(paths[0]) in text and "\n" not in text


def test_a_broken_line_is_named_with_its_number(tmp_path: Path) -> None:
    paths = layouts.vcr(tmp_path)
    layouts.write(paths[0], layouts.lines(layouts.vcr_items()) + '{"movie": \n')
    with pytest.raises(DataError, match=r"val\.jsonl line 3 is not valid JSON"):
        load_vcr(LocalFolder(tmp_path))
    layouts.write(paths[0], "")
    with pytest.raises(DataError, match=r"val\.jsonl has no records"):
        load_vcr(LocalFolder(tmp_path))


METADATA: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no boxes": (lambda m: m.pop("boxes"), "has no 'boxes'"),
    "too few boxes": (lambda m: m["boxes"].pop(), "has 2 boxes and 3 segms for 3 objects"),
    "too few segms": (lambda m: m["segms"].pop(), "has 3 boxes and 2 segms for 3 objects"),
    "short box": (lambda m: m["boxes"].__setitem__(0, [1, 2, 3]), "is not [x1, y1, x2, y2, score]"),
    "box of words": (lambda m: m["boxes"].__setitem__(0, ["a", 1, 2, 3]), "is not [x1, y1, x2, y2, score]"),
    "flat outline": (lambda m: m["segms"].__setitem__(0, [[1, 2, 3, 4]]), "is not [x1, y1, x2, y2, score]"),
}


@pytest.mark.parametrize("case", METADATA)
def test_broken_metadata_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    paths = layouts.vcr(tmp_path)
    metadata = layouts.vcr_metadata()
    change, message = METADATA[case]
    change(metadata)
    layouts.write(paths[1], metadata)
    with pytest.raises(DataError) as error:
        load_vcr(LocalFolder(tmp_path))
    text = str(error.value)
    assert message in text and str(paths[1]) in text and "\n" not in text
