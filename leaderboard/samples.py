"""The per-sample table beside a result: rows of scores to a Parquet file and back.

One row a sample. Columns: ``sample_id``, ``image_id``, ``response``, ``status``, ``reason``, then slices, per-sample
metrics and sufficient statistics under their own names; null where a row has no such value. The metadata of a column
tell what it is, so that rows can be read back as they were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from vlbench.errors import DataError
from vlbench.types import SampleRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

ROW_GROUP = 1 << 16
"""Rows that a reader can take without the others."""
TEXTS = ("sample_id", "image_id", "response", "status", "reason")
KINDS = ("slices", "scores", "statistics")
_KIND, _NAME, _ENCODING = b"vlbench.kind", b"vlbench.name", b"vlbench.encoding"


@dataclass
class _Column:
    """Values of one column; ``kinds`` are the parts of a row that it stands for, ``name`` its name there."""

    name: str
    kinds: list[str]
    values: list[Any]


def write_rows(rows: Sequence[SampleRow], file: BinaryIO, compression: str = "snappy") -> None:
    """Write ``rows`` as Parquet into an open file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = []
    arrays = []
    for title, column in _columns(rows).items():
        array, encoding = _array(column.values)
        metadata = {_KIND: ",".join(column.kinds), _NAME: _text(column.name), _ENCODING: encoding}
        fields.append(pa.field(title, array.type, metadata=metadata if column.kinds else None))
        arrays.append(array)
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    pq.write_table(table, file, compression=compression, row_group_size=ROW_GROUP)


def read_rows(path: Path, content: BinaryIO | None = None) -> list[SampleRow]:
    """Read the rows of a file that ``write_rows`` wrote; raises ``DataError`` naming the file where it is none.

    ``content`` is what was read already, of a table within the file ``path``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with content or path.open("rb") as file:
            table = pq.read_table(file)
        values: list[dict[str, Any]] = [{kind: {} for kind in KINDS} for _ in range(table.num_rows)]
        for field, column in zip(table.schema, table.columns, strict=True):
            metadata = field.metadata or {}
            kinds = metadata.get(_KIND, b"").decode().split(",") if _KIND in metadata else []
            decode = json.loads if metadata.get(_ENCODING) == b"json" else _same
            for row, value in zip(values, column.to_pylist(), strict=True):
                if not kinds:
                    row[field.name] = value
                elif value is not None:
                    for kind in kinds:
                        row[kind][metadata[_NAME].decode()] = decode(value)
        return [SampleRow(**row) for row in values]
    except FileNotFoundError as error:
        raise DataError(f"{path} is not a table of samples: it is missing, and belongs beside its result") from error
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a table of samples ({type(error).__name__}: {error})") from error


def _columns(rows: Sequence[SampleRow]) -> dict[str, _Column]:
    """Return the columns by title, in the order in which the rows name them."""
    columns = {name: _Column(name, [], [_text(getattr(row, name)) for row in rows]) for name in TEXTS}
    for kind in KINDS:
        parts: list[Mapping[str, Any]] = [getattr(row, kind) for row in rows]
        for name in dict.fromkeys(name for part in parts for name in part):
            values = [_plain(part.get(name)) for part in parts]
            title = _text(name)
            there = columns.get(title)
            # A per-sample metric can be its own statistic (CIDEr): one column stands for both.
            if there is not None and there.kinds and there.values == values:
                there.kinds.append(kind)
                continue
            columns[title if there is None else f"{kind}/{title}"] = _Column(name, [kind], values)
    return columns


def _array(values: Sequence[Any]) -> tuple[pa.Array, str]:
    """Return the values in Arrow's own types where these hold them unchanged, else as JSON texts."""
    import pyarrow as pa

    kinds = {type(value) for value in values} - {type(None)}
    if not kinds:
        return pa.nulls(len(values), pa.string()), "plain"
    try:
        array = pa.array(values)
        # Arrow gives objects of different keys all of the keys, and Parquet has no place for an object of none.
        if kinds <= {int, float} or len(kinds) == 1 and (kinds <= {str, bool} or _fits(values, array.to_pylist())):
            return array, "plain"
    except (pa.ArrowException, OverflowError, TypeError):
        pass
    texts = [None if value is None else json.dumps(value, sort_keys=True, default=str) for value in values]
    return pa.array(texts, pa.string()), "json"


def _fits(value: Any, stored: Any) -> bool:
    """Tell whether ``stored`` is ``value``, except that integers may have become floats."""
    if isinstance(value, dict) and isinstance(stored, dict):
        return bool(value) and value.keys() == stored.keys() and all(_fits(value[k], stored[k]) for k in value)
    if isinstance(value, list) and isinstance(stored, list):
        return len(value) == len(stored) and all(map(_fits, value, stored))
    return bool(value == stored or (value != value and stored != stored))


def _plain(value: Any) -> Any:
    """Return ``value`` in Python's own types: no arrays, numbers of numpy or tuples."""
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {_text(str(name)): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    """Return ``text`` as UTF-8 can hold it: a model may have written half of a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _same(value: Any) -> Any:
    return value
