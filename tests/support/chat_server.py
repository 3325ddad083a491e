"""A server that speaks the chat-completions protocol: answers that follow from the request, and faults on demand."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PROMPT_TOKENS, COMPLETION_TOKENS = 100, 3


@dataclass(frozen=True)
class Asked:
    """A request as it arrived; ``attempt`` counts from 0 how often this very body came before."""

    body: dict[str, Any]
    headers: Mapping[str, str]
    path: str
    attempt: int
    arrived: float

    @property
    def parts(self) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = self.body["messages"][0]["content"]
        return content

    @property
    def text(self) -> str:
        return "".join(part["text"] for part in self.parts if part["type"] == "text")

    @property
    def images(self) -> list[bytes]:
        urls = [part["image_url"]["url"] for part in self.parts if part["type"] == "image_url"]
        return [base64.b64decode(url.split(";base64,", 1)[1], validate=True) for url in urls]


@dataclass(frozen=True)
class Reply:
    """What is sent back: ``body`` as JSON unless it is bytes; ``drop`` closes the connection in the middle of it."""

    body: object = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    drop: bool = False


def derived(images: list[bytes], text: str) -> str:
    """Return the right answer: a letter where one is asked for, else a word that depends on all pixels and the text."""
    digest = hashlib.sha256(text.encode())
    for data in images:
        with Image.open(io.BytesIO(data)) as image:
            digest.update(repr(image.size).encode() + image.convert("RGB").tobytes())
    word = digest.hexdigest()[:12]
    return "ABCD"[int(word, 16) % 4] if "letter" in text else word


def answer(text: str | None, **message: object) -> dict[str, Any]:
    """Return a chat completion."""
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text, **message}}
    return {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}


def error(message: str, **fields: object) -> dict[str, Any]:
    """Return an error in OpenAI's form."""
    return {"error": {"message": message, "type": "error", **fields}}


class ChatServer:
    """``fault`` may return a reply in place of the right answer; ``asked`` are all requests in order of arrival."""

    def __init__(self, fault: Callable[[Asked], Reply | None] = lambda _: None) -> None:
        self.fault = fault
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self._now = 0
        self._seen: Counter[bytes] = Counter()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def take(self, body: bytes, headers: Mapping[str, str], path: str) -> Reply:
        with self._lock:
            asked = Asked(json.loads(body), headers, path, self._seen[body], time.monotonic())
            self._seen[body] += 1
            self.asked.append(asked)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            reply = self.fault(asked) or Reply(answer(derived(asked.images, asked.text)))
            time.sleep(reply.seconds)
        finally:
            with self._lock:
                self._now -= 1
        return reply

    @contextmanager
    def running(self) -> Iterator[ChatServer]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about."""


def _handler(server: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            reply = server.take(body, dict(self.headers), self.path)
            data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if reply.drop:
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            """Tests read what vlbench says, not what the server does."""

    return Handler
