"""Files of a repository on the Hugging Face hub, kept in the hub's own cache; each failure is one line with its remedy.

``HF_ENDPOINT`` names another server, ``HF_HUB_CACHE`` another cache, ``HF_HUB_OFFLINE=1`` forbids the network.
"""

from __future__ import annotations

import contextlib
import logging
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vlbench import hub
from vlbench.data.download import bar, download
from vlbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

KIND = "dataset"
TIMEOUT = 4.0
"""Seconds without an answer after which the hub counts as out of reach."""

_SHARD = re.compile(r"(.*)-\d{5}-of-(\d{5})(\.\w+)")


def fetch(repo: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """Return the folder of a dataset's snapshot with the files that match ``patterns``; its name is the commit.

    Files that are in the cache are not fetched again, an interrupted download goes on where it stopped, and where the
    hub is out of reach the cache is used. Raises ``DataError`` with the remedy where the repository, the revision or a
    file cannot be had.
    """
    import huggingface_hub

    repository = hub.Repository(repo, revision, KIND)
    with _quiet(), _explained(repository):
        reached = True
        try:
            found = huggingface_hub.HfApi().repo_info(repo, repo_type=KIND, revision=revision, timeout=TIMEOUT)
            for name in sorted(file.rfilename for file in getattr(found, "siblings", None) or ()):
                if any(fnmatch(name, pattern) for pattern in patterns):
                    _fetch_file(repo, name, str(found.sha))
        except Exception as error:
            if not _out_of_reach(error):
                raise
            reached = False
        # All is there: what is left to the library is to link the files into the snapshot, or to find it.
        folder = huggingface_hub.snapshot_download(
            repo,
            repo_type=KIND,
            revision=revision,
            allow_patterns=list(patterns),
            etag_timeout=TIMEOUT,
            local_files_only=not reached,
        )
    snapshot = Path(folder)
    _check_complete(snapshot, matching(snapshot, patterns), str(repository))
    return snapshot


def _fetch_file(repo: str, name: str, commit: str) -> None:
    """Put a file under its hash into the hub's cache.

    The library would do it too, but it begins a file again that another process left unfinished, and waits for a minute
    for a server that fails.
    """
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    if isinstance(huggingface_hub.try_to_load_from_cache(repo, name, repo_type=KIND, revision=commit), str):
        return
    url = huggingface_hub.hf_hub_url(repo, name, repo_type=KIND, revision=commit)
    file = huggingface_hub.get_hf_file_metadata(url, timeout=TIMEOUT)
    etag, address = file.etag or "", file.location or url
    # Large files lie on another host, whose address is signed: the token must not go there.
    same = urlsplit(address).netloc == urlsplit(url).netloc
    secret = huggingface_hub.get_token() if same else None
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type=KIND)
    # The tag of a large file is its SHA-256.
    known = etag if re.fullmatch("[0-9a-f]{64}", etag) else None
    download(address, folder / "blobs" / etag, sha256=known, headers=headers, progress=bar(name))


def _out_of_reach(error: Exception) -> bool:
    """Tell whether the hub did not answer, or not as a working hub does."""
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return getattr(error.response, "status_code", 0) >= 500
    return isinstance(error, errors.OfflineModeIsEnabled) or hub.of_http_client(error)


def matching(snapshot: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files of a snapshot that match one of ``patterns``, by name."""
    names = [str(path.relative_to(snapshot)) for path in sorted(snapshot.rglob("*")) if path.is_file()]
    return [snapshot / name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]


def _check_complete(snapshot: Path, files: Sequence[Path], where: str) -> None:
    """Older versions of the hub's library return a cached snapshot that an interrupted download left incomplete."""
    names = {path.name for path in files}
    for path in files:
        shard = _SHARD.fullmatch(path.name)
        if shard is not None:
            stem, count, suffix = shard[1], int(shard[2]), shard[3]
            missing = [name for k in range(count) if (name := f"{stem}-{k:05d}-of-{count:05d}{suffix}") not in names]
            if missing:
                raise DataError(
                    f"{where}: {len(missing)} of {count} files are not in the cache {snapshot}, first {missing[0]}; "
                    "run again with a network"
                )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's warnings out of an error that is one line, and its bars away: nothing is left to fetch."""
    from huggingface_hub.utils import logging as hub_logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    level = hub_logging.get_verbosity()
    hide = not are_progress_bars_disabled()
    hub_logging.set_verbosity(logging.ERROR)
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        hub_logging.set_verbosity(level)
        if hide:
            enable_progress_bars()


@contextlib.contextmanager
def _explained(repository: hub.Repository) -> Iterator[None]:
    """Turn the library's exceptions into a ``DataError`` of one line."""
    try:
        yield
    except Exception as error:
        line = hub.explain(error, repository)
        if line is None and isinstance(error, OSError):
            reason = error.strerror or type(error).__name__
            line = f"{repository} cannot be fetched ({reason}); the same command resumes the download"
        if line is None:
            raise
        raise DataError(line) from error
