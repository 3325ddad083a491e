"""COCO and Flickr30K in every official form, and each way in which a file can be wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import layouts
from vlbench.data.coco import load_coco, load_references
from vlbench.data.flickr30k import load_flickr30k
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def one_line(error: pytest.ExceptionInfo[Exception], *parts: object) -> None:
    """The message is one line that has all ``parts``."""
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert str(part) in text, text


def test_annotation_file(tmp_path: Path) -> None:
    layouts.coco(tmp_path)
    dataset = load_coco(LocalFolder(tmp_path))
    assert (dataset.name, dataset.split) == ("coco", "val2014")
    assert dataset.counts == {"images": 3, "captions": 7}
    assert dataset.official_counts == {"images": 40_504, "captions": 202_654} and dataset.partial
    assert [s.image_id for s in dataset.samples] == ["391895", "522418", "184613"]
    assert [(c.caption_id, c.text) for c in dataset.samples[1].captions] == [
        ("10", "A woman cuts a cake."),
        ("11", "a woman wearing a net on her head  cutting a cake "),
    ]
    assert [s.image.load().size for s in dataset.samples] == [(8, 6)] * 3


def test_2017_names(tmp_path: Path) -> None:
    document = layouts.coco_document()
    for image in document["images"]:
        image["file_name"] = f"{image['id']:012d}.jpg"
    layouts.write(tmp_path / "annotations" / "captions_val2017.json", document)
    layouts.picture(tmp_path / "images" / "val2017" / "000000391895.jpg")
    dataset = load_coco(LocalFolder(tmp_path))
    assert dataset.split == "val2017"
    assert [s.image.name for s in dataset.samples][:2] == [
        "images/val2017/000000391895.jpg",
        "val2017/000000522418.jpg",
    ]


def test_karpathy_file_comes_before_the_annotation_files(tmp_path: Path) -> None:
    layouts.coco(tmp_path)
    layouts.write(tmp_path / "dataset_coco.json", layouts.karpathy_document())
    dataset = load_coco(LocalFolder(tmp_path))
    assert dataset.split == "karpathy-test"
    assert [s.image_id for s in dataset.samples] == ["391895", "184613"]
    assert dataset.samples[1].captions[1].caption_id == "21"
    assert all(s.image.source.exists(s.image.name) for s in dataset.samples)
    assert [s.image_id for s in load_coco(LocalFolder(tmp_path), "karpathy-train").samples] == ["522418"]
    with pytest.raises(DataError) as error:
        load_coco(LocalFolder(tmp_path), "karpathy-val")
    one_line(error, "dataset_coco.json", "val")


def test_short_karpathy_file(tmp_path: Path) -> None:
    rows = [{"image": f"val2014/COCO_val2014_{i:012d}.jpg", "caption": texts} for i, texts in layouts.CAPTIONS.items()]
    path = tmp_path / "coco_karpathy_test.json"
    layouts.write(path, rows)
    dataset = load_coco(LocalFolder(tmp_path))
    assert dataset.split == "karpathy-test" and dataset.counts == {"images": 3, "captions": 7}
    assert [s.image_id for s in dataset.samples] == [str(i) for i in layouts.CAPTIONS]
    assert load_references(path).fingerprint == dataset.fingerprint
    layouts.write(path, [{"image": "val2014/cat.jpg", "caption": ["a cat"]}])
    with pytest.raises(DataError, match=r"record \[0\].image 'val2014/cat.jpg' does not end in a number"):
        load_coco(LocalFolder(tmp_path))
    layouts.write(path, [{"image": "1.jpg", "caption": "a cat"}])
    with pytest.raises(DataError, match="a string, not a list"):
        load_coco(LocalFolder(tmp_path))


def test_references_take_all_three_forms(tmp_path: Path) -> None:
    official = load_references(layouts.coco(tmp_path))
    assert official.split == "val2014" and official.counts["captions"] == 7 and official.partial
    layouts.write(tmp_path / "dataset_coco.json", layouts.karpathy_document())
    assert load_references(tmp_path / "dataset_coco.json").counts == {"images": 2, "captions": 5}
    with pytest.raises(DataError, match=r"nothing\.json is missing"):
        load_references(tmp_path / "nothing.json")


def test_references_are_of_the_split_that_is_asked_for(tmp_path: Path) -> None:
    karpathy = tmp_path / "dataset_coco.json"
    layouts.write(karpathy, layouts.karpathy_document())
    assert [s.image_id for s in load_references(karpathy, "karpathy-train").samples] == ["522418"]
    official = layouts.coco(tmp_path)
    assert load_references(official, "val2014") == load_references(official)
    renamed = official.rename(tmp_path / "truth.json")
    assert load_references(renamed).split == "truth" and not load_references(renamed).partial
    assert load_references(renamed, "val2014").split == "val2014" and load_references(renamed, "val2014").partial
    official = layouts.coco(tmp_path)
    for path, split, kind, message in (
        (karpathy, "val2014", DataError, "holds karpathy-train, karpathy-val, karpathy-test, not val2014"),
        (official, "val2017", DataError, "holds val2014, not val2017"),
        (official, "val2013", UsageError, "unknown split 'val2013' of coco"),
    ):
        with pytest.raises(kind, match=message):
            load_references(path, split)


def test_limit_takes_the_first_and_changes_the_fingerprint(tmp_path: Path) -> None:
    layouts.coco(tmp_path)
    full, few = load_coco(LocalFolder(tmp_path)), load_coco(LocalFolder(tmp_path), None, 2)
    assert few.samples == full.samples[:2] and few.counts == {"images": 2, "captions": 5}
    assert few.fingerprint != full.fingerprint
    with pytest.raises(UsageError, match="--limit 0"):
        load_coco(LocalFolder(tmp_path), None, 0)


@pytest.mark.parametrize("folder", ["flickr30k-images", "flickr30k_images", "images"])
def test_flickr30k(tmp_path: Path, folder: str) -> None:
    layouts.flickr30k(tmp_path, folder)
    dataset = load_flickr30k(LocalFolder(tmp_path))
    assert (dataset.name, dataset.split) == ("flickr30k", "test")
    assert dataset.counts == {"images": 2, "captions": 5} and dataset.partial
    assert [s.image_id for s in dataset.samples] == ["1000092795", "1000092797"]
    assert all(s.image.load().size == (8, 6) for s in dataset.samples)
    with pytest.raises(UsageError, match="unknown split 'val2014' of flickr30k; it has: train, val, test"):
        load_flickr30k(LocalFolder(tmp_path), "val2014")


def test_nothing_there_names_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_coco(LocalFolder(tmp_path))
    one_line(error, tmp_path, "dataset_coco.json", "karpathy-test or val2014 or val2017")
    with pytest.raises(DataError) as error:
        load_coco(LocalFolder(tmp_path), "train2017")
    one_line(error, "annotations/captions_train2017.json")
    with pytest.raises(DataError) as error:
        load_flickr30k(LocalFolder(tmp_path))
    one_line(error, "dataset_flickr30k.json")


def broken_coco() -> dict[str, tuple[Any, list[str]]]:
    """Case: the document, and what the message must name."""

    def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        document = layouts.coco_document()
        change(document)
        return document

    return {
        "empty": ("", ["is empty"]),
        "blank": (" \n", ["is empty"]),
        "cut short": (json.dumps(layouts.coco_document())[:-9], ["not valid JSON", "line 1"]),
        "a list": ([1], []),
        "no images": (changed(lambda d: d.pop("images")), ["'images'"]),
        "images of the wrong kind": (changed(lambda d: d.update(images={})), ["images is an object, not a list"]),
        "an image of the wrong kind": (changed(lambda d: d["images"].insert(1, 7)), ["images[1] is an integer"]),
        "no annotations": (changed(lambda d: d.update(annotations=[])), ["has no annotations"]),
        "no caption": (changed(lambda d: d["annotations"][2].pop("caption")), ["annotations[2]", "'caption'"]),
        "caption null": (
            changed(lambda d: d["annotations"][0].update(caption=None)),
            ["annotations[0].caption is null, not a string"],
        ),
        "id true": (changed(lambda d: d["images"][0].update(id=True)), ["images[0].id is a boolean, not an id"]),
        "file name a number": (changed(lambda d: d["images"][0].update(file_name=3)), ["images[0].file_name"]),
        "image twice": (changed(lambda d: d["images"].append(d["images"][1])), ["duplicate image ids 522418"]),
        "caption twice": (
            changed(lambda d: d["annotations"].append(d["annotations"][1])),
            ["duplicate caption ids 10"],
        ),
        "caption without image": (
            changed(lambda d: d["annotations"].append({"id": 99, "image_id": 5, "caption": "x"})),
            ["99 (image 5)"],
        ),
        "image without captions": (
            changed(lambda d: d["images"].append({"id": 77, "file_name": "x.jpg"})),
            ["images without captions: 77"],
        ),
    }


@pytest.mark.parametrize("case", broken_coco())
def test_a_broken_annotation_file_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    document, named = broken_coco()[case]
    path = layouts.coco(tmp_path)
    layouts.write(path, document)
    if case == "a list":
        with pytest.raises(DataError, match="the document is a list, not an object"):
            load_coco(LocalFolder(tmp_path))
        return
    with pytest.raises(DataError) as error:
        load_coco(LocalFolder(tmp_path))
    one_line(error, path, *named)
    with pytest.raises(DataError) as error:
        load_references(path)
    one_line(error, path, *named)


KARPATHY_BREAKS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no sentences": (lambda d: d["images"][0].pop("sentences"), "images[0] has no 'sentences'"),
    "no captions": (lambda d: d["images"][0].update(sentences=[]), "images without captions"),
    "no raw": (lambda d: d["images"][0]["sentences"][1].pop("raw"), "images[0].sentences[1] has no 'raw'"),
    "sentence a string": (lambda d: d["images"][2].update(sentences=["x"]), "images[2].sentences[0] is a string"),
    "no split": (lambda d: d["images"][0].pop("split"), "images[0] has no 'split'"),
    "image twice": (lambda d: d["images"].append(d["images"][0]), "duplicate image ids"),
    "caption twice": (
        lambda d: d["images"][1]["sentences"][0].update(sentid=0),
        "duplicate caption ids 0",
    ),
    "no test image": (lambda d: [i.update(split="val") for i in d["images"]], "no image of split test"),
}


@pytest.mark.parametrize("case", KARPATHY_BREAKS)
def test_a_broken_split_file_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    change, named = KARPATHY_BREAKS[case]
    for document, name, load in (
        (layouts.karpathy_document(), "dataset_coco.json", load_coco),
        (layouts.flickr30k_document(), "dataset_flickr30k.json", load_flickr30k),
    ):
        change(document)
        layouts.write(tmp_path / name, document)
        with pytest.raises(DataError) as error:
            load(LocalFolder(tmp_path))
        one_line(error, tmp_path / name, named)


def test_the_fingerprint_follows_ids_and_captions_not_file_names(tmp_path: Path) -> None:
    path = layouts.coco(tmp_path)
    first = load_coco(LocalFolder(tmp_path)).fingerprint
    document = layouts.coco_document()
    document["images"][0]["file_name"] = "other.jpg"
    layouts.write(path, document)
    assert load_coco(LocalFolder(tmp_path)).fingerprint == first
    document["annotations"][0]["caption"] += "!"
    layouts.write(path, document)
    assert load_coco(LocalFolder(tmp_path)).fingerprint != first


@pytest.mark.parametrize(("split", "shown"), [(None, "karpathy-test"), ("val2017", "val2017")])
def test_real_photographs(realdata: Path, split: str | None, shown: str) -> None:
    dataset = load_coco(LocalFolder(realdata / "coco_photos"), split)
    assert dataset.split == shown and dataset.counts == {"images": 23, "captions": 115} and dataset.partial
    assert all(s.image.source.exists(s.image.name) for s in dataset.samples)


def test_the_official_karpathy_test_file_is_whole(realdata: Path) -> None:
    dataset = load_references(realdata / "coco_karpathy_test" / "coco_karpathy_test.json")
    assert dataset.counts == {"images": 5_000, "captions": 25_010} and not dataset.partial
