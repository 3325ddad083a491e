"""What the samples of a site show besides the answers: question, references and picture.

Rows hold ids and answers only, so that a leaderboard folder has nothing of a dataset in it. Here the dataset is read
again, and used only where its fingerprint is that of the result. A built site shows it only where its terms allow
publishing, which is known of the bundled scenes alone; ``vlbench leaderboard serve --data ROOT`` shows it on this
machine whatever the terms.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlbench.errors import VlbenchError
from vlbench.types import CaptionedImage, ImageRef, VCRItem, VisualQuestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from vlbench.plugins import Plugins
    from vlbench.result import Result

SCENES = "scenes/"


@dataclass(frozen=True)
class Truth:
    """A sample as people see it. ``choices`` are lists of texts that a response such as ``3 0`` points into."""

    question: str
    references: tuple[str, ...]
    image: ImageRef | None
    choices: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Truths:
    """The truths of a dataset by sample id, with the data root from which ``vlbench`` read them."""

    by_id: Mapping[str, Truth]

    def answer(self, sample_id: str, response: str) -> str:
        """Return a response as people read it: of a retrieved caption its text, of a choice the text chosen."""
        found = self.by_id.get(response) if response.startswith("t:") else None
        if found is not None:
            return found.question
        truth = self.by_id.get(sample_id)
        places = response.split()
        if truth is None or not truth.choices or len(places) != len(truth.choices):
            return response
        texts = [
            choices[int(place)] if place.isdecimal() and int(place) < len(choices) else place
            for place, choices in zip(places, truth.choices, strict=True)
        ]
        return " / ".join(texts)


NO_TRUTHS = Truths({})


def load_truths(result: Result, data: str | None, plugins: Plugins) -> Truths:
    """Return what the samples of ``result`` are; none where that may not be shown or is not at hand.

    Results on the bundled scenes always have theirs; those on other data only where ``data``, a folder on this
    machine, holds the very annotations that the result names.
    """
    scenes = result.task.dataset.startswith(SCENES)
    if (not scenes and data is None) or result.task.name not in plugins.tasks:
        return NO_TRUTHS
    from vlbench.runner.driver import load_dataset

    try:
        task = plugins.task(result.task.name).load()(result.settings.get("task_arguments", {}))
        dataset = load_dataset(task, None if scenes else data, result.task.split, result.task.limit)
    except VlbenchError:
        # Data of one task is no reason to show nothing of the others.
        return NO_TRUTHS
    if dataset.fingerprint != result.task.fingerprint:
        return NO_TRUTHS
    return Truths(dict(_truths(dataset.samples)))


def _truths(samples: Sequence[Any]) -> Iterator[tuple[str, Truth]]:
    for sample in samples:
        if isinstance(sample, CaptionedImage):
            whole = Truth("", tuple(caption.text for caption in sample.captions), sample.image)
            yield sample.image_id, whole
            yield f"i:{sample.image_id}", whole
            for caption in sample.captions:
                yield f"t:{caption.caption_id}", Truth(caption.text, (), sample.image)
        elif isinstance(sample, VisualQuestion):
            yield sample.question_id, Truth(sample.question, tuple(_counted(sample.answers)), sample.image)
        elif isinstance(sample, VCRItem):
            right = (sample.answers[sample.answer_label], sample.rationales[sample.rationale_label])
            yield sample.annot_id, Truth(sample.question, right, sample.image, (sample.answers, sample.rationales))


def _counted(answers: Iterable[str]) -> Iterator[str]:
    """Yield distinct answers, the most frequent first, with how many annotators gave them.

    >>> list(_counted(["red", "dark red", "red"]))
    ['red (2)', 'dark red']
    """
    for answer, count in Counter(answers).most_common():
        yield f"{answer} ({count})" if count > 1 else answer
