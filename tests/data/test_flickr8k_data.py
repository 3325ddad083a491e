"""Flickr8K in both of its forms, and each way in which the original files can be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import layouts
from vlbench.data.flickr8k import load_flickr8k
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("folder", ["Flicker8k_Dataset", "Flickr8k_Dataset", "images"])
def test_original_files(tmp_path: Path, folder: str) -> None:
    layouts.flickr8k(tmp_path, folder)
    dataset = load_flickr8k(LocalFolder(tmp_path))
    assert (dataset.name, dataset.split) == ("flickr8k", "test")
    assert dataset.counts == {"images": 2, "captions": 4} and dataset.partial
    assert [s.image_id for s in dataset.samples] == ["1001773457_577c3a7d70", "1000268201_693b08cb0e"]
    assert [(c.caption_id, c.text) for c in dataset.samples[1].captions] == [
        ("1000268201_693b08cb0e#0", "A child in a pink dress is climbing up a set of stairs in an entry way ."),
        ("1000268201_693b08cb0e#1", "A girl going into a wooden building ."),
    ]
    assert all(s.image.load().size == (8, 6) for s in dataset.samples)
    assert load_flickr8k(LocalFolder(tmp_path), "val").samples[0].captions[0].text == "A man riding a motor bike."
    assert len(load_flickr8k(LocalFolder(tmp_path), "test", 1).samples) == 1


def test_lists_and_tokens_may_lie_in_their_archive_s_folder(tmp_path: Path) -> None:
    for path in layouts.flickr8k(tmp_path):
        (tmp_path / "Flickr8k_text").mkdir(exist_ok=True)
        path.rename(tmp_path / "Flickr8k_text" / path.name)
    assert load_flickr8k(LocalFolder(tmp_path)).counts == {"images": 2, "captions": 4}


def test_split_file_of_karpathy(tmp_path: Path) -> None:
    layouts.flickr8k(tmp_path)
    layouts.write(tmp_path / "dataset_flickr8k.json", layouts.flickr8k_document())
    dataset = load_flickr8k(LocalFolder(tmp_path))
    assert [s.image_id for s in dataset.samples] == ["1000092795", "1000092797"]
    assert dataset.samples[0].image.name == "Flicker8k_Dataset/1000092795.jpg"
    with pytest.raises(UsageError, match="unknown split 'dev' of flickr8k; it has: train, val, test"):
        load_flickr8k(LocalFolder(tmp_path), "dev")


BREAKS = {
    "empty list": (1, "", "names no images"),
    "image twice": (1, "1001773457_577c3a7d70.jpg\n1001773457_577c3a7d70.jpg\n", "duplicate images 1001773457_577c3"),
    "unknown image": (1, "9.jpg\n", "images without captions in Flickr8k.token.txt: 9.jpg"),
    "no tab": (0, "a.jpg#0 a cat\n", "line 1 is not image.jpg#k<TAB>caption"),
    "no number": (0, "a.jpg\ta cat\n", "line 1 is not image.jpg#k<TAB>caption"),
    "broken later": (0, "a.jpg#0\ta cat\n\na.jpg#x\ta cat\n", "line 3 is not image.jpg#k<TAB>caption"),
    "caption twice": (0, "a.jpg#0\ta cat\na.jpg#0\ta dog\n", "duplicate caption ids a#0"),
    "no captions": (0, "\n", "has no captions"),
}


@pytest.mark.parametrize("case", BREAKS)
def test_a_broken_file_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    which, text, named = BREAKS[case]
    path = layouts.flickr8k(tmp_path)[which]
    path.write_text(text)
    with pytest.raises(DataError) as error:
        load_flickr8k(LocalFolder(tmp_path))
    message = str(error.value)
    assert named in message and str(path) in message and "\n" not in message


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no flickr8k annotations for split test in .*dataset_flickr8k\.json"):
        load_flickr8k(LocalFolder(tmp_path))
    tokens, _ = layouts.flickr8k(tmp_path)
    tokens.write_bytes(b"a.jpg#0\t\xff\n")
    with pytest.raises(DataError, match=r"Flickr8k\.token\.txt is not UTF-8 text \(byte 8\)"):
        load_flickr8k(LocalFolder(tmp_path))
    tokens.unlink()
    with pytest.raises(DataError, match=r"Flickr8k\.token\.txt is missing"):
        load_flickr8k(LocalFolder(tmp_path))


@pytest.mark.parametrize(("split", "images"), [("test", 1_000), ("val", 1_000), ("train", 6_000)])
def test_the_official_files_are_whole(realdata: Path, split: str, images: int) -> None:
    dataset = load_flickr8k(LocalFolder(realdata / "flickr8k"), split)
    assert dataset.counts == {"images": images, "captions": 5 * images} and not dataset.partial
