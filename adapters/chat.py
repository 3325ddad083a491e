"""Adapter for chat models of transformers that look at images: what ``AutoModelForImageTextToText`` loads."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from vlbench.adapters.pretrained import Pretrained, config_of, described, generation_arguments, padded, stopped
from vlbench.adapters.written import ALONE, log_probabilities, seeded
from vlbench.errors import ModelError
from vlbench.hookspecs import hookimpl
from vlbench.specs import AdapterSpec
from vlbench.types import Generate, LogLikelihood, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from PIL import Image

    from vlbench.types import Decoding

ELSEWHERE = ("blip", "blip-2", "vision-encoder-decoder")
"""Model types of the same Auto class that take no chat, and have an adapter of their own or none."""


def _claims(path: Path) -> bool:
    kind = config_of(path).get("model_type")
    if not kind or kind in ELSEWHERE or not ({"vision_config", "text_config"} & set(config_of(path))):
        return False
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


@hookimpl
def vlbench_register_adapters() -> Iterable[AdapterSpec]:
    """Return the adapter."""
    description = "chat models with images of transformers: LLaVA, Qwen-VL, SmolVLM and their like"
    return [AdapterSpec("chat", description, "vlbench.adapters.chat:Chat", _claims)]


class Turn(NamedTuple):
    """A prepared request: the images, the conversation up to the answer, and what the answer would be."""

    images: tuple[Image.Image, ...]
    text: str
    continuation: str
    request: Generate | LogLikelihood


class Chat(Pretrained):
    """Answers the user's turn of a chat, images first, by the checkpoint's own chat template."""

    prompt_family = "chat"

    def load(self) -> None:
        """Load model and processor; raises ``ModelError``, also for a checkpoint without a chat template."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.model = self.pretrained(AutoModelForImageTextToText)
        self._processor = self.processor(AutoProcessor)
        self._tokenizer = self._processor.tokenizer
        if not getattr(self._processor, "chat_template", None) and not self._tokenizer.chat_template:
            raise ModelError(f"{self.options.checkpoint} has no chat template; is it a chat model?")
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        # What is written follows the prompt, so the prompts of a batch must end together.
        self._tokenizer.padding_side = "left"
        ends = self.model.generation_config.eos_token_id
        self._ends = list(ends) if isinstance(ends, list) else [self._tokenizer.eos_token_id if ends is None else ends]
        self._end = self._end_of_turn()

    def _end_of_turn(self) -> int:
        """Return the end mark that the template writes behind an answer; a model may end in several ways."""
        from jinja2 import TemplateError

        answered = [
            {"role": "user", "content": [{"type": "text", "text": "Q"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "X"}]},
        ]
        try:
            shown = str(self._processor.apply_chat_template(answered))
        except (TemplateError, TypeError):
            return int(self._ends[0])
        behind = self._encode(shown[shown.rindex("X") + 1 :]) if "X" in shown else []
        return int(next((token for token in behind if token in self._ends), self._ends[0]))

    def preprocessing(self) -> str:
        """Return the processor with all its parts, the tokenizer and the chat template, as text."""
        template = getattr(self._processor, "chat_template", None) or self._tokenizer.chat_template
        return described(self._processor, self._tokenizer, template, ALONE)

    def prepare(self, request: Request, images: tuple[Any, ...]) -> Any:
        """Write the conversation by the chat template."""
        if not isinstance(request, Generate | LogLikelihood):
            return super().prepare(request, images)
        content: list[dict[str, str]] = [{"type": "image"} for _ in images]
        if request.prompt:
            content.append({"type": "text", "text": request.prompt})
        text = self._processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        return Turn(images, text, getattr(request, "continuation", ""), request)

    def generate(self, items: Sequence[Turn]) -> Sequence[str]:
        """Write one answer an item."""
        texts = [""] * len(items)
        groups: dict[tuple[Decoding, bool], list[int]] = {}
        for n, item in enumerate(items):
            assert isinstance(item.request, Generate)
            # Processors want all conversations of a batch with images, or none.
            groups.setdefault((item.request.decoding, len(item.images) > 0), []).append(n)
        for (decoding, _), rows in groups.items():
            with seeded(decoding):
                for n, text in zip(rows, self._write([items[n] for n in rows]), strict=True):
                    texts[n] = text
        return texts

    def _write(self, items: Sequence[Turn]) -> list[str]:
        request = items[0].request
        assert isinstance(request, Generate)
        inputs = self._inputs(items)
        written = self.model.generate(
            **inputs,
            eos_token_id=self._ends,
            pad_token_id=self._tokenizer.pad_token_id,
            **generation_arguments(request.decoding),
        )
        texts = self._tokenizer.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [stopped(text, request.decoding.stop) for text in texts]

    def _inputs(self, items: Sequence[Turn]) -> dict[str, Any]:
        import torch

        images = [list(item.images) for item in items]
        # The template has written the marks of the text's beginning already.
        made = self._processor(
            text=[item.text for item in items],
            images=images if any(images) else None,
            padding=True,
            add_special_tokens=False,
            return_tensors="pt",
        )
        dtype = getattr(torch, self.dtype)
        return {
            name: value.to(self.device, dtype if value.is_floating_point() else None) for name, value in made.items()
        }

    def loglikelihood(self, items: Sequence[Turn]) -> Sequence[tuple[float, int]]:
        """Return the log-probability of each answer with its end mark, and its number of tokens.

        Answers to one prompt about the same images share a pass over both: their keys and values are kept.
        """
        totals: list[tuple[float, int]] = [(0.0, 0)] * len(items)
        groups: dict[tuple[str, tuple[int, ...]], list[int]] = {}
        for n, item in enumerate(items):
            groups.setdefault((item.text, tuple(id(image) for image in item.images)), []).append(n)
        for rows in groups.values():
            for n, total in zip(rows, self._continued([items[n] for n in rows]), strict=True):
                totals[n] = total
        return totals

    def _continued(self, items: Sequence[Turn]) -> list[tuple[float, int]]:
        """Score the answers to one conversation."""
        import torch

        inputs = self._inputs(items[:1])
        for part in self.model.modules():
            if hasattr(part, "rope_deltas"):
                # Qwen-VL remembers where the last images ended, and would go on from there without images too.
                part.rope_deltas = None
        answers = [[*self._encode(item.continuation), self._end] for item in items]
        ids = padded(answers, self._tokenizer.pad_token_id)[0].to(self.device)
        seen = self.model(**inputs, use_cache=True)
        # The keyword was renamed in transformers 5.
        keyword = "cache" if "cache" in inspect.signature(self.model.forward).parameters else "past_key_values"
        cache = seen.get("cache") or seen.get("past_key_values")
        last = seen.logits[:, -1:].expand(len(items), -1, -1)
        cache.batch_repeat_interleave(len(items))
        # No mask: nothing looks ahead to the pads, and from a mask of prompt and answer Qwen-VL counts both as new.
        logits = self.model(input_ids=ids, use_cache=True, **{keyword: cache}).logits
        # The last token of the prompt predicts the first of the answer.
        logits = torch.cat((last, logits), dim=1)
        shifted = torch.cat((ids[:, :1], ids), dim=1)
        return log_probabilities(logits, shifted, [(1, 1 + len(answer)) for answer in answers])

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids
