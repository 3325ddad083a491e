"""Webdataset shards in the layout that CLIP_benchmark publishes, shown as a folder in the official layout.

Layout: ``test/nshards.txt`` with the number of shards, ``test/{0..n-1}.tar`` with ``<key>.jpg|jpeg|png|webp`` and
``<key>.txt`` (one caption a line) or ``<key>.cls`` (index of the class); for classification ``classnames.txt`` and
``zeroshot_classification_templates.txt`` beside ``test/``. Members are found by their offsets and read from there;
nothing is ever extracted, so a path inside an archive has no meaning on this machine.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from vlbench.data.source import DataRoot, LocalFolder
from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
SHARD_FOLDER = "test"


class Holding(NamedTuple):
    """What a folder of shards holds: one split of a dataset, and the document in whose place it stands."""

    dataset: str
    split: str
    document: str


_COCO = Holding("coco", "karpathy-test", "dataset_coco.json")
_FLICKR30K = Holding("flickr30k", "test", "dataset_flickr30k.json")
PUBLISHED: Mapping[str, Holding] = {
    "wds_mscoco_captions": _COCO,
    "wds_mscoco_captions2017": Holding("coco", "val2017", "annotations/captions_val2017.json"),
    "wds_flickr30k": _FLICKR30K,
}
USUAL: Mapping[str, Holding] = {holding.dataset: holding for holding in (_COCO, _FLICKR30K)}
"""What a folder of another name is taken for when a dataset is asked for: Karpathy's test split."""
CLASSIFICATION = "imagenet"
"""The dataset that stands for any folder of labelled images, which is how shards with classes are shown."""
ALIASES = {"templates.txt": "zeroshot_classification_templates.txt"}
LABELLED_FILES = ("classnames.txt", *ALIASES.values())
_LABEL_DIGITS = 6


class Member(NamedTuple):
    """Where the bytes of a member lie."""

    path: Path
    offset: int
    size: int


@dataclass(frozen=True)
class ShardFolder(LocalFolder):
    """Shards of one dataset; ``holding`` tells which official document its captions stand for.

    Shards with classes are shown as a folder of images for each, ``test/000003/``, in the order of the labels.
    """

    holding: Holding = field(kw_only=True)
    address: str = field(kw_only=True)
    _members: dict[str, Member] = field(default_factory=dict, repr=False, compare=False)
    _documents: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def origin(self) -> str:
        """The address of the shards; empty for a folder of the user's."""
        return self.address

    @property
    def splits(self) -> tuple[str, ...]:
        """The one split that shards hold."""
        return (self.holding.split,)

    def exists(self, name: str) -> bool:
        """Tell whether ``name`` is the document that the captions stand for, a member, or a file beside the shards."""
        if name and name == self.holding.document:
            return True
        return name in self._index() or super().exists(ALIASES.get(name, name))

    def listing(self, name: str = "") -> list[str]:
        """Return what lies in a folder of the labelled images, sorted, names of folders with a slash behind them."""
        below = {member[len(name) :] for member in self._index() if member.startswith(name)}
        return sorted({first + slash for first, slash, _ in (member.partition("/") for member in below)})

    def read(self, name: str) -> bytes:
        """Return the bytes of a member, or of a file beside the shards."""
        member = self._index().get(name)
        if member is None:
            return super().read(ALIASES.get(name, name))
        return read_member(member, self.describe(name))

    def read_json(self, name: str) -> Any:
        """Return the captions as the official document, or a JSON file beside the shards."""
        if name != self.holding.document:
            return super().read_json(name)
        if name not in self._documents:
            samples = list(self._captioned())
            self._documents[name] = _karpathy(samples) if name.startswith("dataset_") else _coco(samples)
        return self._documents[name]

    def _samples(self, members: Mapping[str, Member], other: str) -> Iterator[tuple[str, str, str]]:
        """Yield key, image and the ``other`` member of each sample; raises ``DataError`` where one is missing."""
        samples: dict[str, dict[str, str]] = {}
        for name in members:
            stem, _, suffix = PurePosixPath(name).name.partition(".")
            samples.setdefault(f"{PurePosixPath(name).parent}/{stem}", {})[suffix.lower()] = name
        for path, files in samples.items():
            image = next((files[suffix] for suffix in IMAGE_SUFFIXES if suffix in files), None)
            if image is None or other not in files:
                lacks = "image (jpg, png, webp)" if image is None else other
                raise DataError(f"{self.describe(path)}: the sample has no {lacks}, only {', '.join(sorted(files))}")
            yield PurePosixPath(path).name, image, files[other]

    def _captioned(self) -> Iterator[tuple[str, str, Sequence[str]]]:
        """Yield key, name of the image and captions of each sample, in the order of the shards."""
        for key, image, name in self._samples(self._index(), "txt"):
            try:
                text = self.read(name).decode()
            except UnicodeDecodeError as error:
                raise DataError(f"{self.describe(name)} is not UTF-8 text (byte {error.start})") from error
            yield key, image, [line for line in text.split("\n") if line.strip()]

    def _index(self) -> Mapping[str, Member]:
        if not self._members:
            members: dict[str, Member] = {}
            for shard in shard_names(LocalFolder(self.path)):
                members.update(index_shard(self.path / shard, shard))
            self._members.update(self._labelled(members) if self.holding.dataset == CLASSIFICATION else members)
        return self._members

    def _labelled(self, members: Mapping[str, Member]) -> Iterator[tuple[str, Member]]:
        """Yield the images under their classes, numbered so that names sort as labels do."""
        for number, (_, image, name) in enumerate(self._samples(members, "cls")):
            label = read_member(members[name], self.describe(name)).strip()
            if not label.isdigit():
                raise DataError(f"{self.describe(name)} holds {label[:20]!r}, not the number of a class")
            folder = f"{SHARD_FOLDER}/{int(label):0{_LABEL_DIGITS}d}"
            yield f"{folder}/{number:08d}{PurePosixPath(image).suffix}", members[image]


def read_member(member: Member, where: str) -> bytes:
    """Return the bytes of a member; raises ``DataError`` that names it as ``where``."""
    try:
        with member.path.open("rb") as file:
            file.seek(member.offset)
            data = file.read(member.size)
    except OSError as error:
        raise DataError(f"{where} cannot be read ({error.strerror})") from error
    if len(data) != member.size:
        raise DataError(f"{where} is cut off; fetch the shard again")
    return data


def shard_names(folder: LocalFolder) -> list[str]:
    """Return the names of the shards that ``nshards.txt`` of the plain folder promises; raises ``DataError``."""
    name = f"{SHARD_FOLDER}/nshards.txt"
    text = folder.read(name).strip() if folder.exists(name) else b""
    if not text.isdigit() or not int(text):
        raise DataError(
            f"{folder.describe(name)} is missing or no number; --data wds: takes the folder that holds {SHARD_FOLDER}/"
        )
    return [f"{SHARD_FOLDER}/{number}.tar" for number in range(int(text))]


def index_shard(path: Path, shard: str) -> dict[str, Member]:
    """Return where each member lies, by ``shard``/name, in the order of the file; raises ``DataError``."""
    found = {}
    try:
        # "r:" refuses compression, in which nothing can be found by its offset.
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.isreg():
                    found[f"{shard}/{member.name}"] = Member(path, member.offset_data, member.size)
    except FileNotFoundError as error:
        raise DataError(f"shard {path} is missing; fetch it, or correct {path.parent / 'nshards.txt'}") from error
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"shard {path} is not a whole uncompressed tar file ({error}); fetch it again") from error
    if not found:
        raise DataError(f"shard {path} is empty; fetch it again")
    return found


def _karpathy(samples: Sequence[tuple[str, str, Sequence[str]]]) -> Mapping[str, Any]:
    images = [
        {
            "filename": image,
            "split": "test",
            "cocoid": key,
            "sentences": [{"raw": text, "sentid": f"{key}-{k}"} for k, text in enumerate(captions)],
        }
        for key, image, captions in samples
    ]
    return {"images": images, "dataset": "webdataset"}


def _coco(samples: Sequence[tuple[str, str, Sequence[str]]]) -> Mapping[str, Any]:
    return {
        "images": [{"id": key, "file_name": image} for key, image, _ in samples],
        "annotations": [
            {"id": f"{key}-{k}", "image_id": key, "caption": text}
            for key, _, captions in samples
            for k, text in enumerate(captions)
        ],
    }


@dataclass(frozen=True)
class ShardRoot(DataRoot):
    """The folder that ``--data wds:FOLDER`` names: of one dataset, or with a folder for each."""

    address: str = field(default="", kw_only=True)
    _folders: dict[str, LocalFolder] = field(default_factory=dict, repr=False, compare=False)

    def folder(self, dataset: str) -> LocalFolder:
        """Return ``ROOT/<dataset>`` or ``ROOT/wds_…`` if it exists, else ROOT itself."""
        if dataset not in self._folders:
            published = [name for name, holding in PUBLISHED.items() if holding.dataset == dataset]
            nested = (self.path / name for name in (dataset, *published))
            path = next((path for path in nested if path.is_dir()), self.path)
            self._folders[dataset] = open_shards(path, dataset, path.name, origin=self.address)
        return self._folders[dataset]


def open_shards(path: Path, dataset: str, name: str, *, origin: str) -> ShardFolder:
    """Return the shards in ``path`` as ``dataset``; raises ``DataError`` where ``name`` is that of another dataset."""
    holding = PUBLISHED.get(name) or USUAL.get(dataset)
    if dataset == CLASSIFICATION and holding is None:
        holding = Holding(CLASSIFICATION, SHARD_FOLDER, "")
    if holding is None:
        raise DataError(f"webdataset shards are read as {', '.join((*USUAL, CLASSIFICATION))}, not as {dataset}")
    if holding.dataset != dataset:
        raise DataError(f"{origin or path} holds {holding.dataset}, not {dataset}; choose another task or other --data")
    folder = ShardFolder(path, holding=holding, address=origin)
    shard_names(LocalFolder(path))
    return folder


def open_webdataset(text: str) -> ShardRoot:
    """Return the root that ``wds:TEXT`` names; shards behind an address are kept in the cache, as they are."""
    if "://" not in text:
        return ShardRoot(Path(text))
    from vlbench.data.download import bar, download
    from vlbench.data.scenes.cache import cache_folder

    if not text.startswith(("http://", "https://")):
        raise UsageError(f"--data wds:{text} is neither a folder nor an address that begins with http:// or https://")
    address = text.rstrip("/")
    place = PurePosixPath(address.partition("://")[2].removesuffix("/resolve/main"))
    path = cache_folder() / "webdataset" / str(place).replace("/", "--") / place.name
    download(f"{address}/{SHARD_FOLDER}/nshards.txt", path / SHARD_FOLDER / "nshards.txt")
    for shard in shard_names(LocalFolder(path)):
        download(f"{address}/{shard}", path / shard, progress=bar(shard))
    if any(name.endswith(".cls") for name in index_shard(path / SHARD_FOLDER / "0.tar", "0.tar")):
        for name in LABELLED_FILES:
            download(f"{address}/{name}", path / name)
    return ShardRoot(path, address=f"wds:{address}")
