"""Adapter for BLIP-2 of transformers: the matching heads, and texts by a language model that sees the image."""

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
    BEHIND,
    Written,
    by_decoding,
    distinct_pixels,
    log_probabilities,
    no_picture,
    the_one,
)
from vlbench.errors import ModelError, UsageError
from vlbench.hookspecs import hookimpl
from vlbench.specs import AdapterSpec
from vlbench.transfer import to_device
from vlbench.types import Generate, LogLikelihood, Match, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import torch
    from PIL import Image

RETRIEVAL = "Blip2ForImageTextRetrieval"
WRITING = "Blip2ForConditionalGeneration"
# No embeddings: an image has one vector a query, and its score with a text is the greatest of their cosines.
CAPABILITIES_OF = {RETRIEVAL: ("match",), WRITING: ("generate", "loglikelihood")}
HEADS = ("itm", "itc")


def _claims(path: Path) -> bool:
    return bool(architectures(path) & set(CAPABILITIES_OF))


@hookimpl
def vlbench_register_adapters() -> Iterable[AdapterSpec]:
    """Return the adapter."""
    description = "BLIP-2 of transformers: matching, captions, questions, by the checkpoint's class"
    return [AdapterSpec("blip2", description, "vlbench.adapters.blip2:Blip2", _claims)]


class Blip2(ByClass):
    """What a checkpoint answers depends on the class that its ``config.json`` names (Li et al. 2023).

    ``--model-arg head=itm`` (the default) scores a pair by the matching head, ``head=itc`` by the greatest cosine of
    the image's query vectors with the text.
    """

    argument_names = (*ByClass.argument_names, "head")
    capabilities_of = CAPABILITIES_OF
    prompt_family = "blip2"

    def load(self) -> None:
        """Load model, image processor and tokenizer; raises ``ModelError``."""
        import transformers

        self._head = self.options.arguments.get("head", HEADS[0])
        if self._head not in HEADS:
            raise UsageError(f"--model-arg head={self._head} is neither itm nor itc")
        kind = self.kind(self.options)
        if kind == WRITING and "head" in self.options.arguments:
            raise UsageError(f"--model-arg head is of {RETRIEVAL}; this is a {kind}")
        self.model = self.pretrained(getattr(transformers, kind))
        self._images = self.processor(transformers.AutoImageProcessor)
        self._tokenizer = self.processor(transformers.AutoTokenizer)
        self._blank = self.prepare_image(no_picture())
        self._told: tuple[str, ...] = ()
        config = self.model.config
        self._queries = int(config.num_query_tokens)
        if kind == RETRIEVAL:
            positions = config.qformer_config.max_position_embeddings
            self._limit = min(int(positions), int(self._tokenizer.model_max_length))
        else:
            self._load_language_model()
        keep_only(self, self.capabilities(self.options))

    def _load_language_model(self) -> None:
        config, text = self.model.config, self.model.config.text_config
        if config.image_token_index is None:
            raise ModelError(
                f"{self.options.checkpoint} names no image_token_index in its config.json, which the library needs "
                "since transformers 4.46; take a newer revision of the checkpoint"
            )
        self._encoder_decoder = not config.use_decoder_only_language_model
        self._told = (ALONE if self._encoder_decoder else BEHIND,)
        # T5 has no positions to run out of, but a length of training.
        positions: int | None = getattr(text, "max_position_embeddings", None)
        self._limit = positions or int(getattr(text, "n_positions", 512))
        ends = self.model.language_model.generation_config.eos_token_id
        end = ends[0] if isinstance(ends, list) else ends
        if end is None:
            raise ModelError(f"{self.options.checkpoint} names no end token of its language model")
        self._end = int(end)

    def preprocessing(self) -> str:
        """Return the image processor, the tokenizer and how choices are tokenised, as text."""
        return described(self._images, self._tokenizer, self._queries, self._limit, *self._told)

    def prepare_image(self, image: Image.Image) -> torch.Tensor:
        """Return float32 (3, H, W), as the checkpoint's own processor makes it."""
        pixels: torch.Tensor = self._images(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels

    def prepare_text(self, text: str) -> list[int]:
        """Return ``[CLS] text [SEP]``."""
        return marked(self._tokenizer, text, self._limit)[0]

    def prepare(self, request: Request, images: tuple[Any, ...]) -> Any:
        """Tokenise: places for the image, the prompt, and a likelihood's continuation."""
        if not isinstance(request, Generate | LogLikelihood):
            return super().prepare(request, images)
        image = the_one(images, request, self._blank, "BLIP-2")
        ids, prefix, _ = self._ids(request)
        return Written(image, ids, prefix, request)

    def _ids(self, request: Generate | LogLikelihood) -> tuple[list[int], int, bool]:
        """Return the token ids, how many of them are image and prompt, and whether any were cut."""
        tail, room, cut = [], self._limit - self._queries, False
        if isinstance(request, LogLikelihood):
            words = self._continued(request)
            tail = [*words[: room // 2], self._end]
            cut = len(words) >= len(tail)
        if not self._encoder_decoder:
            room -= request.decoding.max_new_tokens if isinstance(request, Generate) else len(tail)
        asked, shortened = marked(self._tokenizer, request.prompt, max(2, room))
        head = [*[int(self.model.config.image_token_index)] * self._queries, *asked]
        return [*head, *tail], len(head), cut or shortened

    def _continued(self, request: LogLikelihood) -> list[int]:
        """Return the ids of the continuation: of a decoder's own, or of the words that follow the prompt."""

        def encode(text: str) -> list[int]:
            ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            return ids

        if self._encoder_decoder or not request.prompt:
            return encode(request.continuation)
        # A word inside a text begins with its blank.
        return encode(f"{request.prompt} {request.continuation}")[len(encode(request.prompt)) :]

    def truncates(self, request: Request) -> bool:
        """Tell whether the text is longer than what the model reads."""
        if isinstance(request, Generate | LogLikelihood):
            return self._ids(request)[2]
        return isinstance(request, Match) and marked(self._tokenizer, request.text, self._limit)[1]

    def match(self, pairs: Sequence[tuple[torch.Tensor, list[int]]]) -> Sequence[float]:
        """Return n scores: "match" less "no match" of the matching head, or cosines."""
        import torch

        distinct = {id(image): image for image, _ in pairs}
        places = {key: n for n, key in enumerate(distinct)}
        hidden = self._vision(torch.stack(list(distinct.values())))
        rows = torch.tensor([places[id(image)] for image, _ in pairs], device=self.device)
        ids, mask = padded([text for _, text in pairs], self._tokenizer.pad_token_id)
        ids, mask = ids.to(self.device), mask.to(self.device)
        score = self._matched if self._head == "itm" else self._cosines
        scores: list[float] = score(hidden, rows, ids, mask).float().tolist()
        return scores

    def _matched(self, hidden: torch.Tensor, rows: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return (n,): queries and text look at the image ``hidden[rows]`` together, the head at each query."""
        import torch

        queries = self.model.query_tokens.expand(len(ids), -1, -1)
        read = torch.cat((mask.new_ones(queries.shape[:2]), mask), dim=1)
        fused = self.model.qformer(
            query_embeds=self.model.embeddings(input_ids=ids, query_embeds=queries),
            query_length=self._queries,
            attention_mask=read,
            encoder_hidden_states=hidden[rows],
        ).last_hidden_state
        head = self.model.itm_head
        logits: torch.Tensor = head(fused[:, : self._queries].to(head.weight.dtype)).mean(dim=1).float()
        return logits[:, 1] - logits[:, 0]

    def _cosines(self, hidden: torch.Tensor, rows: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return (n,): the greatest cosine of the queries' vectors of the image with the text's."""
        from torch.nn.functional import normalize

        image, text = self.model.vision_projection, self.model.text_projection
        seen = normalize(image(self._asked(hidden).to(image.weight.dtype)), dim=-1)
        states = self.model.qformer(
            query_embeds=self.model.embeddings(input_ids=ids), query_length=0, attention_mask=mask
        ).last_hidden_state
        read = normalize(text(states[:, 0].to(text.weight.dtype)), dim=-1)
        cosines: torch.Tensor = (seen[rows] * read[:, None]).sum(dim=-1).amax(dim=1)
        return cosines

    def _vision(self, pixels: torch.Tensor) -> torch.Tensor:
        pixels = to_device(pixels, self.device, self.dtype)
        hidden: torch.Tensor = self.model.vision_model(pixel_values=pixels).last_hidden_state
        return hidden

    def _asked(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return (m, queries, width): what the queries found in images."""
        queries = self.model.query_tokens.expand(len(hidden), -1, -1)
        found: torch.Tensor = self.model.qformer(query_embeds=queries, encoder_hidden_states=hidden).last_hidden_state
        return found

    def generate(self, items: Sequence[Written]) -> Sequence[str]:
        """Write one text an item."""
        return by_decoding(items, self._write)

    def _write(self, items: Sequence[Written]) -> list[str]:
        import torch

        request = items[0].request
        assert isinstance(request, Generate)
        pixels = to_device(torch.stack([item.pixels for item in items]), self.device, self.dtype)
        ids = torch.tensor([item.ids for item in items], device=self.device)
        written = self.model.generate(
            pixel_values=pixels,
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            **generation_arguments(request.decoding),
        )
        given = 1 if self._encoder_decoder else ids.shape[1]
        texts = self._tokenizer.batch_decode(written[:, given:], skip_special_tokens=True)
        return [stopped(text, request.decoding.stop) for text in texts]

    def loglikelihood(self, items: Sequence[Written]) -> Sequence[tuple[float, int]]:
        """Return the log-probability of each continuation with its end mark, and its number of tokens.

        Each distinct image is encoded once.
        """
        pixels, rows = distinct_pixels(items)
        hidden = self._vision(pixels)
        seen = self.model.language_projection(self._asked(hidden).to(hidden.dtype))[rows.to(self.device)]
        if not self._encoder_decoder:
            embedded, mask, ids = self._embedded([item.ids for item in items], seen)
            logits = self.model.language_model(inputs_embeds=embedded, attention_mask=mask).logits
            return log_probabilities(logits, ids, [(item.prefix, len(item.ids)) for item in items])
        embedded, mask, _ = self._embedded([item.ids[: item.prefix] for item in items], seen)
        start = int(self.model.language_model.config.decoder_start_token_id)
        answers = [[start, *item.ids[item.prefix :]] for item in items]
        ids, read = (part.to(self.device) for part in padded(answers, self._pad))
        logits = self.model.language_model(
            inputs_embeds=embedded, attention_mask=mask, decoder_input_ids=ids, decoder_attention_mask=read
        ).logits
        return log_probabilities(logits, ids, [(1, len(answer)) for answer in answers])

    def _embedded(
        self, rows: Sequence[list[int]], seen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return embeddings (n, length, width) with the image in its places, the mask, and the ids."""
        ids, mask = (part.to(self.device) for part in padded(rows, self._pad))
        words = self.model.language_model.get_input_embeddings()(ids)
        words[:, : self._queries] = seen.to(words.dtype)
        return words, mask, ids

    @property
    def _pad(self) -> int:
        return int(self._tokenizer.pad_token_id if self._tokenizer.pad_token_id is not None else self._end)
