"""Region features and object tags in the TSV layout of Oscar and VinVL, and the names of their answers."""

from __future__ import annotations

import base64
import binascii
import json
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vlbench.errors import DataError, ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Regions(NamedTuple):
    """What a detector saw: float32 features (n, d), and the names of the objects joined by blanks."""

    features: np.ndarray
    tags: str


class RegionFolder:
    """A folder with one ``*feature*.tsv`` and, for the tags, one ``*label*.tsv`` or ``predictions.tsv``.

    A line of features is ``key, {"num_boxes": n, "features": base64}`` or ``key, n, base64`` of float32 (n, ``width``);
    one of labels is ``key, [{"class": name, …}]``. Raises ``ModelError`` where files are missing or ambiguous.
    """

    def __init__(self, folder: Path, width: int) -> None:
        """Read the indices; of the features no more than ``.lineidx`` and ``imageid2idx.json`` where both are there."""
        if not folder.is_dir():
            raise ModelError(f"--model-arg features={folder} is not a folder")
        found = sorted(folder.glob("*feature*.tsv"))
        if len(found) != 1:
            raise ModelError(f"{folder} has {len(found)} files *feature*.tsv; there must be one")
        self._width = width
        self._features = found[0]
        self._places = _places(found[0], folder / "imageid2idx.json")
        labels = sorted({*folder.glob("*label*.tsv"), *folder.glob("predictions.tsv")})
        if len(labels) > 1:
            raise ModelError(f"{folder} has {len(labels)} files of labels, {labels[0].name} and {labels[1].name}")
        self._labels = labels[0] if labels else None
        self._label_places = _places(labels[0]) if labels else {}

    def describe(self) -> str:
        """Return names, sizes and times of the files: new features of the same boxes have the same size."""
        files = [path for path in (self._features, self._labels) if path is not None]
        return ", ".join(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files)

    def some(self, count: int) -> list[str]:
        """Return the names of a few images that have regions, as files."""
        known = (key for key in self._places if self._labels is None or key in self._label_places)
        return [f"{key}.png" for key, _ in zip(known, range(count), strict=False)]

    def of(self, name: str) -> Regions:
        """Return the regions of an image file; raises ``DataError`` where they are missing or malformed.

        An image's key is its file's stem, or the number at the end of the stem (``COCO_val2014_000000000042``: 42).
        """
        stem = Path(name).stem
        number = re.search(r"\d+$", stem)
        keys = list(dict.fromkeys([stem, str(int(number.group()))] if number else [stem]))
        key = next((key for key in keys if key in self._places), None)
        if key is None:
            raise DataError(f"{self._features} has no features of image {name} (keys tried: {', '.join(keys)})")
        return Regions(self._read(key), self._tags(key))

    def _read(self, key: str) -> np.ndarray:
        fields = _line(self._features, self._places[key], key)
        try:
            if len(fields) == 1:
                row = json.loads(fields[0])
                boxes, text = int(row["num_boxes"]), row["features"]
            else:
                boxes, text = int(fields[0]), fields[1]
            flat = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4")
            return flat.reshape(boxes, self._width).copy()
        except (ValueError, KeyError, TypeError, IndexError, binascii.Error) as error:
            raise DataError(f"{self._features}: the features of {key} are not n x {self._width} ({error})") from error

    def _tags(self, key: str) -> str:
        if self._labels is None:
            return ""
        if key not in self._label_places:
            raise DataError(f"{self._labels} has no labels of {key}")
        try:
            return " ".join(row["class"] for row in json.loads(_line(self._labels, self._label_places[key], key)[0]))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(f"{self._labels}: the labels of {key} are malformed ({error})") from error


def _line(path: Path, offset: int, key: str) -> list[str]:
    """Return the columns behind the key of the line at a byte offset."""
    with path.open("rb") as file:
        file.seek(offset)
        first, *fields = file.readline().decode("utf-8", "replace").rstrip("\r\n").split("\t")
    if first != key:
        raise DataError(f"{path}: the line of {key} is of {first[:40]!r}; its index belongs to another file")
    return fields


def _places(path: Path, order: Path | None = None) -> Mapping[str, int]:
    """Return the byte offset of each key's line; raises ``ModelError`` where an index is malformed."""
    offsets = path.with_suffix(".lineidx")
    try:
        if order is not None and order.is_file() and offsets.is_file():
            lines = [int(line) for line in offsets.read_text(encoding="utf-8").split()]
            return {str(key): lines[int(n)] for key, n in json.loads(order.read_text(encoding="utf-8")).items()}
        found, offset = {}, 0
        with path.open("rb") as file:
            for line in file:
                found[line.split(b"\t", 1)[0].decode("utf-8", "replace")] = offset
                offset += len(line)
    except (OSError, ValueError, IndexError, AttributeError, TypeError) as error:
        raise ModelError(f"cannot read the index of {path}: {error}") from error
    return found


class _Plain(pickle.Unpickler):
    """Knows lists, dictionaries, texts and numbers; whatever asks for a class or a function is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_answers(path: Path) -> list[str]:
    """Return what the outputs of a question head mean, in their order; raises ``ModelError``.

    The file is the authors' ``*_ans2label.pkl``, or the same as JSON: answers as keys, or a list. Output n is entry n
    of the file whatever number stands there, as in the authors' training.
    """
    try:
        with path.open("rb") as file:
            found = json.load(file) if path.suffix == ".json" else _Plain(file, encoding="utf-8").load()
    except OSError as error:
        raise ModelError(f"cannot read --model-arg answers={path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle raises whatever comes
        raise ModelError(f"{path} is not a file of answers ({str(error)[:200]})") from error
    answers = list(found) if isinstance(found, dict | list) else []
    if not answers or not all(isinstance(answer, str) for answer in answers):
        raise ModelError(f"{path} is neither answers with their numbers nor a list of answers")
    return answers
