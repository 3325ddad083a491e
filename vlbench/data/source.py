"""Where data lies. A ``DataRoot`` finds a dataset's folder; a ``LocalFolder`` reads its files.

Other places (``vlbench.data.hub``, ``vlbench.data.webdataset``) are subclasses: a folder that *shows* the official
layout though its files are rows of a table or members of an archive. So loaders and their checks are written once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class LocalFolder:
    """A folder on this machine as a source of bytes."""

    path: Path
    _digests: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def origin(self) -> str:
        """Where the data came from, with its revision, as results record it; empty for a folder of the user's."""
        return ""

    @property
    def splits(self) -> tuple[str, ...] | None:
        """The only splits that are here; None where the files tell."""
        return None

    def read(self, name: str) -> bytes:
        """Return the bytes of ``name``; raises ``DataError`` naming the file where it cannot be read."""
        with self._errors(name):
            return (self.path / name).read_bytes()

    @contextlib.contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise DataError(f"file {self.path / name} is missing") from error
        except OSError as error:
            raise DataError(f"file {self.path / name} cannot be read ({error.strerror})") from error

    def exists(self, name: str) -> bool:
        """Tell whether ``name`` is a file in the folder."""
        return (self.path / name).is_file()

    def digest(self, name: str) -> str:
        """Return the SHA-256 hex digest of the file; computed once, in bounded memory."""
        if name not in self._digests:
            self._digests[name] = self._hash(name)
        return self._digests[name]

    def _hash(self, name: str) -> str:
        path = self.path / name
        if not path.is_file():  # a member of an archive, or what is missing
            return hashlib.sha256(self.read(name)).hexdigest()
        with self._errors(name), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def describe(self, name: str) -> str:
        """Return the path of the file."""
        return str(self.path / name)

    def first(self, *names: str) -> str | None:
        """Return the first of ``names`` that exists."""
        return next((name for name in names if self.exists(name)), None)

    def listing(self, name: str = "") -> list[str]:
        """Return what lies in the folder ``name``, sorted, names of folders with a slash behind them.

        Raises ``DataError`` naming the folder where it cannot be read; hidden entries are left out.
        """
        try:
            found = [entry.name + "/" * entry.is_dir() for entry in (self.path / name).iterdir()]
        except OSError as error:
            raise DataError(f"folder {self.path / name} cannot be read ({error.strerror})") from error
        return sorted(entry for entry in found if not entry.startswith("."))

    def read_json(self, name: str) -> Any:
        """Parse a JSON file; raises ``DataError`` with file, line and column where it is not JSON or is empty."""
        return parse_json(self.read(name), self.describe(name))


def parse_json(data: bytes, where: str) -> Any:
    """Parse JSON bytes; raises ``DataError`` with the place where they are malformed.

    >>> parse_json(b"[1, 2", "answers.json")
    Traceback (most recent call last):
    vlbench.errors.DataError: answers.json is not valid JSON: Expecting ',' delimiter at line 1, column 6
    """
    if not data.strip():
        raise DataError(f"{where} is empty")
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except RecursionError as error:
        raise DataError(f"{where} is not valid JSON: its lists or objects are nested too deeply") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text (byte {error.start})") from error


@dataclass(frozen=True)
class DataRoot:
    """The folder that ``--data`` names. It holds ``<dataset>/`` folders, or is one dataset's folder itself."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_dir():
            kind = "is not a folder" if self.path.exists() else "does not exist"
            raise DataError(f"data root {self.path} {kind}; --data takes the folder that holds the dataset")

    @property
    def name(self) -> str:
        """What ``--data`` was given."""
        return str(self.path)

    def folder(self, dataset: str) -> LocalFolder:
        """Return ``ROOT/<dataset>`` if it exists, else ROOT itself."""
        nested = self.path / dataset
        return LocalFolder(nested if nested.is_dir() else self.path)
