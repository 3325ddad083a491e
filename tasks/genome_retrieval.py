"""Region retrieval on Visual Genome: crops of regions against the phrases that describe them."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING, ClassVar

from vlbench.data.visual_genome import load_regions
from vlbench.tasks.arguments import integer
from vlbench.tasks.retrieval import Retrieval
from vlbench.tasks.retrieval_rounds import Queries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.data.source import DataRoot
    from vlbench.task import Protocol, Rounds
    from vlbench.tasks.retrieval_rounds import Outcomes
    from vlbench.types import CaptionedImage, Dataset, SampleRow

DEFAULT_PER_IMAGE = 5
PER_IMAGE_HELP = f"at most so many an image, chosen by a hash of their ids (default {DEFAULT_PER_IMAGE}; 0: all)"


class RegionQueries(Queries):
    """Crops and phrases; a phrase that describes several regions ("blue sky") is right for all of them."""

    def positives(self) -> tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]]:
        """Return the right phrases of each crop, and the right crops of each phrase, equal phrases taken as one."""
        said = [" ".join(request.text.lower().split()) for request in self.text_requests]
        alike: dict[str, list[int]] = defaultdict(list)
        for number, phrase in enumerate(said):
            alike[phrase].append(number)
        phrases = [sorted({n for own in numbers for n in alike[said[own]]}) for numbers in self.captions_of]
        return phrases, [sorted({self.owner[n] for n in alike[phrase]}) for phrase in said]


def _by_picture(rows: Sequence[SampleRow]) -> list[SampleRow]:
    return [dataclasses.replace(row, image_id=row.image_id.partition("/")[0]) for row in rows]


class VgRegionRetrieval(Retrieval):
    """A region's crop seeks any phrase that says the same as its own, a phrase any region that it describes."""

    name = "vg_region_retrieval"
    dataset = "visual_genome"
    queries = RegionQueries
    argument_help: ClassVar[Mapping[str, str]] = {**Retrieval.argument_help, "per_image": PER_IMAGE_HELP}

    def __init__(self, arguments: Mapping[str, str] | None = None) -> None:
        """Read the arguments; raises ``UsageError`` for one that is unknown or no number."""
        super().__init__(arguments)
        self._per_image = integer(self.name, self.arguments, "per_image", DEFAULT_PER_IMAGE, 0)

    def protocol(self, capabilities: frozenset[str]) -> Protocol:
        """Return the protocol of retrieval, with the number of regions an image."""
        extra = {"per_image": str(self._per_image)}
        return dataclasses.replace(super().protocol(capabilities), extra=extra)

    def _load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[CaptionedImage]:
        return load_regions(root.folder(self.dataset), split, limit, self._per_image)

    def _rows(
        self, dataset: Dataset[CaptionedImage], folds: Sequence[Queries], outcomes: Sequence[Outcomes]
    ) -> list[SampleRow]:
        """Rank as retrieval does; the rows of the regions of one picture belong together."""
        return _by_picture(super()._rows(dataset, folds, outcomes))

    def rounds_of(
        self, dataset: Dataset[CaptionedImage], protocol: Protocol, metric: str, places: Sequence[int]
    ) -> Rounds:
        """Rank some queries as retrieval does, with the rows of ``rounds``."""
        rows = yield from super().rounds_of(dataset, protocol, metric, places)
        return _by_picture(rows)

    def notes(self, dataset: Dataset[CaptionedImage], limit: int | None) -> Sequence[str]:
        """Say so where the gallery is not the whole split."""
        if limit is None and not dataset.partial:
            return ()
        return (
            f"the gallery has only {dataset.counts['regions']} regions; recall over a smaller gallery is easier, so "
            "these numbers are not those of the full split",
        )
