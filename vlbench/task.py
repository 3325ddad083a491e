"""Tasks: a protocol over a dataset split, from samples to requests and from responses to metrics.

A task speaks to models only in requests. ``rounds`` is a generator: it yields a list of requests, receives the
responses by request key, may yield more (re-ranking needs the first answers), and returns one row of scores a sample.
Most tasks only write ``requests`` and ``score``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from vlbench.errors import UnsupportedTask, UsageError
from vlbench.types import Dataset, ImageRef, Metric, Request, Response, SampleRow
from vlbench.views import view_by_id

if TYPE_CHECKING:
    from pathlib import Path

    from vlbench.data.source import DataRoot
    from vlbench.views import SampleView

SampleT = TypeVar("SampleT")
Rounds = Generator[Sequence[Request], Mapping[str, Response], list[SampleRow]]


@dataclass(frozen=True)
class Protocol:
    """How a task is put to a model. All of it is in the signature.

    ``name`` tells the way of answering (``embed``, ``generate``, ``rank-top16/embed``); ``routes`` maps a capability
    that the task requests to the native capability that answers it; ``template`` turns prompt and choice into the text
    that ranks a choice when ``choose`` is derived; ``prompt`` is the prompt with its decoding, as shown.
    """

    name: str
    routes: Mapping[str, str] = field(default_factory=dict)
    prompt: str = "none"
    template: str = "{prompt} {choice}"
    extra: Mapping[str, str] = field(default_factory=dict)


class Task(Generic[SampleT]):
    """Base class of tasks.

    Class attributes: ``name``, ``version`` (raised whenever numbers may change), ``dataset``, ``primary_metric`` and
    ``argument_help`` (the keys that ``--task-arg`` may set, with one line each).
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    dataset: ClassVar[str]
    primary_metric: ClassVar[str]
    argument_help: ClassVar[Mapping[str, str]] = {}

    def __init__(self, arguments: Mapping[str, str] | None = None) -> None:
        """Store ``arguments``; raises ``UsageError`` for one that the task does not know."""
        self.arguments = dict(arguments or {})
        unknown = sorted(set(self.arguments) - set(self.argument_help))
        if unknown:
            known = ", ".join(self.argument_help) or "none"
            raise UsageError(f"unknown --task-arg {unknown[0]!r} for {self.name}; it takes: {known}")

    def protocol(self, capabilities: frozenset[str]) -> Protocol:
        """Choose how a model with ``capabilities`` (native ones) answers; raises ``UnsupportedTask``."""
        raise NotImplementedError

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[SampleT]:
        """Read annotations; no image is opened. Raises ``DataError`` naming the file where something is wrong."""
        raise NotImplementedError

    def images(self, dataset: Dataset[SampleT]) -> Iterable[ImageRef]:
        """Return the images of all samples, for the check that none is missing."""
        return (sample.image for sample in dataset.samples)  # type: ignore[attr-defined]

    def views(self, dataset: Dataset[SampleT]) -> Iterable[tuple[str, SampleView]]:
        """Return samples as the readers of a site see them, by the ids of their rows.

        By default those of captioned images and visual questions; tasks with samples of another type write their own.
        """
        return (view for sample in dataset.samples for view in view_by_id(sample))

    def requests(self, sample: SampleT, protocol: Protocol) -> Sequence[Request]:
        """Return the requests of one sample."""
        raise NotImplementedError

    def score(self, sample: SampleT, responses: Sequence[Response], protocol: Protocol) -> SampleRow:
        """Score one sample; ``responses`` in the order of its requests, ``Failure`` among them for failed ones."""
        raise NotImplementedError

    def rounds(self, dataset: Dataset[SampleT], protocol: Protocol) -> Rounds:
        """Yield requests, receive responses by key, return the rows. By default one round over ``requests``."""
        asked = [list(self.requests(sample, protocol)) for sample in dataset.samples]
        responses = yield [request for requests in asked for request in requests]
        return [
            self.score(sample, [responses[request.key] for request in requests], protocol)
            for sample, requests in zip(dataset.samples, asked, strict=True)
        ]

    def scored_together(self) -> str:
        """Return why samples cannot be scored a few at a time, as an early stop needs it; empty where they can."""
        return "" if type(self).rounds is Task.rounds else "its samples are scored together"

    def followed(self, rows: Sequence[SampleRow], metric: str) -> Sequence[SampleRow]:
        """Return the rows that ``rounds_of`` counts; raises ``UsageError`` for a metric that cannot be followed."""
        return rows

    def rounds_of(self, dataset: Dataset[SampleT], protocol: Protocol, metric: str, places: Sequence[int]) -> Rounds:
        """Do what ``rounds`` does for some rows alone: those at ``places`` of ``followed``, in that order."""
        subset = dataclasses.replace(dataset, samples=tuple(dataset.samples[place] for place in places))
        return self.rounds(subset, protocol)

    def aggregate(self, rows: Sequence[SampleRow], dataset: Dataset[SampleT]) -> Mapping[str, Metric]:
        """Turn rows into metrics."""
        raise NotImplementedError

    def scoring(self) -> Mapping[str, str]:
        """Return what of the arguments changes how answers are scored; it is in the signature of runs and files."""
        return {}

    def scoring_model(self) -> str | None:
        """Return the name of a second model that helps to score, if there is one; it must embed images and texts."""
        return None

    def scoring_rounds(self, dataset: Dataset[SampleT], rows: Sequence[SampleRow], model: str) -> Rounds:
        """Put requests to the scoring ``model`` as ``rounds`` does to a model; return the rows with its scores."""
        raise NotImplementedError

    def notes(self, dataset: Dataset[SampleT], limit: int | None) -> Sequence[str]:
        """Return what a reader of the numbers must know: distortions by a subset, and the like."""
        return ()

    def predictions(self, path: Path, dataset: Dataset[SampleT]) -> Any:
        """Read a file in the official results format, for ``score_predictions``: usually the answer by sample id.

        Tasks without such a format raise ``UsageError``.
        """
        raise UsageError(f"{self.name} has no official results format that can be scored")

    def score_predictions(self, predictions: Any, dataset: Dataset[SampleT]) -> list[SampleRow]:
        """Score what ``predictions`` returned by the same rules as a model's responses."""
        raise UsageError(f"{self.name} has no official results format that can be scored")

    def predictions_protocol(self) -> Protocol:
        """Return the protocol of scored predictions: nobody knows how they were made, only how they are scored."""
        return Protocol("predictions", prompt="unknown")

    def submission(self, rows: Sequence[SampleRow], dataset: Dataset[SampleT]) -> tuple[str, bytes] | None:
        """Return name and content of the file that an evaluation server takes, for a split without public answers.

        None for every other split. The metrics of such a split are null with the reason.
        """
        return None

    def load_references(self, path: Path, split: str | None = None) -> Dataset[SampleT]:
        """Read references for ``vlbench score`` from one file; tasks without such a form raise ``UsageError``.

        ``split`` is the one asked for, where the file holds several or does not tell.
        """
        raise UsageError(f"{self.name} takes its references from --data ROOT, not from --references")

    def unsupported(self, capabilities: frozenset[str], needs: str) -> UnsupportedTask:
        """Return the error for a model that lacks ``needs``."""
        have = ", ".join(sorted(capabilities)) or "nothing"
        return UnsupportedTask(f"{self.name} needs {needs}; the model can only {have}")
