"""Captioning of regions on Visual Genome: the crop of a region, and the phrase that describes it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from vlbench.data.visual_genome import load_regions
from vlbench.tasks.arguments import integer
from vlbench.tasks.captioning import Captioning
from vlbench.tasks.genome_retrieval import DEFAULT_PER_IMAGE, PER_IMAGE_HELP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vlbench.data.source import DataRoot
    from vlbench.task import Protocol
    from vlbench.types import CaptionedImage, Dataset, Response, SampleRow


class VgRegionCaption(Captioning):
    """Describe the crop of a region; the one reference is its phrase. Regions are given, none has to be found."""

    name = "vg_region_caption"
    dataset = "visual_genome"
    argument_help: ClassVar[Mapping[str, str]] = {**Captioning.argument_help, "per_image": PER_IMAGE_HELP}

    def __init__(self, arguments: Mapping[str, str] | None = None) -> None:
        """Read the arguments; raises ``UsageError`` for one that is unknown or out of range."""
        super().__init__(arguments)
        self._per_image = integer(self.name, self.arguments, "per_image", DEFAULT_PER_IMAGE, 0)

    def protocol(self, capabilities: frozenset[str]) -> Protocol:
        """Return ``generate``, with the number of regions an image."""
        return dataclasses.replace(super().protocol(capabilities), extra=self._extra)

    def predictions_protocol(self) -> Protocol:
        """Return the protocol of predictions, with the number of regions an image."""
        return dataclasses.replace(super().predictions_protocol(), extra=self._extra)

    @property
    def _extra(self) -> Mapping[str, str]:
        return {"per_image": str(self._per_image)}

    def load(self, root: DataRoot, split: str | None, limit: int | None) -> Dataset[CaptionedImage]:
        """Read regions; no image is opened."""
        return load_regions(root.folder(self.dataset), split, limit, self._per_image)

    def notes(self, dataset: Dataset[CaptionedImage], limit: int | None) -> Sequence[str]:
        """Say where CIDEr's document frequencies are not those of the whole split."""
        if self.scoring() or (limit is None and not dataset.partial):
            return super().notes(dataset, limit)
        return (
            f"CIDEr's document frequencies come from only {dataset.counts['regions']} regions, so it is distorted; "
            "compare only with scores of the same regions",
        )

    def _rows(self, dataset: Dataset[CaptionedImage], responses: Sequence[Response]) -> list[SampleRow]:
        """Score all captions together; the rows of the regions of one picture belong together."""
        rows = super()._rows(dataset, responses)
        return [dataclasses.replace(row, image_id=row.image_id.partition("/")[0]) for row in rows]
