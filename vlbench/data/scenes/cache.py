"""The benchmark on disk, drawn once for each user and version."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from vlbench.data.scenes.draw import VERSION
from vlbench.data.scenes.write import DATASETS, publish, write_official
from vlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MANIFEST = "manifest.json"
_TRAIN_COUNT = 1000


def cache_folder() -> Path:
    """Return ``$VLBENCH_CACHE``, else ``$XDG_CACHE_HOME/vlbench``, else ``~/.cache/vlbench``."""
    if own := os.environ.get("VLBENCH_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "vlbench"


def folder_name() -> str:
    """Return the name of the benchmark's folder: the version and a digest of the code that draws it."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return f"scenes-{VERSION}-{digest.hexdigest()[:12]}"


def ensure(cache_dir: Path | None = None, labelled: str = "test") -> Path:
    """Return the folder that holds ``coco``, ``flickr30k``, ``vqa``, ``vcr`` and ``visual_genome``; draw it if needed.

    It has the val and test scenes, and of 1,000 train scenes the annotations. Many processes may call this at once:
    one draws, the others wait; a folder that lost files is drawn anew. Raises ``DataError`` where the cache cannot
    be written. With ``labelled`` "val" it is another folder, where val scenes stand for the test scenes.
    """
    try:
        name = folder_name() if labelled == "test" else f"{folder_name()}-{labelled}"
        folder = (cache_dir or cache_folder()) / name
        if not is_complete(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _lock(folder.parent / f"{folder.name}.lock"):
                if not is_complete(folder):
                    _draw(folder, labelled)
        return folder
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        where = getattr(error, "filename", None) or cache_dir or "the user's cache folder"
        raise DataError(
            f"scenes cannot be drawn into {where} ({reason}); set VLBENCH_CACHE to a folder that can be written"
        ) from error


def is_complete(folder: Path) -> bool:
    """Tell whether every file that was written is there with its size."""
    try:
        sizes = json.loads((folder / _MANIFEST).read_bytes())
        return bool(sizes) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _draw(folder: Path, labelled: str) -> None:
    """Draw the benchmark. The lock is held, so that what lies beside the folder was left by a process that died."""
    for leftover in folder.parent.glob(f".*{folder.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    token = secrets.token_hex(4)
    part, stale = (folder.with_name(f".{folder.name}.{token}.{kind}") for kind in ("part", "stale"))
    try:
        splits = ("train", "val", "test") if labelled == "test" else ("train", labelled)
        write_official(part, splits=splits, train_count=_TRAIN_COUNT, train_images=False, labelled=labelled)
        sizes = {
            str(path.relative_to(part)): path.stat().st_size
            for name in DATASETS
            for path in sorted((part / name).rglob("*"))
            if path.is_file()
        }
        (part / _MANIFEST).write_text(json.dumps(sizes), encoding="utf-8")
        if folder.exists():
            folder.rename(stale)
        publish(part, folder)
    finally:
        for leftover in (part, stale):
            shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; it goes with the process that held it, however that ends."""
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
