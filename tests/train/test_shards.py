"""Training from shards: the weights of the same data in a folder, and clear words for what is no sample."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from vlbench.data.scenes.write import write_official
from vlbench.errors import DataError, UsageError
from vlbench.train.recipe import Recipe
from vlbench.train.run import open_source, pretrain
from vlbench.train.shards import ShardSource, shards_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RECIPE = Recipe(
    objectives={"itc": 1.0, "caption": 1.0, "tag": 0.1},
    model={"size": "nano", "vocabulary": 400, "image_size": 32},
    batch_size=4,
    steps=3,
)


def _write(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.filterwarnings("ignore")
def test_shards_train_to_the_weights_of_the_same_data_in_a_folder(tmp_path: Path) -> None:
    write_official(tmp_path / "data", splits=("train",), train_count=6)
    source = open_source(tmp_path / "data", RECIPE)
    (tmp_path / "shards").mkdir()
    for shard in (0, 1):
        members = {}
        for n in range(3 * shard, 3 * shard + 3):
            example = source.example(n)
            members[f"{n:06d}.png"] = example.image.source.read(example.image.name)  # type: ignore[attr-defined]
            members[f"{n:06d}.txt"] = "\n".join(example.captions).encode()
        _write(tmp_path / "shards" / f"{shard:05d}.tar", members)
    pretrain(tmp_path / "data", RECIPE, tmp_path / "of_folder", device="cpu")
    pretrain(f"wds:{tmp_path / 'shards'}", RECIPE, tmp_path / "of_shards", device="cpu")
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("of_folder", "of_shards"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not list((tmp_path / "shards").glob("*.png"))


def test_a_file_or_a_folder_of_shards_is_known_and_others_are_not(tmp_path: Path) -> None:
    first = _write(tmp_path / "b.tar", {"1.jpg": b"x", "1.txt": b"a cat\n\na dog\n"})
    second = _write(tmp_path / "a.tar", {"2.jpg": b"x", "2.txt": b"a hen"})
    assert shards_in(tmp_path) == [second, first] and shards_in(first) == [first] and shards_in("wds:none") == []
    source = ShardSource(shards_in(tmp_path), ("itc",))
    assert [source.example(n).captions for n in range(len(source))] == [("a hen",), ("a cat", "a dog")]
    assert source.trained_on == (f"shards:{tmp_path.name}",)


def test_what_shards_cannot_give_is_one_clear_error(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tar", {"1.jpg": b"x"})
    with pytest.raises(DataError, match=r"a\.tar/1: the sample has no txt with captions, only jpg"):
        ShardSource([path], ("itc",))
    with pytest.raises(UsageError, match="which do not teach vqa"):
        ShardSource([path], ("itc", "vqa"))
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match="not a whole uncompressed tar file"):
        ShardSource([path], ("itc",))
    with pytest.raises(DataError, match="missing; correct --data"):
        ShardSource([tmp_path / "none.tar"], ("itc",))
    broken = _write(tmp_path / "b.tar", {"1.jpg": b"x", "1.txt": b"\xff"})
    with pytest.raises(DataError, match="is not UTF-8 text"):
        ShardSource([broken], ("itc",)).example(0)
