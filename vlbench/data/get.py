"""Fetching official files: downloaded with resumption, unpacked member by member, recorded with their SHA-256.

What was fetched stands in ``ROOT/<dataset>/.vlbench-get.json``, so that an archive that was unpacked and removed is not
fetched again.
"""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vlbench.data.download import bar, download, file_sha256
from vlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vlbench.data.public import Archive, Recipe

RECORD = ".vlbench-get.json"


@dataclass(frozen=True)
class Got:
    """What came of one archive: ``status`` is ``fetched``, or ``here`` where nothing had to be done."""

    url: str
    folder: str
    status: str
    files: int
    bytes: int
    sha256: str


def get(root: Path, dataset: str, recipe: Recipe, mirror: str | None, say: Callable[[str], None]) -> list[Got]:
    """Make a split complete under ``root``; ``mirror`` takes the place of scheme and host of every address.

    Raises ``DataError`` where an archive cannot be had, is damaged, or the disk refuses; the same call resumes.
    """
    got = [_archive(root / archive.dataset, archive, mirror, say) for archive in recipe.archives]
    for folder in recipe.links:
        _link(root / dataset / folder, root / "coco" / folder)
    return got


def _archive(folder: Path, archive: Archive, mirror: str | None, say: Callable[[str], None]) -> Got:
    record = _read_record(folder / RECORD)
    key = f"{archive.url}#{archive.members}"
    known = record.get(key)
    if known and sum(1 for _ in folder.glob(archive.members)) >= known["files"]:
        return Got(archive.url, str(folder), "here", **known)
    path = folder / PurePosixPath(urlsplit(archive.url).path).name
    about = f" (about {archive.size / 1e9:.3g} GB)" if archive.size else ""
    say(f"fetching {archive.url}{about}")
    download(_address(archive.url, mirror), path, sha256=archive.sha256, progress=bar(path.name))
    try:
        files = _unpack(path, archive.members, folder)
        found: dict[str, Any] = {"files": files, "bytes": path.stat().st_size, "sha256": file_sha256(path)}
        (folder / RECORD).write_text(json.dumps(record | {key: found}, indent=1), encoding="utf-8")
        path.unlink()
    except OSError as error:
        raise DataError(f"{path} cannot be unpacked ({error.strerror or error}); the same command resumes") from error
    return Got(archive.url, str(folder), "fetched", **found)


def _address(url: str, mirror: str | None) -> str:
    return f"{mirror.rstrip('/')}{urlsplit(url).path}" if mirror else url


def _read_record(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _unpack(path: Path, members: str, folder: Path) -> int:
    """Write the members that match, each checked by its CRC and renamed when it is whole; return their number."""
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = [info for info in archive.infolist() if not info.is_dir() and fnmatch(info.filename, members)]
            for info in wanted:
                target = folder / _safe(info.filename, path)
                if target.is_file() and target.stat().st_size == info.file_size:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_name(target.name + ".part")
                with archive.open(info) as source, part.open("wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
                part.replace(target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        path.unlink()
        raise DataError(f"{path} was damaged ({error}) and is removed; run again to fetch it anew") from error
    if not wanted:
        raise DataError(f"{path} has no {members}; it is not the official archive")
    return len(wanted)


def _safe(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise DataError(f"{archive} has a member {name!r} that would be written outside its folder; do not use it")
    return path


def _link(link: Path, target: Path) -> None:
    """Let two datasets share their images."""
    if link.exists() or link.is_symlink():
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(PurePosixPath("..") / target.parent.name / target.name, target_is_directory=True)
