"""A real, tiny model family for tests: images and texts are embedded by their colours. Also a plugin file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import vlbench

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from PIL import Image

WORDS = ("red", "green", "blue")


class Colours(vlbench.Adapter):
    """Mean colour against the colour words of a text."""

    argument_names = ("nan_for", "raise_for", "memory")
    calls: list[tuple[str, int]]

    def load(self) -> None:
        self.calls = []

    def prepare_image(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image.resize((4, 4)), dtype=np.float32).mean(axis=(0, 1)) + 1.0

    def truncates(self, request: vlbench.types.Request) -> bool:
        return request.length > 60

    def embed_images(self, images: Sequence[Any]) -> np.ndarray:
        self.calls.append(("embed_images", len(images)))
        return np.stack(list(images))

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.calls.append(("embed_texts", len(texts)))
        limit = int(self.options.arguments.get("memory", "0"))
        if limit and len(texts) > limit:
            raise MemoryError(f"{len(texts)} texts")
        rows = []
        for text in texts:
            if self.options.arguments.get("raise_for", "\0") in text:
                raise RuntimeError("this text provokes an error")
            value = np.array([text.lower().count(word) for word in WORDS], dtype=np.float32) + 0.01
            rows.append(value * np.nan if self.options.arguments.get("nan_for", "\0") in text else value)
        return np.stack(rows)


@vlbench.hookimpl
def vlbench_register_models() -> Iterable[vlbench.ModelSpec]:
    return [vlbench.ModelSpec("colours", "mean colour against colour words", Colours)]
