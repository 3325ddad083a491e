"""Adapter for ``VisionEncoderDecoderModel`` of transformers: ViT + GPT-2 and every other pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlbench.adapters.pretrained import (
    Pretrained,
    config_of,
    described,
    generation_arguments,
    padded,
    stopped,
)
from vlbench.adapters.written import (
    BEHIND,
    Written,
    by_decoding,
    distinct_pixels,
    log_probabilities,
    no_picture,
    the_one,
)
from vlbench.errors import ModelError
from vlbench.hookspecs import hookimpl
from vlbench.specs import AdapterSpec
from vlbench.transfer import to_device
from vlbench.types import Generate, LogLikelihood, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import torch
    from PIL import Image


def _claims(path: Path) -> bool:
    return config_of(path).get("model_type") == "vision-encoder-decoder"


@hookimpl
def vlbench_register_adapters() -> Iterable[AdapterSpec]:
    """Return the adapter."""
    description = "VisionEncoderDecoderModel of transformers, such as ViT + GPT-2: captions"
    target = "vlbench.adapters.vision_encoder_decoder:VisionEncoderDecoder"
    return [AdapterSpec("vision_encoder_decoder", description, target, _claims)]


class VisionEncoderDecoder(Pretrained):
    """Writes texts about an image; a prompt, where there is one, is what the decoder begins with."""

    unused = ("encoder.pooler.",)

    def load(self) -> None:
        """Load model, image processor and tokenizer; raises ``ModelError``."""
        from transformers import AutoImageProcessor, AutoTokenizer, VisionEncoderDecoderModel

        self.model = self.pretrained(VisionEncoderDecoderModel)
        self._images = self.processor(AutoImageProcessor)
        self._tokenizer = self.processor(AutoTokenizer)
        decoder, config, made = self.model.config.decoder, self.model.config, self.model.generation_config
        begins = [getattr(of, "decoder_start_token_id", None) for of in (made, config, decoder)]
        ends = [getattr(of, "eos_token_id", None) for of in (made, decoder, self._tokenizer)]
        pads = [getattr(of, "pad_token_id", None) for of in (made, config, self._tokenizer)]
        others = [getattr(of, "bos_token_id", None) for of in (decoder, self._tokenizer)]
        self._start = self._first("start", *begins, *others, getattr(self._tokenizer, "cls_token_id", None))
        self._end = self._first("end", *ends)
        self._pad = self._first("padding", *pads, self._end)
        # Nothing here reads the pooler, and files such as TrOCR's lack it: its random weights must not be hashed.
        if getattr(self.model.encoder, "pooler", None) is not None:
            self.model.encoder.pooler = None
        self._blank = self.prepare_image(no_picture())
        self._limit = int(getattr(decoder, "max_position_embeddings", self._tokenizer.model_max_length))

    def preprocessing(self) -> str:
        """Return the image processor, the tokenizer and its marks, as text."""
        return described(self._images, self._tokenizer, [self._start, self._end, self._limit], BEHIND)

    def prepare_image(self, image: Image.Image) -> torch.Tensor:
        """Return float32 (3, H, W), as the checkpoint's own processor makes it."""
        pixels: torch.Tensor = self._images(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels

    def prepare(self, request: Request, images: tuple[Any, ...]) -> Any:
        """Tokenise: the start mark, the prompt, and the continuation with the end mark."""
        if not isinstance(request, Generate | LogLikelihood):
            return super().prepare(request, images)
        image = the_one(images, request, self._blank, "a VisionEncoderDecoderModel")
        ids, prefix, _ = self._ids(request)
        return Written(image, ids, prefix, request)

    def _ids(self, request: Generate | LogLikelihood) -> tuple[list[int], int, bool]:
        head = [self._start, *self._encode(request.prompt)]
        if isinstance(request, Generate):
            room = self._limit - request.decoding.max_new_tokens
            return head[: max(1, room)], len(head), len(head) > max(1, room)
        # A word inside a text begins with its blank: GPT-2 knows "Ġdog" far better than "dog".
        joined = f"{request.prompt} {request.continuation}" if request.prompt else request.continuation
        tail = [*self._encode(joined)[len(head) - 1 :], self._end]
        if len(head) + len(tail) <= self._limit:
            return [*head, *tail], len(head), False
        # What is scored stays whole as long as it can, with its end mark; the prompt gives way.
        tail = [*tail[:-1][: self._limit // 2], self._end]
        head = head[: self._limit - len(tail)]
        return [*head, *tail], len(head), True

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return ids

    def truncates(self, request: Request) -> bool:
        """Tell whether prompt and continuation are longer than what the decoder reads."""
        return isinstance(request, Generate | LogLikelihood) and self._ids(request)[2]

    def generate(self, items: Sequence[Written]) -> Sequence[str]:
        """Write one text an item."""
        return by_decoding(items, self._write)

    def _write(self, items: Sequence[Written]) -> list[str]:
        import torch

        request = items[0].request
        assert isinstance(request, Generate)
        encoded, rows = self._look(items)
        ids = torch.tensor([item.ids for item in items], device=self.device)
        from transformers.modeling_outputs import BaseModelOutput

        written = self.model.generate(
            decoder_input_ids=ids,
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded[rows]),
            decoder_start_token_id=self._start,
            bos_token_id=self._start,
            eos_token_id=self._end,
            pad_token_id=self._pad,
            **generation_arguments(request.decoding),
        )
        texts = self._tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)
        return [stopped(text, request.decoding.stop) for text in texts]

    def loglikelihood(self, items: Sequence[Written]) -> Sequence[tuple[float, int]]:
        """Return the log-probability of each continuation with its end mark, and its number of tokens."""
        from transformers.modeling_outputs import BaseModelOutput

        encoded, rows = self._look(items)
        ids, mask = padded([item.ids for item in items], self._pad)
        ids, mask = ids.to(self.device), mask.to(self.device)
        logits = self.model(
            decoder_input_ids=ids,
            decoder_attention_mask=mask,
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded[rows]),
            use_cache=False,
        ).logits
        return log_probabilities(logits, ids, [(item.prefix, len(item.ids)) for item in items])

    def _look(self, items: Sequence[Written]) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode each distinct image once; return the encodings and which of them is each item's."""
        pixels, rows = distinct_pixels(items)
        pixels = to_device(pixels, self.device, self.dtype)
        return self.model.encoder(pixel_values=pixels).last_hidden_state, rows.to(self.device)

    def _first(self, what: str, *values: Any) -> int:
        """Return the first id that is given (a generation config may hold lists); raises ``ModelError`` for none."""
        for value in values:
            if isinstance(value, list | tuple):
                value = value[0] if value else None
            if value is not None:
                return int(value)
        raise ModelError(f"{self.options.checkpoint} names no {what} token, in its configuration or its tokenizer")
