"""A leaderboard is a folder of result files; this module names, writes and reads them.

Names follow from what was evaluated, so that an evaluation that is done is found again and many processes can write
into one folder at once. Files appear whole or not at all: they are written under a temporary name in the same folder,
forced to the disk, and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vlbench.errors import DataError, EvaluationFailed
from vlbench.leaderboard.samples import write_rows
from vlbench.result import Result, read_result
from vlbench.types import content_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vlbench.types import SampleRow

HASH_DIGITS = 16
NAME_LENGTH = 80
SAMPLES_SUFFIX = ".samples.parquet"
SUBMISSION_MARK = ".submission."
SHOWN = 5


def stem(result: Result) -> str:
    """Return the file stem of a result: ``<model>.<task>.<16 hex digits>``.

    The digits hash what identifies an evaluation: model name, fingerprint, adapter, dtype and preprocessing, settings,
    and signature. They are known before anything is computed; run id, times, cost, environment and command are not
    among them.
    """
    model = result.model
    identity = content_key(
        model.name,
        model.fingerprint,
        model.adapter,
        model.dtype,
        model.preprocessing,
        # As it will stand in the file: a tuple comes back from JSON as a list, and must hash like one.
        json.loads(json.dumps(result.settings, default=_native)),
        result.signature,
    )
    return f"{file_safe(model.name)}.{file_safe(result.task.name)}.{identity[:HASH_DIGITS]}"


def file_safe(name: str) -> str:
    """Return ``name`` as a part of a file name: letters, digits, ``_``, ``-`` and ``+``, of bounded length.

    >>> file_safe("open_clip:ViT-B-32/laion2b_s34b"), file_safe("qwen2.5-vl")
    ('open_clip_ViT-B-32_laion2b_s34b', 'qwen2_5-vl')
    """
    return re.sub(r"[^A-Za-z0-9_+-]+", "_", name)[:NAME_LENGTH].strip("_") or "unnamed"


def samples_path(path: Path) -> Path:
    """Return where the per-sample table of a result file lies."""
    return path.with_name(path.name.removesuffix(".json") + SAMPLES_SUFFIX)


def write_result(folder: Path, result: Result, rows: Sequence[SampleRow]) -> Path:
    """Write a result and its per-sample table into ``folder``, and return the path of the result file.

    The table comes first, so that a result file never lacks its samples. Raises ``DataError`` where the disk refuses,
    ``EvaluationFailed`` for a metric that is not a finite number and for a missing primary one.
    """
    path = folder / f"{stem(result)}.json"
    text = _document(result)
    with _refusals(path):
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(samples_path(path)) as file:
            write_rows(rows, file)
        with whole_file(path) as file:
            file.write(text.encode())
    return path


def submission_path(folder: Path, result: Result, name: str) -> Path:
    """Return where a file for an evaluation server lies: beside the result, under its stem."""
    return folder / f"{stem(result)}{SUBMISSION_MARK}{name}"


def write_file(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; raises ``DataError`` where the disk refuses."""
    with _refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(content)


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into one clear line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot write {path} ({reason}); make room, or choose another place") from error


def load_results(paths: Path | Sequence[Path]) -> list[Result]:
    """Read result files, and those that lie directly in folders, in the order of paths and names.

    Copies of one result count once. Raises ``DataError`` where a path does not exist, a folder holds no result, or
    files cannot be read; the first of these are named.
    """
    return [result for _, result in find_results(paths)]


def find_results(paths: Path | Sequence[Path]) -> list[tuple[Path, Result]]:
    """Return what ``load_results`` does, each with its file."""
    files: list[Path] = []
    for path in [paths] if isinstance(paths, Path) else paths:
        files += _result_files(path)
    results: dict[tuple[str, str], tuple[Path, Result]] = {}
    broken: list[str] = []
    for file in dict.fromkeys(files):
        try:
            result = read_result(file)
            results.setdefault((result.run_id, stem(result)), (file, result))
        except DataError as error:
            broken.append(str(error))
    if broken:
        more = f"; and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        shown = "; ".join(broken[:SHOWN])
        raise DataError(f"{len(broken)} of {len(files)} files cannot be read, mend or remove them: {shown}{more}")
    return list(results.values())


def result_files(path: Path) -> list[Path]:
    """Return ``path`` where it is a file, else the results that lie directly in that folder; none where there is none.

    A folder that does not exist has none.
    """
    if path.is_file():
        return [path]
    return sorted(
        file for file in path.glob("*.json") if not file.name.startswith(".") and SUBMISSION_MARK not in file.name
    )


def _result_files(path: Path) -> list[Path]:
    files = result_files(path)
    if not path.exists():
        raise DataError(f"there is no result file or folder {path}; `vlbench run --output {path}` makes one")
    if not files:
        raise DataError(f"folder {path} holds no results (*.json); `vlbench run --output {path}` writes some")
    return files


def _document(result: Result) -> str:
    if result.primary_metric not in result.metrics:
        raise EvaluationFailed(f"{result.task.name} gave no value for its primary metric {result.primary_metric}")
    for name, metric in result.metrics.items():
        if metric.value is not None and not math.isfinite(metric.value):
            raise EvaluationFailed(
                f"{result.task.name} gave {metric.value} for {name}; "
                "a metric that cannot be had must be None with a reason"
            )
    return json.dumps(result.to_json(), indent=2, default=_native) + "\n"


def _native(value: Any) -> Any:
    """Turn numbers and arrays of numpy into Python's, and anything else that JSON lacks into text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` when the block ends well, and vanishes when it does not."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename durable, where the file system can do that for folders."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
