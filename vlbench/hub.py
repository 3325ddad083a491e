"""Hugging Face hub access without long waits and without tracebacks.

The hub's own client does the work (cache, revisions, resuming, tokens; ``HF_ENDPOINT``, ``HF_HOME``, ``HF_HUB_OFFLINE``
are its environment). Here is what it lacks: a hub that does not answer is found out within seconds, and each failure is
one line with the remedy.
"""

from __future__ import annotations

import contextlib
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from vlbench.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
ANSWER_SECONDS = 5.0


def is_repository(name: str) -> bool:
    """Tell whether ``name`` has the form of a hub repository.

    >>> is_repository("openai/clip-vit-base-patch32"), is_repository("./runs/tiny"), is_repository("clip-vit-b16")
    (True, False, False)
    """
    return _REPOSITORY.fullmatch(name) is not None


@contextlib.contextmanager
def no_long_wait() -> Iterator[None]:
    """Go offline where the hub does not answer within a few seconds; its client would retry for minutes."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def config_folder(repository: str, revision: str | None, name: str = "config.json") -> Path:
    """Return the local folder that holds the repository's configuration ``name``, fetched or from the cache.

    Raises ``ModelError`` with the reason and the remedy.
    """
    from huggingface_hub import hf_hub_download

    try:
        with no_long_wait():
            return Path(hf_hub_download(repository, name, revision=revision)).parent
    except Exception as error:
        raise ModelError(f"cannot load {repository}: {reason(error, revision)}") from error


def stored_files(checkpoint: str, revision: str | None) -> list[Path]:
    """Return the files of a checkpoint that are on this machine: a folder's, one file, or a cached repository's."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    path = Path(checkpoint)
    if not path.exists() and is_repository(checkpoint):
        try:
            path = Path(snapshot_download(checkpoint, revision=revision, local_files_only=True))
        except (LocalEntryNotFoundError, HfHubHTTPError, ValueError, OSError):
            return []
    if path.is_file():
        return [path]
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() and checkpoint else []


def reason(error: BaseException, revision: str | None = None) -> str:
    """Say in one line what a failure of the hub's client means, and what to do."""
    from huggingface_hub import errors

    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for kind, meaning in (
        (errors.GatedRepoError, "the repository is gated; accept its terms on the hub and log in (hf auth login)"),
        (errors.RevisionNotFoundError, f"the repository has no revision {revision!r}; see its branches and tags"),
        (errors.RepositoryNotFoundError, "the hub has no such repository, or it is private; log in (hf auth login)"),
        (errors.EntryNotFoundError, None),
        (errors.OfflineModeIsEnabled, None),
    ):
        found = next((e for e in chain if isinstance(e, kind)), None)
        if found is not None and not isinstance(found, errors.LocalEntryNotFoundError):
            if meaning is not None:
                return meaning
            break
    if any(isinstance(e, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled) for e in chain):
        return (
            "the hub does not answer and the files are not in the cache; fill the cache on a machine with network "
            "(HF_HOME), or give a local folder"
        )
    return first_line(error)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, 200 characters at most."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def _answers(endpoint: str) -> bool:
    parts = urlsplit(endpoint)
    proxy = getproxies().get(parts.scheme) or getproxies().get("all")
    if proxy and not proxy_bypass(parts.hostname or ""):
        # The client goes through the proxy, so it is the proxy that must answer.
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=ANSWER_SECONDS).close()
    except OSError:
        return False
    return True
