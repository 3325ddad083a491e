"""VCR for models that see only pixels: what the texts point to is marked in the picture, and named by its mark."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vlbench.edits import PALETTE, Marks, colour_names
from vlbench.types import Choose, ImageRef

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.types import Region

_TAG = re.compile(r"\[(\w+)\]")


def marked(request: Choose, *, outlines: bool) -> Choose:
    """Return the request with the regions that its texts point to drawn, and ``[person1]`` as "the person marked red".

    The regions that are not pointed to are not drawn: a still of VCR may have fifty. Where more are than there are
    colours, texts name the labels that stand in the picture ("person9").
    """
    image = request.images[0]
    regions = pointed(image, (request.prompt, *request.choices))
    names = _names(regions)

    def plain(text: str) -> str:
        named = _TAG.sub(lambda found: names.get(found[1], found[0]), text)
        return f"T{named[1:]}" if text.startswith("[") and named.startswith("the ") else named

    return Choose(
        (drawn(image, regions, outlines=outlines),),
        plain(request.prompt),
        tuple(plain(choice) for choice in request.choices),
    )


def pointed(image: ImageRef, texts: Sequence[str]) -> tuple[Region, ...]:
    """Return the regions that ``texts`` point to as ``[label]``, in the order of the image."""
    labels = {label for text in texts for label in _TAG.findall(text)}
    return tuple(region for region in image.regions if region.label in labels)


def drawn(image: ImageRef, regions: tuple[Region, ...], *, outlines: bool) -> ImageRef:
    """Return the image with ``regions`` marked, and none to point to."""
    edits = (*image.edits, Marks(regions, outlines)) if regions else image.edits
    return ImageRef(image.source, image.name, edits=edits)


def _names(regions: Sequence[Region]) -> dict[str, str]:
    """Return how texts call the region of each label."""
    if len(regions) > len(PALETTE):
        return {region.label: region.label for region in regions}
    return {
        region.label: f"the {region.label.rstrip('0123456789')} marked {colour}"
        for region, colour in zip(regions, colour_names(len(regions)), strict=True)
    }
