"""Adapters make a family of models answer requests.

An adapter implements the capability methods that its model has, each taking a batch and returning a batch::

    embed_images   prepared images          -> (n, d) array
    embed_texts    prepared texts           -> (n, d) array
    match          (image, text) pairs      -> n logits
    choose         prepared requests        -> n sequences, one score a choice
    generate       prepared requests        -> n strings, without the prompt
    loglikelihood  prepared requests        -> n pairs (natural-log probability, number of tokens)

An answer that could not be had may be a ``Failure`` in the place of a number or a string (not of an embedding): it
fails that request alone.

Work that can overlap with the device (resizing, tokenising) goes into the ``prepare_*`` methods: the engine calls them
ahead in worker threads, one item at a time, so they must be safe to call from several threads.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from vlbench.dtypes import default_dtype
from vlbench.errors import UsageError
from vlbench.fingerprints import file_identities, module_fingerprint
from vlbench.types import Choose, EmbedImage, EmbedText, Generate, LogLikelihood, Match, Request, content_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from PIL import Image

    from vlbench.types import Failure

REQUEST_TYPES: tuple[type[Request], ...] = (EmbedImage, EmbedText, Match, Choose, Generate, LogLikelihood)
FLAGS = ("attn", "compile", "device_map")
"""Arguments of adapters that the command line has as flags too."""
CAPABILITIES = tuple(request.capability for request in REQUEST_TYPES)


@dataclass(frozen=True)
class LoadOptions:
    """What a user said about the model: ``dtype`` is ``auto``, ``float32``, ``bfloat16`` or ``float16``."""

    checkpoint: str = ""
    device: str = "cpu"
    dtype: str = "auto"
    revision: str | None = None
    seed: int = 0
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A request whose images went through ``prepare_image``, in the order of ``request.image_refs``."""

    request: Request
    images: tuple[Any, ...]


class Adapter:
    """Base class of adapters. Override ``load`` and the capability methods of the model.

    Class attributes: ``argument_names`` are the keys that ``--model-arg`` may set, ``neutral_arguments`` those among
    them that change how the answers come and never what they are (they do not identify a result); ``prompt_family``
    names the lines of ``vlbench.prompts`` by which the model is asked; ``provenance`` is ``unverified`` where the
    weights that answered are not known; ``cacheable`` is False where answers depend on more than weights,
    preprocessing, arguments and the content of the request.

    Attributes: ``batch_sizes`` (the default number of requests a batch for each capability, where the harness's own
    does not fit), ``known_images`` (names of a few image files, where the adapter answers only about images that it
    knows by name: checks draw their pictures under these), ``model`` (a ``torch.nn.Module``, if there is one, is hashed
    for the fingerprint and its parameters are counted), ``logit_scale`` (factor on the cosine when ``match`` is derived
    from embeddings), ``random_weights``, ``trained_on`` (datasets that the loaded checkpoint itself says it has seen;
    those of its registration are added).
    """

    argument_names: ClassVar[tuple[str, ...]] = ()
    neutral_arguments: ClassVar[frozenset[str]] = frozenset()
    prompt_family: ClassVar[str] = ""
    provenance: ClassVar[str] = "verified"
    cacheable: ClassVar[bool] = True

    batch_sizes: Mapping[str, int] = {}
    known_images: Sequence[str] = ()
    model: Any = None
    logit_scale: float = 100.0
    random_weights: bool = False
    trained_on: tuple[str, ...] = ()

    def __init__(self, options: LoadOptions | None = None) -> None:
        """Store ``options`` and call ``load``; raises ``UsageError`` for an argument that the adapter does not know."""
        self.options = options or LoadOptions()
        unknown = sorted(set(self.options.arguments) - set(self.argument_names))
        if unknown:
            known = ", ".join(self.argument_names) or "none"
            flag = {name: f" (--{name.replace('_', '-')})" for name in FLAGS}.get(unknown[0], "")
            raise UsageError(f"unknown --model-arg {unknown[0]!r}{flag} for {type(self).__name__}; it takes: {known}")
        self.device = self.options.device
        self.dtype = self.resolve_dtype(self.options.dtype)
        self.files_at_load = file_identities(self.checkpoint_files(self.options))
        self.load()

    def load(self) -> None:
        """Load the checkpoint onto ``self.device`` in ``self.dtype``; raise ``ModelError`` where that fails."""

    def resolve_dtype(self, dtype: str) -> str:
        """Return the dtype for ``auto``: the fastest by the table of device kinds (``vlbench/dtypes.json``)."""
        return default_dtype(self.device) if dtype == "auto" else dtype

    @classmethod
    def capabilities(cls, options: LoadOptions) -> frozenset[str]:
        """Return the capabilities of the model that ``options`` name, known before it is loaded.

        By default the capability methods that the class implements.
        """
        return frozenset(name for name in CAPABILITIES if getattr(cls, name) is not getattr(Adapter, name))

    @classmethod
    def checkpoint_files(cls, options: LoadOptions) -> Sequence[Path]:
        """Return the local files that decide the weights, so that files hashed once are not hashed again.

        By default none: the weights are hashed each time.
        """
        return ()

    def fingerprint(self) -> str:
        """Return ``sha256:…`` over weight bytes and config; over the class's source where there is no ``model``."""
        arguments = dict(self.options.arguments)
        if self.model is not None:
            return module_fingerprint(self.model)
        try:
            source = inspect.getsource(type(self))
        except (OSError, TypeError):
            source = type(self).__qualname__
        return "sha256:" + content_key(source, self.options.checkpoint, arguments)

    def preprocessing(self) -> str:
        """Return a text that changes when preprocessing of images or texts changes; its hash is recorded."""
        return "none"

    def parameters(self) -> int:
        """Return the number of weights."""
        return 0 if self.model is None else sum(p.numel() for p in self.model.parameters())

    def notes(self) -> Sequence[str]:
        """Return what a reader of the model's numbers must know; it stands in every result."""
        return ()

    def counters(self) -> Mapping[str, int]:
        """Return what the adapter counted so far, by name; it is added to the cost of a result."""
        return {}

    def prepare_image(self, image: Image.Image) -> Any:
        """Turn an RGB image into what the model takes. Runs in worker threads."""
        return image

    def prepare_text(self, text: str) -> Any:
        """Turn a text into what the model takes. Runs in worker threads."""
        return text

    def prepare(self, request: Request, images: tuple[Any, ...]) -> Any:
        """Turn a request and its prepared images into one item of a batch. Runs in worker threads."""
        match request:
            case EmbedImage():
                return images[0]
            case EmbedText():
                return self.prepare_text(request.text)
            case Match():
                return images[0], self.prepare_text(request.text)
            case _:
                return Prepared(request, images)

    def truncates(self, request: Request) -> bool:
        """Tell whether the model will not see all of the request's text."""
        return False

    def embed_images(self, images: Sequence[Any]) -> npt.ArrayLike:
        """Embed prepared images: array or tensor of shape (n, d)."""
        raise NotImplementedError

    def embed_texts(self, texts: Sequence[Any]) -> npt.ArrayLike:
        """Embed prepared texts: array or tensor of shape (n, d)."""
        raise NotImplementedError

    def match(self, pairs: Sequence[tuple[Any, Any]]) -> Sequence[float | Failure]:
        """Score prepared (image, text) pairs: n logits."""
        raise NotImplementedError

    def choose(self, items: Sequence[Any]) -> Sequence[Sequence[float] | Failure]:
        """Score the choices of prepared ``Choose`` requests: n sequences, one number a choice."""
        raise NotImplementedError

    def generate(self, items: Sequence[Any]) -> Sequence[str | Failure]:
        """Answer prepared ``Generate`` requests: n strings without the prompt."""
        raise NotImplementedError

    def loglikelihood(self, items: Sequence[Any]) -> Sequence[tuple[float, int] | Failure]:
        """Score prepared ``LogLikelihood`` requests: n pairs of (natural-log probability, tokens)."""
        raise NotImplementedError
