"""Winoground and SugarCrepe: official layouts read, broken ones refused in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support import compositional, layouts
from vlbench.data.source import LocalFolder
from vlbench.data.sugarcrepe import OFFICIAL_SIZES, load_references, load_sugarcrepe
from vlbench.data.winoground import load_winoground
from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_winoground_examples_are_read_with_their_images(tmp_path: Path) -> None:
    compositional.winoground(tmp_path)
    dataset = load_winoground(LocalFolder(tmp_path))
    assert (dataset.name, dataset.split, dataset.counts, dataset.partial) == (
        "winoground",
        "test",
        {"examples": 3},
        True,
    )
    first = dataset.samples[0]
    assert first.captions == ("a red thing left of nothing", "nothing left of a green thing")
    assert [image.name for image in first.images] == ["images/ex_0_img_0.png", "images/ex_0_img_1.png"]
    assert all(image.source.exists(image.name) for sample in dataset.samples for image in sample.images)
    assert (first.secondary_tag, first.num_main_preds, first.collapsed_tag) == ("", 1, "Object")
    assert len(load_winoground(LocalFolder(tmp_path), limit=2).samples) == 2


def test_winoground_may_lie_in_data_with_other_suffixes(tmp_path: Path) -> None:
    compositional.winoground(tmp_path / "data")
    path = tmp_path / "data" / "images" / "ex_2_img_1.png"
    path.rename(path.with_suffix(".jpg"))
    dataset = load_winoground(LocalFolder(tmp_path))
    assert dataset.samples[0].images[1].name == "data/images/ex_0_img_1.png"
    assert dataset.samples[2].images[1].name == "data/images/ex_2_img_1.jpg"


WINOGROUND: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no caption": (lambda e: e.pop("caption_1"), "record [1] has no 'caption_1'"),
    "caption null": (lambda e: e.update(caption_0=None), "record [1].caption_0 is null, not a string"),
    "captions equal": (lambda e: e.update(caption_1=e["caption_0"]), "record [1].caption_1 equals caption_0"),
    "images equal": (lambda e: e.update(image_1=e["image_0"]), "record [1].image_1 equals image_0"),
    "image a number": (lambda e: e.update(image_0=3), "record [1].image_0 is an integer, not a string"),
    "no tag": (lambda e: e.pop("collapsed_tag"), "record [1] has no 'collapsed_tag'"),
    "preds a string": (lambda e: e.update(num_main_preds="2"), "num_main_preds is a string, not an integer"),
    "id twice": (lambda e: e.update(id=0), "duplicate example ids 0"),
}


@pytest.mark.parametrize("case", WINOGROUND)
def test_a_broken_example_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    path = compositional.winoground(tmp_path)
    examples = compositional.winoground_examples()
    change, message = WINOGROUND[case]
    change(examples[1])
    layouts.write(path, layouts.lines(examples))
    with pytest.raises(DataError) as error:
        load_winoground(LocalFolder(tmp_path))
    assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "has no records"), ('{"id": 0\n', "line 1 is not valid JSON"), ("[1]\n", "is a list, not an object")],
)
def test_a_file_that_is_not_the_examples(tmp_path: Path, text: str, message: str) -> None:
    layouts.write(tmp_path / "examples.jsonl", text)
    with pytest.raises(DataError, match=message):
        load_winoground(LocalFolder(tmp_path))


def test_unknown_splits_and_limits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no winoground annotations for split test .*examples\.jsonl"):
        load_winoground(LocalFolder(tmp_path))
    compositional.winoground(tmp_path / "w")
    compositional.sugarcrepe(tmp_path / "s")
    for load, name in ((load_winoground, "w"), (load_sugarcrepe, "s")):
        with pytest.raises(UsageError, match="unknown split 'val' of .*; it has: test"):
            load(LocalFolder(tmp_path / name), "val")
        with pytest.raises(UsageError, match="leaves no samples"):
            load(LocalFolder(tmp_path / name), limit=0)
    with pytest.raises(UsageError, match="unknown split 'val' of sugarcrepe"):
        load_references(tmp_path / "s", "val")


def test_sugarcrepe_items_come_round_robin_with_their_images(tmp_path: Path) -> None:
    compositional.sugarcrepe(tmp_path / "sugarcrepe", tmp_path / "coco")
    dataset = load_sugarcrepe(LocalFolder(tmp_path / "sugarcrepe"), coco=LocalFolder(tmp_path / "coco"))
    assert [s.item_id for s in dataset.samples] == [
        *(f"{category}/{'107' if category == 'swap_obj' else '0'}" for category in OFFICIAL_SIZES),
        "replace_obj/2",
        "swap_obj/109",
    ]
    assert dataset.counts == {"items": 9, "images": 2} and dataset.official_counts == {"items": 7511}
    assert {s.category for s in load_sugarcrepe(LocalFolder(tmp_path / "sugarcrepe"), limit=7).samples} == set(
        OFFICIAL_SIZES
    )
    sample = dataset.samples[0]
    assert (sample.image_id, sample.caption, sample.negative_caption) == ("391895", "A red moped.", "A green moped.")
    assert sample.image.name == "val2017/000000391895.jpg"
    assert all(s.image.source.exists(s.image.name) for s in dataset.samples)


def test_sugarcrepe_may_lie_in_data_with_its_own_images(tmp_path: Path) -> None:
    compositional.sugarcrepe(tmp_path / "data", tmp_path / "images")
    dataset = load_sugarcrepe(LocalFolder(tmp_path))
    assert {s.image.name for s in dataset.samples} == {f"images/val2017/{n:012d}.jpg" for n in (391895, 522418)}


SUGARCREPE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no caption": (lambda d: d["107"].pop("caption"), "item 107 has no 'caption'"),
    "caption null": (lambda d: d["109"].update(caption=None), "item 109.caption is null, not a string"),
    "empty": (lambda d: d["107"].update(negative_caption=""), "item 107.negative_caption is empty"),
    "equal": (lambda d: d["109"].update(negative_caption="Both."), "item 109.negative_caption equals the caption"),
    "no record": (lambda d: d.update({"110": 3}), "item 110 is an integer, not an object"),
    "odd key": (lambda d: d.update(x={}), "'x' is not the number of an item"),
    "nothing": (lambda d: d.clear(), "has no items"),
}


@pytest.mark.parametrize("case", SUGARCREPE)
def test_a_broken_item_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    path = compositional.sugarcrepe(tmp_path)["swap_obj"]
    document = compositional.sugarcrepe_document("swap_obj")
    change, message = SUGARCREPE[case]
    change(document)
    layouts.write(path, document)
    with pytest.raises(DataError) as error:
        load_sugarcrepe(LocalFolder(tmp_path))
    assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_category_that_is_missing_or_no_object(tmp_path: Path) -> None:
    files = compositional.sugarcrepe(tmp_path)
    layouts.write(files["add_att"], [])
    with pytest.raises(DataError, match=r"add_att\.json: the document is a list, not an object"):
        load_sugarcrepe(LocalFolder(tmp_path))
    files["add_att"].unlink()
    with pytest.raises(DataError, match=r"file .*add_att\.json is missing"):
        load_sugarcrepe(LocalFolder(tmp_path))
    with pytest.raises(DataError, match="has no file for category add_att"):
        load_references(tmp_path)
    for name in ("a-add_att.json", "b-add_att.json"):
        layouts.write(tmp_path / name, compositional.sugarcrepe_document("add_att"))
    with pytest.raises(DataError, match=r"several files \(a-add_att\.json, b-add_att\.json\) for category add_att"):
        load_references(tmp_path)
    with pytest.raises(DataError, match=r"folder .*swap_att\.json cannot be read"):
        load_references(files["swap_att"])
