"""Hugging Face hub access without long waits and without tracebacks.

The hub's own client does the work (cache, revisions, resuming, tokens; ``HF_ENDPOINT``, ``HF_HOME``, ``HF_HUB_OFFLINE``
are its environment). Here is what it lacks: a hub that does not answer is found out within seconds, and each failure is
one line with the remedy.
"""

from __future__ import annotations

import contextlib
import re
import socket
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Repository:
    """A repository on the hub as messages name it; ``kind`` is ``model`` or ``dataset``.

    >>> print(Repository("openai/clip"), Repository("lmms-lab/NoCaps", "v1", "dataset"))
    openai/clip hf:lmms-lab/NoCaps@v1
    """

    name: str
    revision: str | None = None
    kind: str = "model"

    def __str__(self) -> str:
        """Return the form that ``--model`` or ``--data`` takes, with the revision."""
        scheme = "hf:" if self.kind == "dataset" else ""
        return f"{scheme}{self.name}@{self.revision}" if self.revision else f"{scheme}{self.name}"

    @property
    def page(self) -> str:
        """Its address."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"


def config_folder(repository: str, revision: str | None, name: str = "config.json") -> Path:
    """Return the local folder that holds the repository's configuration ``name``, fetched or from the cache.

    Raises ``ModelError`` with the reason and the remedy.
    """
    from huggingface_hub import hf_hub_download

    try:
        with no_long_wait():
            return Path(hf_hub_download(repository, name, revision=revision)).parent
    except Exception as error:
        raise ModelError(f"cannot load {reason(error, Repository(repository, revision))}") from error


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


def reason(error: BaseException, repository: Repository) -> str:
    """Say in one line that begins with the repository what went wrong: the hub's part in it, else the error itself."""
    return explain(error, repository) or f"{repository}: {first_line(error)}"


def explain(error: BaseException, repository: Repository) -> str | None:
    """Say in one line what a failure of the hub's client means and what to do; None where the hub has no part in it.

    Libraries wrap the client's exceptions in their own, so the whole chain of causes is looked at.
    """
    from huggingface_hub import constants, errors

    log_in = "`hf auth login` or HF_TOKEN"
    absent = (
        f"is not, or not wholly, in the cache {constants.HF_HUB_CACHE}, and the hub at {constants.ENDPOINT} cannot be "
        "reached; check the network, copy a cache that has it, or give a local folder"
    )
    meanings: tuple[tuple[type[BaseException], str], ...] = (
        (errors.GatedRepoError, f"is gated; accept its terms on {repository.page} and log in with {log_in}"),
        (errors.RevisionNotFoundError, f"is no revision that the hub has; see {repository.page}/commits"),
        (
            errors.RepositoryNotFoundError,
            f"is not on the hub, or is private; check the name on {repository.page}, or log in with {log_in}",
        ),
        (errors.LocalEntryNotFoundError, absent),
        (errors.OfflineModeIsEnabled, absent),
    )
    chain = _chain(error)
    for kind, meaning in meanings:
        if any(isinstance(one, kind) for one in chain):
            return f"{repository} {meaning}"
    if isinstance(error, errors.HFValidationError):
        return f"{repository} is not the name of a repository, which is org/name[@revision]"
    # A file that is not there says little in a chain: libraries probe for files that a repository need not have.
    answers = [one for one in chain if isinstance(one, errors.HfHubHTTPError)]
    if answers and (answers[0] is error or not isinstance(answers[0], errors.EntryNotFoundError)):
        status = getattr(answers[0].response, "status_code", "no status")
        return f"{repository} cannot be fetched from {repository.page} (HTTP {status}); try again later"
    if of_http_client(error):
        return (
            f"{repository} cannot be fetched from {constants.ENDPOINT} ({type(error).__name__}); "
            "check the network; the same command resumes the download"
        )
    return None


def of_http_client(error: BaseException) -> bool:
    """Tell whether the library let an exception of its HTTP client through; it changed that client between versions."""
    return type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "requests", "urllib3")


def _chain(error: BaseException) -> list[BaseException]:
    """Return the error and what it was raised from, or while handling."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain


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
