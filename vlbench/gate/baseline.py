"""Baseline files: what a later result of a task is checked against, kept in the user's repository.

One ZIP file a task, ``<task>.baseline.zip``, with two results: the *baseline*, which moves with every accepted change,
and the *anchor*, which stays, so that many small drops do not pass one by one. Each is the result's JSON document and
its rows (scores, slices and statistics, no responses) as compressed Parquet. Equal results make equal bytes.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlbench.errors import DataError, UsageError
from vlbench.leaderboard.samples import read_rows, write_rows
from vlbench.leaderboard.store import file_safe, write_file
from vlbench.leaderboard.verify import verify_rows
from vlbench.result import Result
from vlbench.stats.compare import refuse_other_signature

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vlbench.types import SampleRow

SUFFIX = ".baseline.zip"
BASELINE, ANCHOR = "baseline", "anchor"
_EPOCH = (1980, 1, 1, 0, 0, 0)
# RuntimeError: what is encrypted, or compressed in another way.
_UNREADABLE = (
    *(OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error),
    *(AttributeError, LookupError, TypeError, ValueError),
)


@dataclass(frozen=True)
class Scored:
    """A result with its rows."""

    result: Result
    rows: Sequence[SampleRow]


@dataclass(frozen=True)
class Baseline:
    """The moving baseline and the fixed anchor of one task."""

    baseline: Scored
    anchor: Scored

    @property
    def moved(self) -> bool:
        """Whether the baseline is no longer the anchor."""
        return self.baseline.result.run_id != self.anchor.result.run_id


def baseline_path(folder: Path, task: str) -> Path:
    """Return where the baseline of ``task`` lies in ``folder``."""
    return folder / f"{file_safe(task)}{SUFFIX}"


def find_baselines(path: Path) -> dict[str, Baseline]:
    """Read a baseline file, or those of a folder, by the name of the task; raises ``DataError`` where there is none."""
    files = [path] if path.is_file() else sorted(path.glob(f"*{SUFFIX}"))
    if not files:
        raise DataError(f"there is no baseline in {path}; `vlbench baseline write RESULT --baseline {path}` makes one")
    found: dict[str, tuple[Path, Baseline]] = {}
    for file in files:
        one = read_baseline(file)
        task = one.baseline.result.task.name
        if task in found:
            raise DataError(f"{found[task][0]} and {file} are both baselines of {task}; remove one of them")
        found[task] = file, one
    return {task: one for task, (_, one) in found.items()}


def read_baseline(path: Path) -> Baseline:
    """Read one file; raises ``DataError`` naming it where it is not one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return Baseline(*(_read(archive, name, path) for name in (BASELINE, ANCHOR)))
    except _UNREADABLE as error:
        raise DataError(f"{path} is not a baseline file ({type(error).__name__}: {error})") from error


def faults(path: Path, found: Baseline) -> list[str]:
    """Return what is wrong with a baseline of the file ``path``, in words: nothing where scores give the metrics."""
    same = found.anchor.result.signature == found.baseline.result.signature
    wrong = [] if same else ["baseline and anchor have different signatures"]
    for name, scored in ((BASELINE, found.baseline), (ANCHOR, found.anchor)):
        wrong += [f"{name}: {line}" for line in verify_rows(path, scored.result, scored.rows).wrong]
    return wrong


def _read(archive: zipfile.ZipFile, name: str, path: Path) -> Scored:
    result = Result.from_json(json.loads(archive.read(f"{name}.json")))
    return Scored(result, read_rows(path, io.BytesIO(archive.read(f"{name}.parquet"))))


def write_baseline(folder: Path, scored: Scored, force: bool = False) -> Path:
    """Make ``scored`` baseline and anchor of its task; raises ``UsageError`` where there is one, unless ``force``."""
    path = baseline_path(folder, scored.result.task.name)
    if path.exists() and not force:
        raise UsageError(f"{path} exists; `vlbench baseline update` moves it, --force begins anew with another anchor")
    return _write(path, Baseline(scored, scored))


def update_baseline(folder: Path, scored: Scored) -> Path:
    """Move the baseline to ``scored`` and keep the anchor; raises ``NotComparable`` for another signature."""
    path = baseline_path(folder, scored.result.task.name)
    if not path.exists():
        raise UsageError(f"there is no {path}; `vlbench baseline write` makes it")
    anchor = read_baseline(path).anchor
    refuse_other_signature(anchor.result, scored.result)
    return _write(path, Baseline(scored, anchor))


def _write(path: Path, made: Baseline) -> Path:
    for scored in (made.baseline, made.anchor):
        if scored.result.samples.failed:
            raise UsageError(
                f"{scored.result.samples.failed} samples of {scored.result.task.name} failed; no baseline is made of it"
            )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, scored in ((BASELINE, made.baseline), (ANCHOR, made.anchor)):
            # Machine and command tell nothing about quality, and a repository may be public.
            kept = dataclasses.replace(scored.result, environment={}, command=())
            _add(archive, f"{name}.json", json.dumps(kept.to_json(), indent=1).encode())
            rows = io.BytesIO()
            write_rows([dataclasses.replace(row, response="", reason="") for row in scored.rows], rows, "zstd")
            _add(archive, f"{name}.parquet", rows.getvalue())
    write_file(path, buffer.getvalue())
    return path


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, content)
