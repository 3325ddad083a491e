"""Datasets on the Hugging Face hub: rows of parquet files, shown as a folder in the official layout."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from vlbench import hub
from vlbench.data.checks import first_few
from vlbench.data.hub_download import KIND, fetch, matching
from vlbench.data.hub_layouts import REPOSITORIES, UNFIT, Repository
from vlbench.data.source import DataRoot, LocalFolder
from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PREFIX = "hf:"
WEBDATASET_PREFIX = "wds_"

_reading = threading.Lock()


@dataclass(frozen=True)
class HubRoot(DataRoot):
    """What ``--data hub`` (each dataset's usual repository) or ``--data hf:org/name[@revision]`` names.

    ``path`` is that text. Nothing is fetched before a dataset is asked for.
    """

    _folders: dict[str, LocalFolder] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        repo = self._repository()[0]
        if repo in UNFIT:
            raise UsageError(f"{PREFIX}{repo} cannot be used: {UNFIT[repo]}")
        if repo and repo not in REPOSITORIES and not _is_webdataset(repo):
            raise UsageError(
                f"nothing is known of the columns of {PREFIX}{repo}; there are {', '.join(REPOSITORIES)}, "
                "and webdataset repositories clip-benchmark/wds_*"
            )

    def folder(self, dataset: str) -> LocalFolder:
        """Return the repository as a folder of ``dataset``; raises ``DataError`` where it holds another one."""
        if dataset not in self._folders:
            self._folders[dataset] = self._open(dataset)
        return self._folders[dataset]

    def _repository(self) -> tuple[str, str | None]:
        repo, _, revision = self.name.removeprefix(PREFIX).partition("@")
        return ("", None) if self.name == "hub" else (repo, revision or None)

    def _open(self, dataset: str) -> LocalFolder:
        repo, revision = self._repository()
        usual = [name for name, known in REPOSITORIES.items() if known.dataset == dataset]
        if _is_webdataset(repo):
            return _webdataset(repo, revision, dataset)
        repo = repo or (usual[0] if usual else "")
        if repo not in usual:
            there = f"; take {PREFIX}{' or '.join(usual)}" if usual else ", and no repository is known that does"
            raise DataError(f"--data {self.name} does not hold {dataset}{there}")
        # The card is small: fetching it resolves the revision to a commit, which all later files are taken from.
        known = REPOSITORIES[repo]
        snapshot = fetch(repo, revision or known.revision, ["README.md"])
        return ParquetFolder(snapshot, repo=repo, repository=known, revision=revision or known.revision)


def _is_webdataset(repo: str) -> bool:
    return repo.partition("/")[2].startswith(WEBDATASET_PREFIX)


def _webdataset(repo: str, revision: str | None, dataset: str) -> LocalFolder:
    from vlbench.data.webdataset import open_shards

    snapshot = fetch(repo, revision, ["*.txt", "test/*"])
    return open_shards(snapshot, dataset, repo.partition("/")[2], origin=str(hub.Repository(repo, snapshot.name, KIND)))


@dataclass(frozen=True)
class ParquetFolder(LocalFolder):
    """A snapshot of a repository; official documents are made of its columns, images are bytes in its rows."""

    repo: str = field(kw_only=True)
    repository: Repository = field(kw_only=True, repr=False)
    revision: str | None = field(kw_only=True)
    _documents: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _images: dict[str, tuple[Path, int, int, str]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def origin(self) -> str:
        """The repository at its commit."""
        return str(hub.Repository(self.repo, self.path.name, KIND))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the table maps."""
        return tuple(self.repository.splits)

    def exists(self, name: str) -> bool:
        """Tell whether the repository has the document or, of a split that was read, the image."""
        return name in self._images or self._split(name) is not None

    def describe(self, name: str) -> str:
        """Return the repository with the official name."""
        return f"{self.origin}/{name}" if name else self.origin

    def read(self, name: str) -> bytes:
        """Return the bytes of an image, or the official document as JSON (a line a record for ``.jsonl``)."""
        if name in self._images:
            path, group, row, column = self._images[name]
            return _image(_row_group(path, group, column)[row], self.describe(name))
        document = self.read_json(name)
        if name.endswith(".jsonl"):
            return "".join(json.dumps(line) + "\n" for line in document).encode()
        return json.dumps(document).encode()

    def read_json(self, name: str) -> Any:
        """Return the official document; the files of its split are fetched first."""
        split = self._split(name)
        if split is None:
            raise DataError(f"file {self.describe(name)} is missing")
        if name not in self._documents:
            self._load(split)
        return self._documents[name]

    def _split(self, name: str) -> str | None:
        known = self.repository
        return next((split for split in known.splits if name in known.documents(split)), None)

    def _load(self, split: str) -> None:
        known = self.repository
        part = known.splits[split]
        patterns = [f"{part}-*.parquet", f"*/{part}-*.parquet", f"*/{part}/*.parquet"]
        # By commit, so that all splits of a run are of one revision even while the repository changes.
        files = matching(fetch(self.repo, self.path.name, patterns), patterns)
        if not files:
            raise DataError(f"{self.origin} has no parquet files of split {part!r}; check the revision")
        rows: dict[str, list[Any]] = {key: [] for key in known.columns}
        places: list[tuple[Path, int, int]] = []
        for path in files:
            columns, sizes = read_columns(path, known, self.describe(str(path.relative_to(self.path))))
            for key, values in columns.items():
                rows[key] += values
            places += [(path, group, row) for group, size in enumerate(sizes) for row in range(size)]
        shows = known.show(rows, split)
        self._documents.update(shows.documents)
        for key, names in shows.images.items():
            for name, place in zip(names, places, strict=True):
                self._images.setdefault(name, (*place, known.images[key]))


def read_columns(path: Path, known: Repository, where: str) -> tuple[dict[str, list[Any]], Sequence[int]]:
    """Return the columns of one file by what they are needed for, and the number of rows of each row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            there = file.schema_arrow.names
            missing = [name for name in (*known.columns.values(), *known.images.values()) if name not in there]
            if missing:
                raise DataError(f"{where} has no column {first_few(missing)}; it has {', '.join(there)}")
            table = file.read(columns=list(known.columns.values()))
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where} is not a readable parquet file ({_first_line(error)}); delete {path}") from error
    return {key: table.column(name).to_pylist() for key, name in known.columns.items()}, sizes


def _row_group(path: Path, group: int, column: str) -> Any:
    # Parquet is read by row groups of many images; the lock keeps workers that want the same one from reading it twice.
    with _reading:
        return _cached_row_group(path, group, column)


@lru_cache(maxsize=2)
def _cached_row_group(path: Path, group: int, column: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return file.read_row_group(group, columns=[column]).column(column)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read ({_first_line(error)}); delete it and run again") from error


def _image(cell: Any, where: str) -> bytes:
    """Return the bytes of one cell: the hub's ``{bytes, path}``, or plain bytes."""
    value = cell.as_py()
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise DataError(f"image {where} holds no bytes; the repository only links its images")
    return data


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
