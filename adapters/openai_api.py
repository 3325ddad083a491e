"""Adapter for OpenAI-compatible chat-completions endpoints with images: vLLM, SGLang, hosted services."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vlbench.adapter import Adapter
from vlbench.errors import ModelError, UsageError
from vlbench.hookspecs import hookimpl
from vlbench.specs import AdapterSpec
from vlbench.types import Decoding, Failure, Generate, Request, content_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from PIL import Image

DEFAULT_KEY = "OPENAI_API_KEY"
JPEG_QUALITY = 95
BATCH_PER_SLOT = 4
"""Requests a batch for each one that is under way: the slowest answer of a batch is waited for before the next."""


@hookimpl
def vlbench_register_adapters() -> Iterable[AdapterSpec]:
    """Return the adapter."""
    description = "OpenAI-compatible endpoints (vLLM, SGLang, hosted), as openai_api:MODEL with base_url=URL"
    return [AdapterSpec("openai_api", description, "vlbench.adapters.openai_api:OpenAIAPI")]


class OpenAIAPI(Adapter):
    """Asks a model behind ``POST {base_url}/chat/completions``.

    Arguments: ``base_url``; ``api_key_env``, the environment variable that holds the key; ``concurrency``, ``timeout``,
    ``retries`` and ``requests_per_minute`` as in ``chat_client.Limits``; ``image_format``, ``png`` or ``jpeg``;
    ``reasoning_tokens``, for a model that thinks before it answers: room for the thoughts besides the answer.
    """

    argument_names = (
        "base_url",
        "api_key_env",
        "concurrency",
        "timeout",
        "retries",
        "requests_per_minute",
        "image_format",
        "reasoning_tokens",
    )
    neutral_arguments = frozenset({"api_key_env", "concurrency", "timeout", "retries", "requests_per_minute"})
    prompt_family = "chat"
    provenance = "unverified"

    def load(self) -> None:
        """Read arguments and key; nothing is sent. Raises ``UsageError`` or ``ModelError`` for what cannot work."""
        from vlbench.adapters.chat_client import ChatClient, Limits

        if not self.options.checkpoint:
            raise ModelError("openai_api: names no model; give the name that the server knows: openai_api:MODEL")
        if self.options.revision is not None:
            raise UsageError("--revision means nothing to a server; name the version in openai_api:MODEL")
        self._base_url = self._address()
        limits = Limits(
            concurrency=int(self._number("concurrency", Limits.concurrency, low=1, whole=True)),
            timeout=self._number("timeout", Limits.timeout, low=0.001),
            retries=int(self._number("retries", Limits.retries, low=0, whole=True)),
            requests_per_minute=self._number("requests_per_minute", Limits.requests_per_minute, low=0),
        )
        self._reasoning_tokens = int(self._number("reasoning_tokens", 0, low=0, whole=True))
        self._image_format = self.options.arguments.get("image_format", "png")
        if self._image_format not in ("png", "jpeg"):
            raise UsageError(f"--model-arg image_format={self._image_format} is neither png nor jpeg")
        self.batch_sizes = {"generate": BATCH_PER_SLOT * limits.concurrency}
        self._client = ChatClient(self._base_url, *self._key(), limits)

    def _address(self) -> str:
        """Return the base address; it goes into the result, so nothing secret may be in it."""
        address = self.options.arguments.get("base_url", "").rstrip("/")
        try:
            parts = urlsplit(address)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            good = False
        if not good:
            raise UsageError("openai_api needs --model-arg base_url=http://HOST:PORT/v1, the address of the server")
        if parts.username is not None or parts.query or parts.fragment:
            raise UsageError("--model-arg base_url must hold no password, ? or #; the key belongs into the environment")
        return address

    def _key(self) -> tuple[str, str]:
        """Return the key, empty where the default variable is not set, and the name of its variable."""
        name = self.options.arguments.get("api_key_env", DEFAULT_KEY)
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
            # Not repeated: it may be the key itself.
            raise UsageError(
                "--model-arg api_key_env takes the NAME of an environment variable, in capitals; not a key"
            )
        key = os.environ.get(name, "").strip()
        if not key and "api_key_env" in self.options.arguments:
            raise UsageError(f"the environment variable {name} (--model-arg api_key_env) is not set")
        if not (key.isascii() and key.isprintable()):
            raise UsageError(f"the key in {name} has characters that no header can carry; copy it again")
        return key, name

    def _number(self, name: str, default: float, *, low: float, whole: bool = False) -> float:
        text = self.options.arguments.get(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value < float("inf") or (whole and value != int(value)):
            raise UsageError(f"--model-arg {name}={text} is not a {'whole ' if whole else ''}number from {low:g}")
        return value

    def resolve_dtype(self, dtype: str) -> str:
        """Return ``unknown``: the server decides."""
        if dtype != "auto":
            raise UsageError(f"--dtype {dtype} cannot be asked of a server; it computes in what it was started with")
        return "unknown"

    def fingerprint(self) -> str:
        """Return ``sha256:…`` over address, model name and the options that change answers: the weights are unknown."""
        options = {"image_format": self._image_format, "reasoning_tokens": self._reasoning_tokens}
        return "sha256:" + content_key("openai_api", self._base_url, self.options.checkpoint, options)

    def notes(self) -> Sequence[str]:
        """Say that nobody knows the weights."""
        return (
            f"the weights behind {self._base_url} are unknown and may change: the model's fingerprint stands for "
            "address, model name and options",
        )

    def counters(self) -> Mapping[str, int]:
        """Return attempts, retries and tokens, as the server counts them."""
        return dict(self._client.counts)

    def preprocessing(self) -> str:
        """Return how images are sent; what the server makes of them is unknown."""
        how = f"jpeg quality {JPEG_QUALITY}, no chroma subsampling" if self._image_format == "jpeg" else "png, lossless"
        return f"whole image at its own size in RGB as {how}, in a data URL"

    def prepare_image(self, image: Image.Image) -> str:
        """Encode as a data URL."""
        encoded = io.BytesIO()
        if self._image_format == "jpeg":
            image.save(encoded, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        else:
            image.save(encoded, "PNG")
        return f"data:image/{self._image_format};base64," + base64.b64encode(encoded.getvalue()).decode("ascii")

    def prepare(self, request: Request, images: tuple[Any, ...]) -> Any:
        """Write the body of the request."""
        if not isinstance(request, Generate):
            return super().prepare(request, images)
        content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in images]
        if request.prompt:
            content.append({"type": "text", "text": request.prompt})
        body = {"model": self.options.checkpoint, "messages": [{"role": "user", "content": content}]}
        return json.dumps(body | self._parameters(request.decoding)).encode()

    def _parameters(self, decoding: Decoding) -> dict[str, Any]:
        """Return the decoding in the words of the protocol; raises ``UsageError`` for what it has no words for."""
        for name in ("num_beams", "length_penalty", "repetition_penalty"):
            if getattr(decoding, name) != getattr(Decoding, name):
                raise UsageError(
                    f"openai_api cannot decode with {name}={getattr(decoding, name)}: the protocol has none"
                )
        parameters: dict[str, Any] = {"stop": list(decoding.stop)} if decoding.stop else {}
        if self._reasoning_tokens:
            # Models that think refuse max_tokens and a temperature.
            if decoding.temperature:
                raise UsageError("openai_api cannot set a temperature together with reasoning_tokens")
            return parameters | {"max_completion_tokens": decoding.max_new_tokens + self._reasoning_tokens}
        parameters |= {"max_tokens": decoding.max_new_tokens, "temperature": decoding.temperature}
        if decoding.temperature:
            parameters |= {"top_p": decoding.top_p, "seed": decoding.seed}
        return parameters

    def generate(self, items: Sequence[bytes]) -> Sequence[str | Failure]:
        """Ask for all answers at once, as far as ``concurrency`` allows."""
        return self._client.complete(items)
