"""Samples as the readers of a site see them: question, references and pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlbench.types import CaptionedImage, ImageRef, VisualQuestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True)
class SampleView:
    """A sample as people see it; ``images`` are shown with their edits.

    ``choices`` are lists of texts that a response such as ``3 0`` points into, one number a list.
    """

    question: str
    references: tuple[str, ...]
    images: tuple[ImageRef, ...]
    choices: tuple[tuple[str, ...], ...] = ()


def view_by_id(sample: Any) -> Iterator[tuple[str, SampleView]]:
    """Yield the views of a sample of one of the shared types by the ids of its rows; none of any other type."""
    if isinstance(sample, CaptionedImage):
        whole = SampleView("", tuple(caption.text for caption in sample.captions), (sample.image,))
        yield sample.image_id, whole
        yield f"i:{sample.image_id}", whole
        for caption in sample.captions:
            yield f"t:{caption.caption_id}", SampleView(caption.text, (), (sample.image,))
    elif isinstance(sample, VisualQuestion):
        yield sample.question_id, SampleView(sample.question, tuple(_counted(sample.answers)), (sample.image,))


def _counted(answers: Iterable[str]) -> Iterator[str]:
    """Yield distinct answers, the most frequent first, with how many annotators gave them.

    >>> list(_counted(["red", "dark red", "red"]))
    ['red (2)', 'dark red']
    """
    for answer, count in Counter(answers).most_common():
        yield f"{answer} ({count})" if count > 1 else answer
