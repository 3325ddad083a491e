"""Training data that does not fit unpacked: webdataset shards, read where they lie and never extracted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from vlbench.data.source import LocalFolder
from vlbench.data.webdataset import IMAGE_SUFFIXES, Member, index_shard, read_member
from vlbench.errors import DataError, UsageError
from vlbench.train.examples import FolderExample
from vlbench.train.recipe import CAPTIONED
from vlbench.types import ImageRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PREFIX = "wds:"


def shards_in(data: Path | str) -> list[Path]:
    """Return the shards that ``--data`` names: a ``.tar`` file, or those of a folder by name; none if it has none.

    The prefix ``wds:``, with which shards are evaluated, may stand in front.
    """
    path = Path(str(data).removeprefix(PREFIX))
    if path.suffix == ".tar":
        return [path]
    return sorted(path.glob("*.tar")) if path.is_dir() else []


class _Sample(NamedTuple):
    image: str
    captions: str


@dataclass(frozen=True)
class _Shards(LocalFolder):
    """The members of all shards as files."""

    members: Mapping[str, Member] = field(default_factory=dict, kw_only=True, repr=False)

    def read(self, name: str) -> bytes:
        """Return the bytes of a member."""
        return read_member(self.members[name], self.describe(name))

    def exists(self, name: str) -> bool:
        """Tell whether a shard holds ``name``."""
        return name in self.members


class ShardSource:
    """Samples ``<key>.jpg|jpeg|png|webp`` with ``<key>.txt``, one caption a line, in the order of the shards.

    What is held in memory is where each member lies. A sample is read when a step asks for it, by the process whose
    share it is, so that ranks and resumed runs see the batches that one process sees.
    """

    def __init__(self, shards: Sequence[Path], objectives: Sequence[str]) -> None:
        """Index ``shards``; raises ``UsageError`` for objectives that need more than captions, ``DataError``."""
        beyond = [name for name in objectives if name not in CAPTIONED]
        if beyond:
            raise UsageError(
                f"shards hold images and captions, which do not teach {', '.join(beyond)}; see --objectives"
            )
        members: dict[str, Member] = {}
        for path in shards:
            if not path.is_file():
                raise DataError(f"shard {path} is missing; correct --data")
            members.update(index_shard(path, path.name))
        folder = shards[0].parent
        self._files = _Shards(folder, members=members)
        self._samples = list(_samples(self._files))
        self.name = f"{folder / '*.tar'}" if len(shards) > 1 else str(shards[0])
        self.trained_on: tuple[str, ...] = (f"shards:{folder.name if len(shards) > 1 else shards[0].stem}",)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._samples)

    def example(self, index: int) -> FolderExample:
        """Read the captions of sample ``index``; its image is decoded when it is asked for."""
        sample = self._samples[index]
        try:
            lines = self._files.read(sample.captions).decode().split("\n")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self._files.describe(sample.captions)} is not UTF-8 text (byte {error.start})"
            ) from error
        captions = tuple(line.strip() for line in lines if line.strip())
        return FolderExample(ImageRef(self._files, sample.image), captions=captions)


def _samples(files: _Shards) -> Iterator[_Sample]:
    """Yield the samples of all shards; raises ``DataError`` for one that lacks its image or its captions."""
    parts: dict[str, dict[str, str]] = {}
    for name in files.members:
        stem, _, suffix = PurePosixPath(name).name.partition(".")
        parts.setdefault(f"{PurePosixPath(name).parent}/{stem}", {})[suffix.lower()] = name
    for key, found in parts.items():
        image = next((found[suffix] for suffix in IMAGE_SUFFIXES if suffix in found), None)
        if image is None or "txt" not in found:
            lacks = "image (jpg, png, webp)" if image is None else "txt with captions"
            raise DataError(f"{files.describe(key)}: the sample has no {lacks}, only {', '.join(sorted(found))}")
        yield _Sample(image, found["txt"])
