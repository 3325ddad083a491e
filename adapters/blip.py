"""Adapter for BLIP of transformers: matching and retrieval heads, captioning, question answering."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlbench.adapters.pretrained import (
    ByClass,
    architectures,
    described,
    generation_arguments,
    keep_only,
    marked,
    padded,
    stopped,
)
from vlbench.adapters.written import (
    ALONE,
    Written,
    by_decoding,
    distinct_pixels,
    log_probabilities,
    no_picture,
    the_one,
)
from vlbench.hookspecs import hookimpl
from vlbench.specs import AdapterSpec
from vlbench.transfer import to_device
from vlbench.types import EmbedText, Generate, LogLikelihood, Match, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import torch
    from PIL import Image

RETRIEVAL = "BlipForImageTextRetrieval"
CAPTION = "BlipForConditionalGeneration"
QUESTIONS = "BlipForQuestionAnswering"
CAPABILITIES_OF = {
    RETRIEVAL: ("embed_images", "embed_texts", "match"),
    CAPTION: ("generate", "loglikelihood"),
    QUESTIONS: ("generate", "loglikelihood"),
}


def _claims(path: Path) -> bool:
    return bool(architectures(path) & set(CAPABILITIES_OF))


@hookimpl
def vlbench_register_adapters() -> Iterable[AdapterSpec]:
    """Return the adapter."""
    description = "BLIP of transformers: retrieval, captions, questions, by the checkpoint's class"
    return [AdapterSpec("blip", description, "vlbench.adapters.blip:Blip", _claims)]


class Blip(ByClass):
    """What a checkpoint answers depends on the class that its ``config.json`` names."""

    capabilities_of = CAPABILITIES_OF

    def load(self) -> None:
        """Load model, image processor and tokenizer; raises ``ModelError``."""
        import transformers

        self._kind = self.kind(self.options)
        self.model = self.pretrained(getattr(transformers, self._kind))
        self._images = self.processor(transformers.AutoImageProcessor)
        self._tokenizer = self.processor(transformers.AutoTokenizer)
        # BLIP's checkpoints hold no logit scale; training starts at this one, and any ranks alike.
        self.logit_scale = 1 / 0.07
        self._blank = self.prepare_image(no_picture())
        keep_only(self, self.capabilities(self.options))

    def preprocessing(self) -> str:
        """Return the image processor and the tokenizer, as text."""
        return described(self._images, self._tokenizer, self._kind, ALONE)

    def prepare_image(self, image: Image.Image) -> torch.Tensor:
        """Return float32 (3, H, W), as the checkpoint's own processor makes it."""
        pixels: torch.Tensor = self._images(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels

    def prepare_text(self, text: str) -> list[int]:
        """Return ``[CLS] text [SEP]``."""
        return marked(self._tokenizer, text, self._limit)[0]

    @property
    def _limit(self) -> int:
        positions = int(self.model.config.text_config.max_position_embeddings)
        return min(positions, int(self._tokenizer.model_max_length))

    def prepare(self, request: Request, images: tuple[Any, ...]) -> Any:
        """Tokenise; a likelihood's ids are the prompt and the continuation."""
        if not isinstance(request, Generate | LogLikelihood):
            return super().prepare(request, images)
        image = the_one(images, request, self._blank, "BLIP")
        ids, prefix, _ = self._ids(request)
        return Written(image, ids, prefix, request)

    def _ids(self, request: Generate | LogLikelihood) -> tuple[list[int], int, bool]:
        """Return the token ids that the model reads, how many of them are the prompt, and whether any were cut."""
        tail: list[int] = []
        if isinstance(request, LogLikelihood):
            words = self._tokenizer(request.continuation, add_special_tokens=False, verbose=False)["input_ids"]
            tail = [*words[: self._limit // 2], self._end]
        room = self._limit
        if self._kind == CAPTION:
            # Prompt and caption stand in one decoder; a question has an encoder of its own.
            room -= request.decoding.max_new_tokens if isinstance(request, Generate) else len(tail)
        head, cut = marked(self._tokenizer, request.prompt, max(2, room))
        if self._kind == CAPTION:
            # A caption goes on behind its prompt, so the prompt has no end mark; a question is read whole.
            head = [int(self.model.config.text_config.bos_token_id), *head[1:-1]]
        return [*head, *tail], len(head), cut or (bool(tail) and len(words) >= len(tail))

    @property
    def _end(self) -> int:
        return int(self.model.config.text_config.sep_token_id)

    def truncates(self, request: Request) -> bool:
        """Tell whether the text is longer than what the model reads."""
        if isinstance(request, Generate | LogLikelihood):
            return self._ids(request)[2]
        return isinstance(request, EmbedText | Match) and marked(self._tokenizer, request.text, self._limit)[1]

    def embed_images(self, images: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return (n, d): the projected class token of the vision model."""
        hidden = self._vision(images)
        embedded: torch.Tensor = self.model.vision_proj(hidden[:, 0])
        return embedded

    def embed_texts(self, texts: Sequence[list[int]]) -> torch.Tensor:
        """Return (n, d): the projected class token of the text encoder."""
        ids, mask = self._batch(texts)
        hidden = self.model.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        embedded: torch.Tensor = self.model.text_proj(hidden[:, 0])
        return embedded

    def match(self, pairs: Sequence[tuple[torch.Tensor, list[int]]]) -> Sequence[float]:
        """Return n logits that text and image belong together: "match" less "no match" of the matching head."""
        import torch

        distinct = {id(image): image for image, _ in pairs}
        places = {key: n for n, key in enumerate(distinct)}
        hidden = self._vision(list(distinct.values()))
        rows = torch.tensor([places[id(image)] for image, _ in pairs], device=self.device)
        ids, mask = self._batch([text for _, text in pairs])
        fused = self.model.text_encoder(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=hidden[rows]
        ).last_hidden_state
        logits = self.model.itm_head(fused[:, 0]).float()
        scores: list[float] = (logits[:, 1] - logits[:, 0]).tolist()
        return scores

    def _vision(self, images: Sequence[torch.Tensor]) -> torch.Tensor:
        import torch

        pixels = to_device(torch.stack(list(images)), self.device, self.dtype)
        hidden: torch.Tensor = self.model.vision_model(pixel_values=pixels).last_hidden_state
        return hidden

    def _batch(self, rows: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        ids, mask = padded(rows, self._tokenizer.pad_token_id)
        return ids.to(self.device), mask.to(self.device)

    def generate(self, items: Sequence[Written]) -> Sequence[str]:
        """Write one text an item."""
        return by_decoding(items, self._write)

    def _write(self, items: Sequence[Written]) -> list[str]:
        import torch

        request = items[0].request
        assert isinstance(request, Generate)
        pixels = to_device(torch.stack([item.pixels for item in items]), self.device, self.dtype)
        ids = torch.tensor([item.ids for item in items], device=self.device)
        arguments = generation_arguments(request.decoding)
        if self._kind == CAPTION:
            # The library drops the last token, which would be the end mark of the prompt.
            ids = torch.cat((ids, torch.full_like(ids[:, :1], self._end)), dim=1)
        written = self.model.generate(
            pixel_values=pixels, input_ids=ids, attention_mask=torch.ones_like(ids), **arguments
        )
        given = 1 if self._kind == QUESTIONS else len(items[0].ids)
        texts = self._tokenizer.batch_decode(written[:, given:], skip_special_tokens=True)
        return [stopped(text, request.decoding.stop) for text in texts]

    def loglikelihood(self, items: Sequence[Written]) -> Sequence[tuple[float, int]]:
        """Return the log-probability of each continuation with its end mark, and its number of tokens."""
        pixels, rows = distinct_pixels(items)
        seen = self._vision(list(pixels))[rows.to(self.device)]
        if self._kind == CAPTION:
            ids, mask = self._batch([item.ids for item in items])
            logits = self.model.text_decoder(input_ids=ids, attention_mask=mask, encoder_hidden_states=seen).logits
            return log_probabilities(logits, ids, [(item.prefix, len(item.ids)) for item in items])
        totals: list[tuple[float, int]] = [(0.0, 0)] * len(items)
        # The library's decoder looks at the padding of questions, mask or not: only questions of one length together.
        for length in sorted({item.prefix for item in items}):
            part = [n for n, item in enumerate(items) if item.prefix == length]
            for n, total in zip(part, self._answered([items[n] for n in part], seen[part]), strict=True):
                totals[n] = total
        return totals

    def _answered(self, items: Sequence[Written], seen: torch.Tensor) -> list[tuple[float, int]]:
        """Score the answers to questions of one length about image tokens ``seen`` (n, m, width)."""
        asked, _ = self._batch([item.ids[: item.prefix] for item in items])
        question = self.model.text_encoder(input_ids=asked, encoder_hidden_states=seen).last_hidden_state
        answers = [[int(self.model.decoder_start_token_id), *item.ids[item.prefix :]] for item in items]
        ids, mask = self._batch(answers)
        logits = self.model.text_decoder(input_ids=ids, attention_mask=mask, encoder_hidden_states=question).logits
        return log_probabilities(logits, ids, [(1, len(answer)) for answer in answers])
