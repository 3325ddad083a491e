"""Bring the result folders of several machines together.

A file's name tells the evaluation (``vlbench.leaderboard.store.stem``), so two files of one name are the same
evaluation made twice. One of them is kept by a total order, whatever the order of the folders and however often they
are merged: fewer failed samples first, then the later one, then the greater run id.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from vlbench.errors import DataError
from vlbench.leaderboard.store import SUBMISSION_MARK, find_results, samples_path, stem, whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vlbench.result import Result


def merge(folders: Sequence[Path], output: Path) -> tuple[int, int]:
    """Copy the results of ``folders`` into ``output`` with what lies beside them; return how many came and are there.

    Results that are in ``output`` already take part. Raises ``DataError`` where a file cannot be read or written.
    """
    there = [output] if output.is_dir() and any(output.glob("*.json")) else []
    chosen: dict[str, tuple[Path, Result]] = {}
    for path, result in find_results([*there, *folders]):
        other = chosen.get(stem(result))
        if other is None or _rank(result) > _rank(other[1]):
            chosen[stem(result)] = (path, result)
    came = 0
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, (path, _) in chosen.items():
            if path.parent.resolve() != output.resolve():
                _copy(path, output / f"{name}.json")
                came += 1
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot write {output} ({reason}); make room, or choose another --output") from error
    return came, len(chosen)


def _rank(result: Result) -> tuple[int, str, str]:
    return -result.samples.failed, result.created, result.run_id


def _copy(path: Path, target: Path) -> None:
    """Copy a result, the table of its samples first, so that a result file never lacks its samples for long."""
    own = path.name.removesuffix(".json")
    pairs = [(samples_path(path), samples_path(target))]
    for beside in path.parent.glob(f"{own}{SUBMISSION_MARK}*"):
        pairs.append((beside, target.with_name(f"{target.stem}{beside.name.removeprefix(own)}")))
    for source, copy in [*pairs, (path, target)]:
        if source.is_file():
            with source.open("rb") as file, whole_file(copy) as made:
                shutil.copyfileobj(file, made)
        else:
            # A table that is left of the result that had this name would belong to another one.
            copy.unlink(missing_ok=True)
