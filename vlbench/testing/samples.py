"""Small requests for contract tests: four pictures and texts of several lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlbench.data.source import LocalFolder
from vlbench.types import (
    Choose,
    Decoding,
    EmbedImage,
    EmbedText,
    Generate,
    ImageRef,
    LogLikelihood,
    Match,
    Region,
    Request,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vlbench.adapter import Adapter

TEXTS = (
    "a red circle",
    "two blue squares next to a large green star in the lower left corner",
    "grass",
    "Is there a person to the left of the small yellow triangle?",
)


def pictures(folder: Path, names: Sequence[str] = ()) -> list[ImageRef]:
    """Draw four pictures into ``folder``, under ``names`` if given: plain colours with a disc, each with one region."""
    from PIL import Image, ImageDraw

    images = []
    colours = ("red", "green", "blue", "white")
    for index, colour in enumerate(colours):
        name = names[index % len(names)] if names else f"{colour}.png"
        image = Image.new("RGB", (96, 80), colour)
        ImageDraw.Draw(image).ellipse((10 + 8 * index, 10, 50 + 8 * index, 50), fill="yellow")
        image.save(folder / name)
        region = Region("object1", (10.0 + 8 * index, 10.0, 50.0 + 8 * index, 50.0))
        images.append(ImageRef(LocalFolder(folder), name, (region,)))
    return images


def requests_of(adapter: Adapter, folder: Path) -> dict[str, Sequence[Request]]:
    """Return four requests of every capability of ``adapter``, about pictures that are drawn into ``folder``."""
    images = pictures(folder, adapter.known_images)
    return {name: requests_for(name, images) for name in sorted(adapter.capabilities(adapter.options))}


def requests_for(capability: str, images: Sequence[ImageRef]) -> Sequence[Request]:
    """Return one request of ``capability`` for each image."""
    pairs = list(zip(images, TEXTS, strict=True))
    choices = ("[object1] is red", "[object1] is to the right of a small green star", "no", "yes")
    match capability:
        case "embed_images":
            return [EmbedImage(image) for image, _ in pairs]
        case "embed_texts":
            return [EmbedText(text) for _, text in pairs]
        case "match":
            return [Match(image, text) for image, text in pairs]
        case "choose":
            return [Choose((image,), text, choices) for image, text in pairs]
        case "generate":
            return [Generate((image,), "" if i % 2 else text, Decoding(8)) for i, (image, text) in enumerate(pairs)]
        case _:
            return [LogLikelihood((image,), text, choices[i]) for i, (image, text) in enumerate(pairs)]
