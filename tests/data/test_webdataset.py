"""Webdataset shards: read by offset, never extracted, and each way in which they can be wrong."""

from __future__ import annotations

import pickle
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.support import layouts, tables
from vlbench.data.coco import load_coco
from vlbench.data.flickr30k import load_flickr30k
from vlbench.data.roots import open_root
from vlbench.data.webdataset import ShardFolder
from vlbench.errors import DataError, UsageError
from vlbench.types import ImageRef

if TYPE_CHECKING:
    from pathlib import Path


def coco(folder: Path, split: str | None = None) -> object:
    return load_coco(open_root(f"wds:{folder}").folder("coco"), split)


def test_captions_and_images(tmp_path: Path) -> None:
    folder = tables.webdataset(tmp_path / "shards")
    before = sorted(tmp_path.rglob("*"))
    dataset = load_coco(open_root(f"wds:{folder}").folder("coco"))
    assert (dataset.split, dataset.counts) == ("karpathy-test", {"images": 3, "captions": 7})
    assert [s.image_id for s in dataset.samples] == ["s0000000", "s0000001", "s0000002"]
    first = dataset.samples[0]
    assert [c.text for c in first.captions] == layouts.CAPTIONS[391895][:1] + [
        "Man riding a motor bike.",
        "A dirt path.",
    ]
    assert [c.caption_id for c in first.captions] == ["s0000000-0", "s0000000-1", "s0000000-2"]
    assert [s.image.load().getpixel((0, 0)) for s in dataset.samples] == [(255, 0, 0), (0, 128, 0), (0, 0, 255)]
    assert first.image.source.describe(first.image.name) == str(folder / "test" / "0.tar" / "s0000000.webp")
    assert sorted(tmp_path.rglob("*")) == before
    copy = pickle.loads(pickle.dumps(first.image))
    assert copy.key == first.image.key and copy.load().size == (8, 6)


def test_which_dataset_a_folder_is(tmp_path: Path) -> None:
    tables.webdataset(tmp_path / "wds_mscoco_captions2017")
    tables.webdataset(tmp_path / "wds_flickr30k")
    root = open_root(f"wds:{tmp_path}")
    assert load_flickr30k(root.folder("flickr30k")).counts == {"images": 3, "captions": 7}
    assert load_coco(root.folder("coco")).split == "val2017"
    with pytest.raises(DataError, match="wds_flickr30k holds flickr30k, not coco"):
        open_root(f"wds:{tmp_path / 'wds_flickr30k'}").folder("coco")
    with pytest.raises(DataError, match="read as coco, flickr30k, imagenet, not as vqa"):
        root.folder("vqa")
    with pytest.raises(DataError, match="no coco annotations for split val2014"):
        load_coco(root.folder("coco"), "val2014")


def test_a_path_inside_a_shard_means_nothing_here(tmp_path: Path) -> None:
    folder = tables.webdataset(tmp_path / "shards")
    layouts.write(folder / "test" / "nshards.txt", "1")
    tables.tar(folder / "test" / "0.tar", {"../../s1.png": tables.png("red"), "../../s1.txt": b"a cat"})
    dataset = load_coco(open_root(f"wds:{folder}").folder("coco"))
    assert dataset.samples[0].image.load().size == (8, 6)
    assert not list(tmp_path.parent.glob("s1.*")) and not list(tmp_path.glob("s1.*"))


def test_labelled_images_are_shown_as_folders_of_classes(tmp_path: Path) -> None:
    folder = tmp_path / "wds_colours"
    labels = {"a": ("red", "10"), "b": ("green", "9\n"), "c": ("blue", "10")}
    members = {}
    for key, (colour, label) in labels.items():
        members |= {f"{key}.cls": label.encode(), f"{key}.png": tables.png(colour)}
    tables.tar(folder / "test" / "0.tar", members)
    layouts.write(folder / "test" / "nshards.txt", "1")
    layouts.write(folder / "classnames.txt", "green\nred or blue\n")
    layouts.write(folder / "zeroshot_classification_templates.txt", "a picture of {c}.\n")
    shown = open_root(f"wds:{folder}").folder("imagenet")
    assert isinstance(shown, ShardFolder)
    assert shown.listing() == ["test/"] and shown.listing("test/") == ["000009/", "000010/"]
    assert shown.listing("test/000010/") == ["00000000.png", "00000002.png"]
    assert ImageRef(shown, "test/000010/00000002.png").load().getpixel((0, 0)) == (0, 0, 255)
    assert shown.exists("templates.txt") and shown.read("templates.txt") == b"a picture of {c}.\n"
    assert shown.read("classnames.txt").startswith(b"green")
    tables.tar(folder / "test" / "0.tar", members | {"b.cls": b"cat"})
    with pytest.raises(DataError, match="b.cls holds b'cat', not the number of a class"):
        open_root(f"wds:{folder}").folder("imagenet").exists("x")


def _remove_shard(folder: Path) -> None:
    (folder / "test" / "1.tar").unlink()


def _cut_shard(folder: Path) -> None:
    path = folder / "test" / "0.tar"
    path.write_bytes(path.read_bytes()[:1700])


def _compress_shard(folder: Path) -> None:
    with tarfile.open(folder / "test" / "0.tar", "w:gz"):
        pass


def _no_number(folder: Path) -> None:
    layouts.write(folder / "test" / "nshards.txt", "many")


def _no_captions(folder: Path) -> None:
    tables.tar(folder / "test" / "0.tar", {"a.jpg": b"x", "a.cls": b"3"})


def _no_image(folder: Path) -> None:
    tables.tar(folder / "test" / "0.tar", {"a.txt": b"x", "a.json": b"{}"})


def _not_text(folder: Path) -> None:
    tables.tar(folder / "test" / "0.tar", {"a.jpg": b"x", "a.txt": b"\xff\xff"})


def _twice(folder: Path) -> None:
    (folder / "test" / "1.tar").write_bytes((folder / "test" / "0.tar").read_bytes())


def _only_blank(folder: Path) -> None:
    tables.tar(folder / "test" / "0.tar", {"a.jpg": b"x", "a.txt": b"\n\n"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_remove_shard, r"shard .*1\.tar is missing"),
        (_cut_shard, r"0\.tar is not a whole uncompressed tar file"),
        (_compress_shard, r"0\.tar is not a whole uncompressed tar file"),
        (_no_number, r"nshards\.txt is missing or no number"),
        (_no_captions, r"0\.tar/a: the sample has no txt, only cls, jpg"),
        (_no_image, r"0\.tar/a: the sample has no image"),
        (_not_text, r"a\.txt is not UTF-8 text"),
        (_twice, "duplicate image ids s0000000"),
        (_only_blank, "images without captions: a"),
    ],
)
def test_broken_shards(tmp_path: Path, spoil: object, message: str) -> None:
    folder = tables.webdataset(tmp_path / "shards")
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(DataError, match=message) as error:
        coco(folder)
    assert "\n" not in str(error.value)


def test_what_is_no_folder_of_shards(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nshards\.txt is missing or no number; --data wds: takes the folder"):
        coco(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        coco(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="neither a folder nor an address"):
        open_root("wds:ftp://example.org/x")
