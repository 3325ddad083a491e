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

TEXTS = (
    "a red circle",
    "two blue squares next to a large green star in the lower left corner",
    "grass",
    "Is there a person to the left of the small yellow triangle?",
)


def pictures(folder: Path) -> list[ImageRef]:
    """Draw four pictures into ``folder``: plain colours with a disc, each with one region."""
    from PIL import Image, ImageDraw

    images = []
    for index, colour in enumerate(("red", "green", "blue", "white")):
        image = Image.new("RGB", (96, 80), colour)
        ImageDraw.Draw(image).ellipse((10 + 8 * index, 10, 50 + 8 * index, 50), fill="yellow")
        image.save(folder / f"{colour}.png")
        region = Region("object1", (10.0 + 8 * index, 10.0, 50.0 + 8 * index, 50.0))
        images.append(ImageRef(LocalFolder(folder), f"{colour}.png", (region,)))
    return images


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
