"""A server on this machine that speaks as much of the hub's protocol as ``huggingface_hub`` asks for.

::

    with HubServer() as hub:
        hub.push("org/name", {"README.md": b"...", "data/test-00000-of-00001.parquet": b"..."})
        hub.environment(tmp_path)  # HF_ENDPOINT and an empty cache, for a process of its own

``hub.gated``, ``hub.break_after``, ``hub.silent`` and ``hub.requests`` make and show what goes wrong.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOKEN = "hf_good"
_KIND = r"(?P<kind>datasets|models)"
_REPO = r"(?P<repo>[^/]+/[^/]+)"


class HubServer:
    """Repositories by kind and name, each with its commits; see the module."""

    def __init__(self) -> None:
        self.commits: dict[tuple[str, str], dict[str, Mapping[str, bytes]]] = {}
        self.refs: dict[tuple[str, str], dict[str, str]] = {}
        self.files: dict[str, bytes] = {}
        """Plain files by path, for downloads that have nothing to do with a hub."""
        self.gated: set[str] = set()
        self.broken: set[str] = set()
        self.break_after: int | None = None
        """Bytes after which a download of a file breaks off; None for never."""
        self.silent = threading.Event()
        """Set: every request is accepted and never answered."""
        self.requests: list[tuple[str, str, str]] = []
        """Method, path and Range header of each request."""
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Refuse all further connections, as a machine without a network does."""
        if not self._stopped.is_set():
            self._stopped.set()
            self.silent.clear()
            self._server.shutdown()
            self._server.server_close()

    def push(self, repo: str, files: Mapping[str, bytes], *, kind: str = "datasets", revision: str = "main") -> str:
        """Make a commit of all ``files``, let ``revision`` point to it, and return its hash."""
        key = (kind, repo)
        state = repr((key, len(self.commits.get(key, {})), sorted(files.items())))
        sha = hashlib.sha1(state.encode()).hexdigest()
        self.commits.setdefault(key, {})[sha] = dict(files)
        self.refs.setdefault(key, {})[revision] = sha
        return sha

    def environment(self, cache: Path) -> dict[str, str]:
        """Return the variables that send a process to this server with a cache of its own and no token."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(cache),
            "HF_HUB_CACHE": str(cache / "hub"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0",
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: HubServer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error of the test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:  # noqa: N802
        self._answer()

    def do_HEAD(self) -> None:  # noqa: N802
        self._answer()

    def do_POST(self) -> None:  # noqa: N802
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer()

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the output of tests clean."""

    def _answer(self) -> None:
        hub = self.server.hub
        path = urllib.parse.unquote(self.path.partition("?")[0])
        hub.requests.append((self.command, path, self.headers.get("Range", "")))
        while hub.silent.is_set():
            hub.silent.wait(0.05)
            threading.Event().wait(0.05)
        if path in hub.files:
            self._bytes(hub.files[path], "")
        elif found := re.fullmatch(rf"/api/{_KIND}/{_REPO}(?:/(?P<what>revision|tree|paths-info)/(?P<rest>.+))?", path):
            self._api(found["kind"], found["repo"], found["what"] or "revision", found["rest"] or "main")
        elif found := re.fullmatch(rf"/(?:(?P<kind>datasets)/)?{_REPO}/resolve/(?P<rest>.+)", path):
            self._file(found["kind"] or "models", found["repo"], found["rest"])
        else:
            self._refuse(404, "", "Not Found")

    def _commit(self, kind: str, repo: str, rest: str) -> tuple[str, str] | None:
        """Return commit and what follows the revision in ``rest``, or answer why there is none."""
        hub = self.server.hub
        if (kind, repo) not in hub.commits:
            # The hub does not tell strangers whether a repository is missing or private.
            self._refuse(404 if self._known() else 401, "RepoNotFound", "Repository not found")
            return None
        revisions = {**hub.refs[kind, repo], **{sha: sha for sha in hub.commits[kind, repo]}}
        for revision, sha in revisions.items():
            if rest == revision or rest.startswith(f"{revision}/"):
                return sha, rest[len(revision) + 1 :]
        self._refuse(404, "RevisionNotFound", "Invalid rev id")
        return None

    def _known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _api(self, kind: str, repo: str, what: str, rest: str) -> None:
        found = self._commit(kind, repo, rest)
        if found is None:
            return
        sha, folder = found
        files = self.server.hub.commits[kind, repo][sha]
        if what == "tree" and folder:
            files = {name: data for name, data in files.items() if name.startswith(f"{folder}/")}
            if not files:
                self._refuse(404, "EntryNotFound", "Entry not found")
                return
        if what != "revision":
            rows = [{"type": "file", "path": n, "size": len(d), "oid": _etag(d)} for n, d in sorted(files.items())]
            self._json(rows)
            return
        gated = "auto" if repo in self.server.hub.gated else False
        siblings = [{"rfilename": name} for name in sorted(files)]
        self._json({"id": repo, "sha": sha, "siblings": siblings, "gated": gated, "private": False, "tags": []})

    def _file(self, kind: str, repo: str, rest: str) -> None:
        hub = self.server.hub
        found = self._commit(kind, repo, rest)
        if found is None:
            return
        sha, name = found
        if repo in hub.gated and not self._known():
            self._refuse(401, "GatedRepo", f"Access to dataset {repo} is restricted.")
            return
        if repo in hub.broken:
            self._refuse(500, "", "Internal Server Error")
            return
        data = hub.commits[kind, repo][sha].get(name)
        if data is None:
            self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": sha})
            return
        self._bytes(data, sha)

    def _bytes(self, data: bytes, sha: str) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range", f'"{_etag(data)}"') != f'"{_etag(data)}"':
            asked = None
        start = int(asked[1]) if asked else 0
        if asked and start >= len(data):
            self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        body = data[start : int(asked[2]) + 1 if asked and asked[2] else None]
        self.send_response(206 if asked else 200)
        self.send_header("ETag", f'"{_etag(data)}"')
        self.send_header("X-Repo-Commit", sha)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        limit = self.server.hub.break_after
        self.wfile.write(body[:limit])
        if limit is not None and len(body) > limit:
            self.close_connection = True

    def _json(self, document: object) -> None:
        self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        extra = {"X-Error-Code": code, "X-Error-Message": message} if code else {}
        self._send(status, json.dumps({"error": message}).encode(), {**extra, **(headers or {})})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
