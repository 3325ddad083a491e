"""A client of OpenAI-compatible chat-completions endpoints: many requests at once; retried, paced, counted.

What can become of a request::

    text                                          the answer
    Unanswered                                    the server answered, but not with a usable text
    ├── Refused                                   status 4xx or 5xx after all retries, or too slow
    └── Unreachable                               no connection, or told again and again to come back later
    ModelError, EvaluationFailed                  end the run at once: 401, 404, no quota left

Only what may pass by itself is tried again: 408, 429, 500, 502, 503, 504, slow answers and broken connections, after a
wait that doubles (with jitter) or that the server asks for (``Retry-After``).
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from vlbench.errors import EvaluationFailed, ModelError
from vlbench.types import Failure

if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine, Mapping, Sequence

T = TypeVar("T")

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0
LONGEST_ASKED_SECONDS = 600.0
"""A server that asks for more has no quota left: better to end, and to resume later."""
SHOWN_CHARACTERS = 200
SECRET_LENGTH = 8
"""Keys shorter than this are placeholders ("EMPTY" for vLLM), and words of ordinary answers."""


class Unanswered(Exception):
    """A request got no usable answer; the text is the reason, in one line."""


class Refused(Unanswered):
    """The server does not answer this request."""


class Unreachable(Unanswered):
    """The server answers nobody now."""


@dataclass(frozen=True)
class Limits:
    """``timeout``: seconds of one attempt in all; ``requests_per_minute``: attempts, 0 for as many as can be."""

    concurrency: int = 32
    timeout: float = 120.0
    retries: int = 5
    requests_per_minute: float = 0.0


class ChatClient:
    """Posts bodies to one endpoint. ``counts`` are attempts, retries and tokens since the start.

    The key is sent to the endpoint and goes nowhere else: it is taken out of whatever the server says.
    """

    def __init__(self, base_url: str, key: str, key_name: str, limits: Limits) -> None:
        """Keep what is needed; nothing is sent. ``key_name`` is the environment variable that errors name."""
        self.url = f"{base_url}/chat/completions"
        self._key = key
        self._key_name = key_name
        self._limits = limits
        self._next_turn = 0.0
        self._random = random.Random()
        names = ("api_requests", "api_retries", "prompt_tokens", "completion_tokens", "answers_without_usage")
        self.counts = dict.fromkeys(names, 0)

    def complete(self, bodies: Sequence[bytes]) -> list[str | Failure]:
        """Return the answer to each body, in their order.

        Raises ``ModelError`` for a wrong key or model, and ``EvaluationFailed`` where none was answered: the server is
        not there, or refuses each of several requests.
        """
        outcomes = _run(self._complete_all(bodies))
        failed = [outcome for outcome in outcomes if isinstance(outcome, Unanswered)]
        if failed and len(failed) == len(outcomes):
            away = next((reason for reason in failed if isinstance(reason, Unreachable)), None)
            if away is not None:
                raise EvaluationFailed(f"{self.url} {away}; the same command resumes")
            if len(failed) > 1 and all(isinstance(reason, Refused) for reason in failed):
                raise EvaluationFailed(f"{self.url} refuses every request: {failed[0]}")
        return [outcome if isinstance(outcome, str) else Failure(str(outcome)) for outcome in outcomes]

    async def _complete_all(self, bodies: Sequence[bytes]) -> list[str | Unanswered]:
        width = self._limits.concurrency
        slots = asyncio.Semaphore(width)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        pool = httpx2.Limits(max_connections=width, max_keepalive_connections=width)
        # Time is kept for each attempt as a whole: the library's own timeouts start anew with every byte.
        async with httpx2.AsyncClient(headers=headers, limits=pool, timeout=None, verify=_certificates()) as client:

            async def one(body: bytes) -> str | Unanswered:
                async with slots:
                    try:
                        return await self._complete(client, body)
                    except Unanswered as reason:
                        return reason

            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(one(body)) for body in bodies]
            except BaseExceptionGroup as failed:
                raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _complete(self, client: httpx2.AsyncClient, body: bytes) -> str:
        """Return the answer to one body, after retries where needed."""
        for attempt in count():
            await self._turn()
            self.counts["api_requests"] += 1
            asked = None
            problem: Unanswered
            try:
                async with asyncio.timeout(self._limits.timeout):
                    response = await client.post(self.url, content=body)
            except TimeoutError:
                problem = Refused(f"did not answer within {self._limits.timeout:g} s")
            except httpx2.RequestError as error:
                problem = Unreachable(f"cannot be reached ({self._hide(str(error) or type(error).__name__)})")
            else:
                if response.status_code not in RETRIED:
                    return self._answer(response)
                problem = self._put_off(response)
                asked = seconds_asked(response.headers.get("Retry-After"))
            if attempt == self._limits.retries:
                raise type(problem)(f"{problem}, in {attempt + 1} attempts")
            self.counts["api_retries"] += 1
            await self._wait(attempt, asked, everyone=isinstance(problem, Unreachable))
        raise AssertionError("unreachable")

    async def _turn(self) -> None:
        """Wait until the rate allows one more attempt."""
        now = time.monotonic()
        turn = max(now, self._next_turn)
        if self._limits.requests_per_minute:
            self._next_turn = turn + 60.0 / self._limits.requests_per_minute
        if turn > now:
            await asyncio.sleep(turn - now)

    async def _wait(self, attempt: int, asked: float | None, *, everyone: bool) -> None:
        """Wait before the next attempt; ``everyone``: no other request is sent sooner than the server asked."""
        if asked is None:
            longest = min(FIRST_WAIT_SECONDS * 2**attempt, LONGEST_WAIT_SECONDS)
            await asyncio.sleep(longest * self._random.uniform(0.5, 1.0))
            return
        if asked > LONGEST_ASKED_SECONDS:
            raise EvaluationFailed(f"{self.url} asks to wait {asked:.0f} s; the same command resumes later")
        if everyone:
            self._next_turn = max(self._next_turn, time.monotonic() + asked)
        # Jitter, so that all that were put off do not come back at the same moment.
        await asyncio.sleep(asked + self._random.uniform(0.0, FIRST_WAIT_SECONDS))

    def _put_off(self, response: httpx2.Response) -> Unanswered:
        """Return the problem of an attempt that may be repeated."""
        said = self._said(response)
        if response.status_code == 429:
            if _error(response).get("code") == "insufficient_quota":
                raise EvaluationFailed(f"{self.url} has no quota left: {said}")
            return Unreachable(said)
        return Refused(said)

    def _answer(self, response: httpx2.Response) -> str:
        """Return the text of a final response; raises what the status or the document stands for."""
        status = response.status_code
        if status == 401:
            remedy = f"put the right key into {self._key_name}" if self._key else f"put the key into {self._key_name}"
            raise ModelError(f"{self.url} {self._said(response)}; {remedy} (--model-arg api_key_env=NAME)")
        if status == 404:
            raise ModelError(f"{self.url} {self._said(response)}; check the model's name and --model-arg base_url")
        if not 200 <= status < 300:
            raise Refused(self._said(response))
        document = _json(response)
        if document is None:
            raise Unanswered(f"answered with something that is not JSON: {self._hide(response.text)!r}")
        self._count_tokens(document)
        return self._text(document)

    def _text(self, document: Any) -> str:
        try:
            choice = document["choices"][0]
            message = choice["message"]
            text = message["content"]
        except (LookupError, TypeError):
            shown = self._hide(json.dumps(document, ensure_ascii=False))
            raise Unanswered(f"answered without choices[0].message.content: {shown}") from None
        if text is None:
            # A refusal in words is what the model answered; it is scored like any other text.
            text = message.get("refusal")
        if not isinstance(text, str):
            raise Unanswered(f"answered without a text (finish_reason {self._hide(str(choice.get('finish_reason')))})")
        # Half a surrogate pair is valid JSON, and cannot be written to any file.
        return self._masked(text.encode("utf-8", "replace").decode("utf-8"))

    def _count_tokens(self, document: Any) -> None:
        usage = document.get("usage") if isinstance(document, dict) else None
        names = ("prompt_tokens", "completion_tokens")
        found = usage if isinstance(usage, dict) else {}
        tokens = [number for name in names if isinstance(number := found.get(name), int)]
        if len(tokens) < len(names):
            self.counts["answers_without_usage"] += 1
            return
        for name, number in zip(names, tokens, strict=True):
            self.counts[name] += number

    def _said(self, response: httpx2.Response) -> str:
        """Return status and message of a response that is no answer."""
        message = _error(response).get("message")
        text = self._hide(message if isinstance(message, str) else response.text)
        return f"answered {response.status_code}" + (f" ({text})" if text else "")

    def _masked(self, text: str) -> str:
        return text.replace(self._key, "[key]") if len(self._key) >= SECRET_LENGTH else text

    def _hide(self, text: str) -> str:
        """Return a text for an error: one line, not too long, without the key."""
        return " ".join(self._masked(text).split())[:SHOWN_CHARACTERS]


def seconds_asked(value: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, a number or an HTTP date; None where it makes no sense.

    >>> seconds_asked("1.5"), seconds_asked("Wed, 21 Oct 2015 07:28:00 GMT"), seconds_asked("soon"), seconds_asked(None)
    (1.5, 0.0, None, None)
    """
    try:
        seconds = float(value or "nan")
    except ValueError:
        try:
            when = email.utils.parsedate_to_datetime(value or "")
        except ValueError:
            return None
        seconds = max(0.0, (when.astimezone(UTC) - datetime.now(UTC)).total_seconds())
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


@cache
def _certificates() -> ssl.SSLContext:
    """Return the library's default context, read once: it takes as long as a fast server's answer."""
    return httpx2.create_ssl_context()


def _json(response: httpx2.Response) -> Any:
    """Return the document of a response, or None."""
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def _error(response: httpx2.Response) -> Mapping[str, Any]:
    """Return the error object of a response; empty where it is in no form that is known."""
    document = _json(response)
    error = document.get("error", document) if isinstance(document, dict) else None
    return error if isinstance(error, dict) else {}


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; in a thread of its own where this one has a running loop, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
