"""NoCaps in its official form, and each way in which the file can be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support import layouts
from vlbench.data.nocaps import load_nocaps, load_references
from vlbench.data.source import LocalFolder
from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_official_file(tmp_path: Path) -> None:
    path = layouts.nocaps(tmp_path)
    dataset = load_nocaps(LocalFolder(tmp_path))
    assert (dataset.name, dataset.split) == ("nocaps", "val")
    assert dataset.counts == {"images": 4, "captions": 40} and dataset.partial
    assert dataset.official_counts == {"images": 4_500, "captions": 45_000}
    assert [s.domain for s in dataset.samples] == ["in-domain", "near-domain", "out-domain", "near-domain"]
    assert [s.image_id for s in dataset.samples] == ["0", "1", "2", "3"]
    assert dataset.samples[1].captions[9].text == "A red bus stands by the road (9)."
    assert [s.image.load().size for s in dataset.samples] == [(8, 6)] * 4
    assert load_references(path).fingerprint == dataset.fingerprint
    assert load_nocaps(LocalFolder(tmp_path), "val", 2).samples == dataset.samples[:2]


@pytest.mark.parametrize("folder", ["val", "images/val", "validation", "images", "."])
def test_where_images_may_lie(tmp_path: Path, folder: str) -> None:
    layouts.nocaps(tmp_path, folder)
    dataset = load_nocaps(LocalFolder(tmp_path))
    assert all(s.image.source.exists(s.image.name) for s in dataset.samples)


def test_a_domain_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    path = layouts.nocaps(tmp_path)
    before = load_references(path).fingerprint
    document = layouts.nocaps_document()
    document["images"][0]["domain"] = "out-domain"
    layouts.write(path, document)
    assert load_references(path).fingerprint != before


def _drop(document: Any) -> None:
    del document["images"][2]["domain"]


def _rename(document: Any) -> None:
    document["images"][1]["domain"] = "out-of-domain"


def _orphan(document: Any) -> None:
    document["annotations"][0]["image_id"] = 99


def _twice(document: Any) -> None:
    document["images"][1]["id"] = 0


def _bare(document: Any) -> None:
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] != 0]


def _unpublished(document: Any) -> None:
    del document["annotations"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop, "images[2] has no 'domain'"),
        (_rename, "images[1].domain is 'out-of-domain', none of: in-domain, near-domain, out-domain"),
        (_orphan, "captions of images that the file does not list: 0 (image 99)"),
        (_twice, "duplicate image ids 0"),
        (_bare, "images without captions: 0"),
        (_unpublished, "has no 'annotations'; it is not the official file"),
    ],
)
def test_a_broken_file_is_one_clear_line(tmp_path: Path, spoil: Callable[[Any], None], message: str) -> None:
    path = layouts.nocaps(tmp_path)
    document = layouts.nocaps_document()
    spoil(document)
    layouts.write(path, document)
    with pytest.raises(DataError) as error:
        load_nocaps(LocalFolder(tmp_path))
    assert message in str(error.value) and path.name in str(error.value) and "\n" not in str(error.value)


def test_other_splits_and_other_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no nocaps annotations for split val"):
        load_nocaps(LocalFolder(tmp_path))
    path = layouts.nocaps(tmp_path)
    with pytest.raises(UsageError, match="unknown split 'train' of nocaps; it has: val, test"):
        load_nocaps(LocalFolder(tmp_path), "train")
    with pytest.raises(UsageError, match="no references of split 'test' of nocaps; there are of: val"):
        load_references(path, "test")
    layouts.write(tmp_path / "nocaps_test_image_info.json", {"images": [{"id": 1, "file_name": "a.jpg"}] * 2})
    with pytest.raises(DataError, match="duplicate image ids 1"):
        load_nocaps(LocalFolder(tmp_path), "test")
