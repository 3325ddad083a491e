"""Adapter for ViLT of transformers: the retrieval head, and the question head over its own answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from vlbench.adapters.pretrained import ByClass, architectures, described, keep_only, marked, padded
from vlbench.errors import ModelError
from vlbench.hookspecs import hookimpl
from vlbench.specs import AdapterSpec
from vlbench.transfer import to_device
from vlbench.types import Generate, Match, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import torch
    from PIL import Image

RETRIEVAL = "ViltForImageAndTextRetrieval"
QUESTIONS = "ViltForQuestionAnswering"
# The question head scores its own few thousand answers: it cannot judge a sentence, so it does not choose among any.
CAPABILITIES_OF = {RETRIEVAL: ("match",), QUESTIONS: ("generate",)}


def _claims(path: Path) -> bool:
    return bool(architectures(path) & set(CAPABILITIES_OF))


@hookimpl
def vlbench_register_adapters() -> Iterable[AdapterSpec]:
    """Return the adapter."""
    description = "ViLT of transformers: retrieval, and questions answered from its own list, by the checkpoint's class"
    return [AdapterSpec("vilt", description, "vlbench.adapters.vilt:Vilt", _claims)]


class Vilt(ByClass):
    """What a checkpoint answers depends on the class that its ``config.json`` names."""

    capabilities_of = CAPABILITIES_OF

    def load(self) -> None:
        """Load model, image processor and tokenizer; raises ``ModelError``, also for answers without names."""
        import transformers

        kind = self.kind(self.options)
        self.model = self.pretrained(getattr(transformers, kind))
        # A limit on patches is kept by drawing some at random, which is for training: an answer would depend on luck.
        self.model.config.max_image_length = -1
        self._images = self.processor(transformers.AutoImageProcessor)
        self._tokenizer = self.processor(transformers.AutoTokenizer)
        self._answers = {int(n): str(text) for n, text in self.model.config.id2label.items()}
        if kind == QUESTIONS and all(text == f"LABEL_{n}" for n, text in self._answers.items()):
            raise ModelError(f"{self.options.checkpoint} does not name its answers; its config.json needs id2label")
        keep_only(self, self.capabilities(self.options))

    def preprocessing(self) -> str:
        """Return the image processor and the tokenizer, as text."""
        return described(self._images, self._tokenizer)

    def prepare_image(self, image: Image.Image) -> torch.Tensor:
        """Return float32 (3, H, W) of the picture's own shape, as the checkpoint's own processor makes it."""
        pixels: torch.Tensor = self._images(images=self._thickened(image), return_tensors="pt")["pixel_values"][0]
        return pixels

    def _thickened(self, image: Image.Image) -> Image.Image:
        """Stretch a picture so thin that the library would round its shorter side down to no patch at all."""
        # The library's bound on the longer side, from 1333 x 800 pixels of the authors.
        longest = int(1333 / 800 * int(self._images.size["shortest_edge"]))
        least = int(self._images.size_divisor)
        width, height = image.size
        if int(longest * min(width, height) / max(width, height) + 0.5) >= least:
            return image
        thick = math.ceil(max(width, height) * least / longest)
        return image.resize((max(width, thick), max(height, thick)))

    def prepare_text(self, text: str) -> list[int]:
        """Return ``[CLS] text [SEP]``."""
        return marked(self._tokenizer, text, self._limit)[0]

    @property
    def _limit(self) -> int:
        return min(int(self.model.config.max_position_embeddings), int(self._tokenizer.model_max_length))

    def prepare(self, request: Request, images: tuple[Any, ...]) -> Any:
        """Tokenise the text or the question."""
        if not isinstance(request, Generate):
            return super().prepare(request, images)
        if len(images) != 1:
            raise ValueError(f"ViLT looks at one image a request, not at {len(images)}")
        return images[0], self.prepare_text(request.prompt)

    def truncates(self, request: Request) -> bool:
        """Tell whether the text is longer than what the model reads."""
        if isinstance(request, Generate):
            return marked(self._tokenizer, request.prompt, self._limit)[1]
        return isinstance(request, Match) and marked(self._tokenizer, request.text, self._limit)[1]

    def match(self, pairs: Sequence[tuple[torch.Tensor, list[int]]]) -> Sequence[float]:
        """Return n logits that text and image belong together."""
        scores: list[float] = self._logits(pairs)[:, 0].tolist()
        return scores

    def generate(self, items: Sequence[tuple[torch.Tensor, list[int]]]) -> Sequence[str]:
        """Return the best of the model's answers to each question; a ``Decoding`` has nothing to decide here."""
        return [self._answers[n] for n in self._logits(items).argmax(dim=1).tolist()]

    def _logits(self, pairs: Sequence[tuple[torch.Tensor, list[int]]]) -> torch.Tensor:
        """Return float32 (n, outputs of the head)."""
        import torch

        pixels, seen = _framed([image for image, _ in pairs])
        ids, read = padded([text for _, text in pairs], self._tokenizer.pad_token_id)
        with torch.random.fork_rng(devices=[]):
            # The library shuffles the patches, which moves the last digits.
            torch.manual_seed(0)
            logits: torch.Tensor = self.model(
                input_ids=ids.to(self.device),
                attention_mask=read.to(self.device),
                pixel_values=to_device(pixels, self.device, self.dtype),
                pixel_mask=seen.to(self.device),
            ).logits
        return logits.float()


def _framed(images: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (n, 3, H, W), each in the upper left corner, and the int64 mask (n, H, W) of their pixels."""
    import torch

    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    pixels = torch.zeros(len(images), 3, height, width)
    mask = torch.zeros(len(images), height, width, dtype=torch.long)
    for n, image in enumerate(images):
        pixels[n, :, : image.shape[1], : image.shape[2]] = image
        mask[n, : image.shape[1], : image.shape[2]] = 1
    return pixels, mask
