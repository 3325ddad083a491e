"""Image folders: splits, class names and their files; broken ones refused in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import layouts
from tests.support.compositional import image_folder
from vlbench.data.image_folder import load_image_folder, splits_here
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_folders_are_classes_and_their_names_are_read(tmp_path: Path) -> None:
    image_folder(tmp_path / "my colours", split="")
    dataset = load_image_folder(LocalFolder(tmp_path / "my colours"))
    assert (dataset.name, dataset.split, dataset.partial) == ("my-colours", "all", False)
    assert dataset.counts == {"images": 7, "classes": 3}
    assert dataset.classes == ("blue_sky", "green", "red") and dataset.class_names == ("blue sky", "green", "red")
    assert [(s.image_id, s.label) for s in dataset.samples[2:5]] == [
        ("red/ILSVRC2012_val_00000001.JPEG", 2),
        ("blue_sky/b.png", 0),
        ("green/b.png", 1),
    ]
    few = load_image_folder(LocalFolder(tmp_path / "my colours"), limit=3)
    assert few.samples == dataset.samples[:3] and {s.label for s in few.samples} == {0, 1, 2}
    assert few.class_names == dataset.class_names, "the classes to choose from do not shrink with the images"


def test_val_is_the_default_split(tmp_path: Path) -> None:
    for split, folders in (("val", ("blue", "red")), ("train", ("blue", "green", "red")), ("test", ("green", "red"))):
        image_folder(tmp_path, folders, split)
    folder = LocalFolder(tmp_path)
    assert load_image_folder(folder).split == "val"
    assert load_image_folder(folder).samples[0].image.name == "val/blue/ILSVRC2012_val_00000001.JPEG"
    assert load_image_folder(folder, "train").counts["classes"] == 3
    assert load_image_folder(folder, "test").classes == ("green", "red")
    with pytest.raises(UsageError, match="unknown split 'dev' of an image folder; it has: val, train, test, all"):
        load_image_folder(folder, "dev")


def test_which_splits_are_here(tmp_path: Path) -> None:
    """Folders of images that belong to another dataset are not taken for classes."""
    layouts.coco(tmp_path / "coco")
    assert splits_here(LocalFolder(tmp_path / "coco")) == splits_here(LocalFolder(tmp_path)) == ()
    image_folder(tmp_path / "mine", split="")
    assert splits_here(LocalFolder(tmp_path / "mine")) == ()
    (tmp_path / "mine" / "classnames.txt").write_text("a\nb\nc\n")
    image_folder(tmp_path / "imagenet", split="")
    assert [splits_here(LocalFolder(tmp_path / name)) for name in ("mine", "imagenet")] == [("all",), ("all",)]
    image_folder(tmp_path / "imagenet", split="train")
    assert splits_here(LocalFolder(tmp_path / "imagenet")) == ("train",)


WNIDS = ("n01440764", "n01443537", "n01484850")


def test_all_folders_of_imagenet_have_the_names_of_open_clip(tmp_path: Path) -> None:
    folders = sorted({*WNIDS, *(f"n{15000000 + n:08d}" for n in range(997))})
    for name in folders:
        layouts.picture(tmp_path / "val" / name / "x.JPEG")
    dataset = load_image_folder(LocalFolder(tmp_path))
    assert dataset.name == "imagenet" and dataset.class_names[:2] == ("tench", "goldfish")
    assert dataset.counts == {"images": 1000, "classes": 1000} and dataset.partial


NAMES = {
    "in order": ("classnames.txt", "tench\n\ngold fish\ngreat white shark\n"),
    "by folder": ("classnames.txt", "n01484850 great white shark\nn01443537 gold fish\nn01440764 tench\nn02 other\n"),
    "json list": ("classnames.json", '["tench", "gold fish", "great white shark"]'),
    "json object": (
        "classnames.json",
        '{"n01443537": "gold fish", "n01440764": "tench", "n01484850": "great white shark", "n02": "x"}',
    ),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_of_classes_in_every_form(tmp_path: Path, case: str) -> None:
    image_folder(tmp_path, WNIDS)
    layouts.write(tmp_path / NAMES[case][0], NAMES[case][1])
    assert load_image_folder(LocalFolder(tmp_path)).class_names == ("tench", "gold fish", "great white shark")


def test_names_are_in_the_fingerprint(tmp_path: Path) -> None:
    image_folder(tmp_path)
    before = load_image_folder(LocalFolder(tmp_path)).fingerprint
    layouts.write(tmp_path / "classnames.txt", "sky\nleaf\nblood\n")
    assert load_image_folder(LocalFolder(tmp_path)).fingerprint != before


BROKEN_NAMES = {
    "too few": ("classnames.txt", "sky\nleaf\n", "has 2 names for 3 class folders"),
    "too many": ("classnames.json", '["a", "b", "c", "d"]', "has 4 names for 3 class folders"),
    "one missing": ("classnames.json", '{"blue_sky": "sky", "red": "r"}', "classes without a name: green"),
    "empty name": ("classnames.json", '["a", " ", "c"]', "classes with an empty name: green"),
    "null": ("classnames.json", '["a", null, "c"]', "the name of a class is null, not a string"),
    "a number": ("classnames.json", "3", "the document is an integer, not a list"),
    "not JSON": ("classnames.json", "{", "is not valid JSON"),
    "empty": ("classnames.txt", "\n", "is empty"),
}


@pytest.mark.parametrize("case", BROKEN_NAMES)
def test_broken_names_are_one_line(tmp_path: Path, case: str) -> None:
    image_folder(tmp_path)
    file, text, message = BROKEN_NAMES[case]
    layouts.write(tmp_path / file, text)
    with pytest.raises(DataError) as error:
        load_image_folder(LocalFolder(tmp_path))
    assert message in str(error.value) and str(tmp_path / file) in str(error.value) and "\n" not in str(error.value)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    image_folder(tmp_path)
    (tmp_path / "classnames.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=r"classnames\.txt is not UTF-8 text \(byte 3\)"):
        load_image_folder(LocalFolder(tmp_path))


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 0 class folders; it needs 2 or more"):
        load_image_folder(LocalFolder(tmp_path))
    layouts.picture(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(DataError, match="val has 0 class folders"):
        load_image_folder(LocalFolder(tmp_path))
    image_folder(tmp_path)
    (tmp_path / "val" / "empty").mkdir()
    with pytest.raises(DataError, match="class folders without images: empty"):
        load_image_folder(LocalFolder(tmp_path))
    with pytest.raises(DataError, match="no folder train in"):
        load_image_folder(LocalFolder(tmp_path), "train")
    with pytest.raises(DataError, match=r"folder .*nowhere cannot be read"):
        load_image_folder(LocalFolder(tmp_path / "nowhere"))


def test_some_classes_of_imagenet_need_names(tmp_path: Path) -> None:
    image_folder(tmp_path, WNIDS)
    with pytest.raises(DataError, match="3 of the 1000 classes of ImageNet.*add classnames.txt"):
        load_image_folder(LocalFolder(tmp_path))
