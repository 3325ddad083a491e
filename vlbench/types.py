"""Frozen values that travel through the harness: images, requests, responses, samples and metrics.

Requests are identified by their *content*: two requests with equal text and equal image bytes have the same
``key`` whatever files they came from, so that one execution serves both and a resumed run finds its answers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from PIL import Image as PILImage

    from vlbench.edits import Edit

MAX_IMAGE_PIXELS = 178_956_970
"""Pixels above which an image is refused (a decompression bomb); the limit at which Pillow raises."""


class ByteSource(Protocol):
    """Where the bytes of a dataset lie: a folder, a repository on the hub, tar files."""

    def read(self, name: str) -> bytes:
        """Return the bytes of ``name``; raise ``DataError`` where it cannot be read."""

    def exists(self, name: str) -> bool:
        """Tell whether ``name`` is there."""

    def digest(self, name: str) -> str:
        """Return the SHA-256 hex digest of the bytes of ``name``."""

    def describe(self, name: str) -> str:
        """Return the name of the file as a user would look for it."""


def content_key(*parts: object) -> str:
    """Return the SHA-256 hex digest of the canonical JSON of ``parts``.

    >>> content_key("a", 1) == content_key("a", 1) != content_key("a1")
    True
    """
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Region:
    """A part of an image that a text can point to as ``[label]``.

    ``box`` is (x1, y1, x2, y2) in pixels of the original image; ``polygons`` are (x, y) outlines in the same pixels.
    """

    label: str
    box: tuple[float, float, float, float]
    polygons: tuple[tuple[tuple[float, float], ...], ...] = ()


@dataclass(frozen=True)
class ImageRef:
    """A lazy reference to an encoded image; nothing is decoded or held in memory until ``load``.

    ``edits`` are applied in order when the image is decoded; ``regions`` are in pixels of the picture that results.
    """

    source: ByteSource = field(repr=False, compare=False)
    name: str
    regions: tuple[Region, ...] = ()
    edits: tuple[Edit, ...] = ()

    @cached_property
    def key(self) -> str:
        """SHA-256 over the image bytes, its regions and edits; of a file that cannot be read, over its name."""
        from vlbench.errors import DataError

        about: list[object] = [[dataclasses.astuple(r) for r in self.regions]]
        if self.edits:
            about.append([edit.content() for edit in self.edits])
        try:
            return content_key(self.source.digest(self.name), *about)
        except DataError:
            # The request must still be planned, so that it fails as one sample and not as the whole run.
            return content_key("unreadable", self.source.describe(self.name), *about)

    def load(self) -> PILImage.Image:
        """Decode into an RGB ``PIL.Image`` with the edits; raises ``DataError`` naming the file where that fails."""
        image = self._decode()
        for edit in self.edits:
            image = edit.apply(image, self.source.describe(self.name))
        return image

    def _decode(self) -> PILImage.Image:
        from PIL import Image

        from vlbench.errors import DataError

        where = self.source.describe(self.name)
        data = self.source.read(self.name)
        if "key" in self.__dict__ and hashlib.sha256(data).hexdigest() != self.source.digest(self.name):
            # Its answers would be kept under the content that the file had.
            raise DataError(f"image {where} changed while it was in use; run the same command again")
        try:
            with Image.open(io.BytesIO(data)) as image:
                if image.width * image.height > MAX_IMAGE_PIXELS:
                    raise DataError(
                        f"image {where} has {image.width} x {image.height} pixels; the limit is 179 million"
                    )
                return image.convert("RGB")
        except DataError:
            raise
        except Exception as error:  # decoders raise whatever comes: struct.error, IndexError, MemoryError
            reason = str(error) or type(error).__name__
            raise DataError(f"image {where} cannot be decoded ({reason}); replace the file") from error


@dataclass(frozen=True)
class Decoding:
    """How text is generated. Part of the request's key and of the signature."""

    max_new_tokens: int = 30
    num_beams: int = 1
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return only what differs from greedy defaults, in the form used by signatures."""
        shown = [
            f"{f.name}={getattr(self, f.name)}"
            for f in dataclasses.fields(self)
            if f.name in ("max_new_tokens", "num_beams") or getattr(self, f.name) != f.default
        ]
        return ",".join(shown)


def _plain(value: object) -> object:
    """Return ``value`` as JSON can hold it, images by their content."""
    if isinstance(value, ImageRef):
        return value.key
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return dataclasses.astuple(value) if isinstance(value, Decoding) else value


class Request:
    """One thing asked of a model. Subclasses are frozen values; ``capability`` names the adapter's method."""

    capability: ClassVar[str]

    def _values(self) -> list[object]:
        return [getattr(self, f.name) for f in dataclasses.fields(self)]  # type: ignore[arg-type]

    def _items(self) -> list[object]:
        return [item for value in self._values() for item in (value if isinstance(value, tuple) else (value,))]

    @cached_property
    def key(self) -> str:
        """SHA-256 over the kind of request and its content."""
        return content_key(self.capability, *[_plain(value) for value in self._values()])

    @cached_property
    def image_refs(self) -> tuple[ImageRef, ...]:
        """All images of the request."""
        return tuple(item for item in self._items() if isinstance(item, ImageRef))

    @cached_property
    def length(self) -> int:
        """Characters of the longest text, by which batches are formed."""
        return max((len(item) for item in self._items() if isinstance(item, str)), default=0)


@dataclass(frozen=True)
class EmbedImage(Request):
    """Embed one image into the space that texts share."""

    capability: ClassVar[str] = "embed_images"
    image: ImageRef


@dataclass(frozen=True)
class EmbedText(Request):
    """Embed one text into the space that images share."""

    capability: ClassVar[str] = "embed_texts"
    text: str


@dataclass(frozen=True)
class Match(Request):
    """Score how well a text describes an image (a logit; higher is better)."""

    capability: ClassVar[str] = "match"
    image: ImageRef
    text: str


@dataclass(frozen=True)
class Choose(Request):
    """Score each of several answers to a prompt about one or more images.

    Texts may point to a region of an image as ``[label]``.
    """

    capability: ClassVar[str] = "choose"
    images: tuple[ImageRef, ...]
    prompt: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Generate(Request):
    """Generate text for a prompt about one or more images; an empty prompt asks for a caption."""

    capability: ClassVar[str] = "generate"
    images: tuple[ImageRef, ...]
    prompt: str
    decoding: Decoding


@dataclass(frozen=True)
class LogLikelihood(Request):
    """Log-likelihood of a continuation after a prompt about zero or more images."""

    capability: ClassVar[str] = "loglikelihood"
    images: tuple[ImageRef, ...]
    prompt: str
    continuation: str


@dataclass(frozen=True, eq=False)
class Response:
    """The answer to one request; ``truncated`` tells that the model did not see the whole text."""

    truncated: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, eq=False)
class Embedding(Response):
    """``vector``: float32 of shape (d,), as the model gave it (not normalised)."""

    vector: np.ndarray


@dataclass(frozen=True, eq=False)
class MatchScore(Response):
    """``value``: the matching logit."""

    value: float


@dataclass(frozen=True, eq=False)
class ChoiceScores(Response):
    """``scores``: one number a choice, higher is better."""

    scores: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Generated(Response):
    """``text``: what the model wrote, without the prompt."""

    text: str


@dataclass(frozen=True, eq=False)
class LogProbability(Response):
    """``total``: natural-log probability of the continuation; ``tokens``: its number of tokens."""

    total: float
    tokens: int


@dataclass(frozen=True, eq=False)
class Failure(Response):
    """The request could not be answered; its sample counts as wrong."""

    reason: str


@dataclass(frozen=True)
class Caption:
    """One reference caption with its annotation id."""

    caption_id: str
    text: str


@dataclass(frozen=True)
class CaptionedImage:
    """An image and its reference captions; ``domain`` is the part of the dataset that it belongs to, where named."""

    image_id: str
    image: ImageRef
    captions: tuple[Caption, ...]
    domain: str = ""


@dataclass(frozen=True)
class VisualQuestion:
    """A question about an image with the annotators' answers (ten in VQA v2; none on an unlabelled split).

    ``raw_answers`` are the answers before stemming, where the dataset has both (OK-VQA); ``groups`` are further
    columns to average by. A type that the dataset does not have is empty.
    """

    question_id: str
    image_id: str
    image: ImageRef
    question: str
    answers: tuple[str, ...]
    question_type: str
    answer_type: str
    raw_answers: tuple[str, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VCRItem:
    """A VCR item; texts point to the image's regions as ``[label]``; labels are indices from 0."""

    annot_id: str
    image_id: str
    image: ImageRef
    question: str
    answers: tuple[str, ...]
    answer_label: int
    rationales: tuple[str, ...]
    rationale_label: int


SampleT = TypeVar("SampleT")


@dataclass(frozen=True)
class Dataset(Generic[SampleT]):
    """The samples of one split with what is needed to tell whether they are the official ones.

    ``counts`` are what was found, ``official_counts`` what the full split has ({} where it is not known);
    ``fingerprint`` hashes sample ids and annotations; ``origin`` is the repository with its revision, or the address,
    that the data came from, and empty for a folder of the user's.
    """

    name: str
    split: str
    samples: tuple[SampleT, ...]
    counts: Mapping[str, int]
    official_counts: Mapping[str, int]
    fingerprint: str
    origin: str = ""

    @property
    def partial(self) -> bool:
        """Whether a count differs from the official one."""
        return any(self.counts.get(name) != count for name, count in self.official_counts.items())


@dataclass(frozen=True)
class Metric:
    """One number of a result. ``value`` is None only with a ``reason``; ``ci95`` is None until it is computed.

    ``retry``: it is missing for a passing cause, such as a program that was too slow, so that the same command does not
    take the result for finished.
    """

    value: float | None
    higher_is_better: bool = True
    ci95: tuple[float, float] | None = None
    reason: str | None = None
    retry: bool = False


@dataclass(frozen=True)
class SampleRow:
    """Scores of one sample: a row of the per-sample table.

    ``status`` is ``"ok"`` or ``"failed"``; ``scores`` are the metrics that have a value for each sample, ``slices``
    the columns to group by, ``statistics`` the sufficient statistics from which corpus metrics are recomputed.
    """

    sample_id: str
    image_id: str
    response: str
    status: str
    scores: Mapping[str, float]
    slices: Mapping[str, str | int] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
