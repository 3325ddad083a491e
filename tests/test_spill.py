"""Large arrays lie in files without a name, and a vector that was kept stays what it was."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import numpy as np
import pytest

from vlbench import spill
from vlbench.errors import DataError
from vlbench.spill import Spill, scratch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let arrays above 400 bytes be large, and return the folder of their files."""
    monkeypatch.setattr(spill, "IN_MEMORY", 400)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def short_files() -> Iterator[None]:
    """Let no file be longer than 4 KiB, which is as near to a full disk as a test comes without a disk of its own."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def mapped(array: np.ndarray) -> bool:
    while array.base is not None and not isinstance(array, np.memmap):
        array = array.base
    return isinstance(array, np.memmap)


def test_vectors_of_any_size_come_back_to_the_bit(small: Path) -> None:
    random = np.random.default_rng(0)
    vectors = [random.standard_normal(size).astype(np.float32) for size in (3, 50, 1, 200, 7, 900, 2, *([16] * 40))]
    keeper = Spill(block=60)
    kept = [keeper.keep(vector) for vector in vectors]
    assert all(np.array_equal(one, two) for one, two in zip(kept, vectors, strict=True))
    assert not mapped(kept[0]) and mapped(kept[-1])
    assert not any(view.flags.writeable for view in kept)
    assert list(small.iterdir()) == []


def test_what_is_small_stays_in_memory(small: Path) -> None:
    assert not mapped(scratch((10, 10)))
    large = scratch((10, 11))
    assert mapped(large) and large.shape == (10, 11) and large.dtype == np.float32
    large[:] = 1.0
    assert large.sum() == 110


def test_no_room_is_one_clear_line(small: Path, short_files: None) -> None:
    with pytest.raises(DataError, match=r"no room for .* GiB of embeddings \(File too large\); set TMPDIR to a folder"):
        scratch((100, 100))
