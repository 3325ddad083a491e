"""Look at a site on this machine: a web server that only this machine reaches, with the pictures of local data."""

from __future__ import annotations

import mimetypes
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from vlbench.errors import DataError, UsageError
from vlbench.leaderboard.site_data import picture_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vlbench.types import ImageRef

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost")


class _Handler(SimpleHTTPRequestHandler):
    server: SiteServer

    def __init__(self, *arguments: Any, directory: str, **rest: Any) -> None:
        super().__init__(*arguments, directory=directory, **rest)

    def do_GET(self) -> None:
        # A name of another site that points here would let that site read what is served.
        if self.headers.get("Host", "").rpartition(":")[0] not in _NAMES:
            self.send_error(403, "only for this machine")
            return
        folder, _, name = self.path.lstrip("/").partition("/")
        image = self.server.images.get(name) if folder == "pictures" else None
        if image is None:
            super().do_GET()
            return
        try:
            data = picture_bytes(image)
        except DataError:
            self.send_error(404, "the picture is not there")
            return
        self.send_response(200)
        self.send_header("Content-Type", mimetypes.guess_type(name)[0] or "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep the terminal for what matters."""


class SiteServer(ThreadingHTTPServer):
    """Serves the folder of a site; ``images`` by the file names of their pictures, read when they are asked for."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int, images: Mapping[str, ImageRef]) -> None:
        """Bind to this machine alone; raises ``UsageError`` where the port is taken, or none. 0 takes a free one."""
        import functools

        self.images = images
        if not 0 <= port <= 65535:
            raise UsageError(f"--port {port} is no port; give a number from 0 (a free one) to 65535")
        try:
            super().__init__((HOST, port), functools.partial(_Handler, directory=str(folder)))
        except OSError as error:
            raise UsageError(f"port {port} cannot be used ({error.strerror}); choose another --port") from error

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self.server_port}/"
