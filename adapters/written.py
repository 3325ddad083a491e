"""What the adapters of models that write share: items, grouping by decoding, log-probabilities."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from vlbench.types import Generate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from PIL import Image

    from vlbench.types import Decoding, LogLikelihood, Request


ALONE = "a choice is tokenised by itself; its end mark is scored"
BEHIND = "a choice is tokenised behind the prompt and a blank; its end mark is scored"
"""How likelihoods come about, as part of what an adapter says of its preprocessing."""
GREY = 128


class Asked(Protocol):
    """What can be grouped by decoding: token ids to go on from, and the request."""

    @property
    def ids(self) -> list[int]:
        """Token ids."""

    @property
    def request(self) -> Request:
        """The request."""


AskedT = TypeVar("AskedT", bound=Asked)


class Written(NamedTuple):
    """A prepared request: float32 pixels (3, H, W), token ids, and how many of them are the prompt."""

    pixels: torch.Tensor
    ids: list[int]
    prefix: int
    request: Generate | LogLikelihood


def no_picture() -> Image.Image:
    """Return what a model sees that cannot do without an image where a likelihood is asked without one: plain grey."""
    from PIL import Image

    return Image.new("RGB", (64, 64), (GREY, GREY, GREY))


def the_one(
    images: Sequence[torch.Tensor], request: Generate | LogLikelihood, blank: torch.Tensor, who: str
) -> torch.Tensor:
    """Return the image of a request, or ``blank`` for a likelihood without one; raises ``ValueError``."""
    if not images and not isinstance(request, Generate):
        return blank
    if len(images) != 1:
        raise ValueError(f"{who} looks at one image a request, not at {len(images)}")
    return images[0]


def by_decoding(items: Sequence[AskedT], write: Callable[[Sequence[AskedT]], Sequence[str]]) -> list[str]:
    """Call ``write`` for items of like decoding and like prompt length, so that no prompt is padded, and put in order.

    Sampling is seeded by the decoding before each call.
    """
    texts = [""] * len(items)
    groups: dict[object, list[int]] = {}
    for n, item in enumerate(items):
        assert isinstance(item.request, Generate)
        groups.setdefault((item.request.decoding, len(item.ids)), []).append(n)
    for rows in groups.values():
        request = items[rows[0]].request
        assert isinstance(request, Generate)
        with seeded(request.decoding):
            for n, text in zip(rows, write([items[n] for n in rows]), strict=True):
                texts[n] = text
    return texts


@contextlib.contextmanager
def seeded(decoding: Decoding) -> Iterator[None]:
    """Draw from the decoding's own seed where it samples, and leave the random state as it was."""
    import torch

    with torch.random.fork_rng(enabled=decoding.temperature > 0):
        if decoding.temperature > 0:
            torch.manual_seed(decoding.seed)
        yield


def distinct_pixels(items: Sequence[Written]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the distinct images of a batch (m, 3, H, W), and int64 (n,): which of them is each item's."""
    import torch

    found = {id(item.pixels): item.pixels for item in items}
    places = {key: n for n, key in enumerate(found)}
    return torch.stack(list(found.values())), torch.tensor([places[id(item.pixels)] for item in items])


def log_probabilities(
    logits: torch.Tensor, ids: torch.Tensor, spans: Sequence[tuple[int, int]]
) -> list[tuple[float, int]]:
    """Return (natural-log probability, tokens) of ``ids[i, a:b]`` for each span (a, b), each token given those before.

    ``logits`` (n, length, vocabulary) at a place predict the token at the next.
    """
    scores = logits[:, :-1].float().log_softmax(dim=-1)
    each = scores.gather(2, ids[:, 1:, None])[..., 0]
    return [(float(row[start - 1 : end - 1].sum()), end - start) for row, (start, end) in zip(each, spans, strict=True)]
