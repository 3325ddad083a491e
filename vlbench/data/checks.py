"""Checks of annotation files, each with one clear line that names the file and the records."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

from vlbench.data.source import parse_json
from vlbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from vlbench.data.source import LocalFolder

SHOWN = 5


class NoSuchSplit(DataError):
    """The file is sound, and holds other splits than the one asked for."""


SampleT = TypeVar("SampleT")
KindT = TypeVar("KindT")

_WORDS = {dict: "an object", list: "a list", str: "a string", int: "an integer", float: "a number", bool: "a boolean"}


def first_few(names: Iterable[object]) -> str:
    """Name the first few, and how many more there are.

    >>> first_few(range(8))
    '0, 1, 2, 3, 4 and 3 more'
    """
    every = [str(name) for name in names]
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more


def kind_name(value: object) -> str:
    """Return what ``value`` is in the words of JSON."""
    return "null" if value is None else _WORDS.get(type(value), type(value).__name__)


def expect(value: object, kind: type[KindT], what: str) -> KindT:
    """Return ``value`` if it is a ``kind``; raises ``DataError`` that says what was found instead."""
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise DataError(f"{what} is {kind_name(value)}, not {_WORDS[kind]}")


class Table:
    """A list of records; ``name`` is how errors call it."""

    def __init__(self, rows: list[Any], name: str) -> None:
        """Hold ``rows``."""
        self.rows = rows
        self.name = name

    @classmethod
    def read(cls, document: object, key: str, where: str) -> Table:
        """Return the list under ``key`` of a document; with an empty key the document itself is the list.

        Raises ``DataError`` where there is no list or it is empty.
        """
        name = f"{where}: {key or 'record '}"
        if key:
            holder = expect(document, dict, f"{where}: the document")
            if key not in holder:
                raise DataError(f"{where} has no {key!r}; it is not the official file")
            document = holder[key]
        rows = expect(document, list, name if key else f"{where}: the document")
        if not rows:
            raise DataError(f"{where} has no {key or 'records'}")
        return cls(rows, name)

    @classmethod
    def read_lines(cls, folder: LocalFolder, name: str) -> Table:
        """Return the records of a file with one JSON document a line; raises ``DataError`` as ``read`` does."""
        where = folder.describe(name)
        lines = enumerate(folder.read(name).splitlines(), 1)
        return cls.read([parse_json(line, f"{where} line {n}") for n, line in lines if line.strip()], "", where)

    def __len__(self) -> int:
        return len(self.rows)

    def place(self, index: int, key: str = "") -> str:
        """Return how an error calls a record, or one of its values."""
        return f"{self.name}[{index}]" + (f".{key}" if key else "")

    def value(self, index: int, key: str) -> Any:
        """Return a value of a record; raises ``DataError`` where it is absent."""
        row = self.rows[index]
        if not isinstance(row, dict):
            raise DataError(f"{self.place(index)} is {kind_name(row)}, not an object")
        if key not in row:
            raise DataError(f"{self.place(index)} has no {key!r}")
        return row[key]

    def get(self, index: int, key: str, kind: type[KindT]) -> KindT:
        """Return a value of a record; raises ``DataError`` where it is absent or of another kind."""
        value = self.value(index, key)
        # The name of the place is only made where it is needed: official files have millions of values.
        return value if type(value) is kind else expect(value, kind, self.place(index, key))

    def identifier(self, index: int, key: str) -> str:
        """Return an id as a string; official ids are integers, some copies write them as strings.

        Raises ``DataError`` for anything but an integer or a non-empty string.
        """
        value = self.value(index, key)
        if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
            raise DataError(f"{self.place(index, key)} is {kind_name(value) if value != '' else 'empty'}, not an id")
        return str(value)


def refuse_duplicates(ids: Sequence[str], what: str, where: str) -> None:
    """Raise ``DataError`` naming the ids that occur more than once."""
    if len(set(ids)) != len(ids):
        twice = [name for name, count in Counter(ids).items() if count > 1]
        raise DataError(f"{where}: duplicate {what} {first_few(twice)}")


def refuse(ids: Collection[str], problem: str, where: str) -> None:
    """Raise ``DataError`` if there are ``ids`` with a ``problem``."""
    if ids:
        raise DataError(f"{where}: {problem}: {first_few(ids)}")


def limited(samples: Sequence[SampleT], limit: int | None) -> tuple[SampleT, ...]:
    """Return the first ``limit`` samples; raises ``UsageError`` for a limit below 1."""
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit} leaves no samples; give 1 or more")
    return tuple(samples[:limit])


def pick_split(
    split: str | None, files: Mapping[str, Sequence[str]], default: Sequence[str], folder: LocalFolder, dataset: str
) -> tuple[str, str]:
    """Return the split and the file that holds it.

    ``files`` are the names under which each split may lie, ``default`` the order in which splits are looked for when
    none is named. Raises ``UsageError`` for an unknown split, ``DataError`` where no file is there.
    """
    if split is not None and split not in files:
        raise UsageError(f"unknown split {split!r} of {dataset}; it has: {', '.join(files)}")
    wanted = [split] if split is not None else list(default)
    for name in wanted:
        found = folder.first(*files[name])
        if found is not None:
            return name, found
    looked = first_few(dict.fromkeys(name for candidate in wanted for name in files[candidate]))
    raise DataError(
        f"no {dataset} annotations for split {' or '.join(wanted)} in {folder.describe('')}: looked for {looked}; "
        "check --data and --split"
    )
