"""Adapter for open_clip: dual encoders, and CoCa which writes too, by architecture and tag or local weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from vlbench import hub
from vlbench.adapter import Adapter
from vlbench.adapters import trimming
from vlbench.adapters.compiling import compile_parts
from vlbench.adapters.pretrained import activation_notes, described, padded, stopped, yes
from vlbench.adapters.written import (
    ALONE,
    Written,
    by_decoding,
    distinct_pixels,
    log_probabilities,
    no_picture,
    the_one,
)
from vlbench.errors import ModelError
from vlbench.hookspecs import hookimpl
from vlbench.specs import AdapterSpec, ModelSpec
from vlbench.transfer import to_device
from vlbench.types import EmbedText, Generate, LogLikelihood, Match, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import torch
    from PIL import Image

    from vlbench.adapter import LoadOptions
    from vlbench.models.search import Texts

RANDOM = "none"
CONFIG = "open_clip_config.json"
WRITING = frozenset({"generate", "loglikelihood"})


def _claims(path: Path) -> bool:
    """Tell whether ``path`` is a folder in open_clip's layout."""
    return (path / CONFIG).is_file()


@hookimpl
def vlbench_register_adapters() -> Iterable[AdapterSpec]:
    """Return the adapter."""
    description = "open_clip models, as open_clip:ARCHITECTURE[/PRETRAINED] or a folder with open_clip_config.json"
    return [AdapterSpec("open_clip", description, "vlbench.adapters.open_clip:OpenCLIP", _claims)]


@hookimpl
def vlbench_register_models() -> Iterable[ModelSpec]:
    """Return the well-known checkpoints of OpenAI (Radford et al. 2021) and LAION (Cherti et al. 2023)."""
    # OpenAI's weights were trained with QuickGELU: on the plain architecture they lose points in silence.
    named = {
        "clip-vit-b32": ("ViT-B-32-quickgelu/openai", "CLIP ViT-B/32, OpenAI", ("wit-400m",)),
        "clip-vit-b16": ("ViT-B-16-quickgelu/openai", "CLIP ViT-B/16, OpenAI", ("wit-400m",)),
        "clip-vit-l14": ("ViT-L-14-quickgelu/openai", "CLIP ViT-L/14, OpenAI", ("wit-400m",)),
        "clip-vit-b32-laion2b": ("ViT-B-32/laion2b_s34b_b79k", "CLIP ViT-B/32, LAION-2B", ("laion-2b",)),
    }
    return [
        ModelSpec(name, description, "open_clip", checkpoint, trained_on=trained_on)
        for name, (checkpoint, description, trained_on) in named.items()
    ]


class OpenCLIP(Adapter):
    """Embeds images and texts with an open_clip model; a CoCa (Yu et al. 2022) also writes about an image.

    The checkpoint is ``ARCHITECTURE``, ``ARCHITECTURE/TAG`` or a folder. ``--model-arg pretrained=FILE`` loads local
    weights, ``pretrained=none`` makes a random model from the run's seed, marked as such in the result. ``trim=off``
    runs a causal text tower over all of its places instead of those up to the longest text of the batch.
    ``compile=yes`` compiles the towers.
    """

    argument_names = ("pretrained", "trim", "compile")
    # CoCa's decoder scores the whole vocabulary at every place of a text: 64 captions with beams would take gigabytes.
    batch_sizes = {"generate": 16, "loglikelihood": 16}

    @classmethod
    def capabilities(cls, options: LoadOptions) -> frozenset[str]:
        """Return embeddings, and writing where the architecture has a decoder; raises ``ModelError``.

        A decoder on a text encoder of transformers has another vocabulary than its tokenizer in open_clip, and the
        encoder looks ahead: such an architecture only embeds.
        """
        config = cls._config(options.checkpoint)
        writes = "multimodal_cfg" in config and "hf_model_name" not in config.get("text_cfg", {})
        return super().capabilities(options) - (frozenset() if writes else WRITING)

    @staticmethod
    def _config(checkpoint: str) -> Mapping[str, Any]:
        """Return the configuration of the architecture, empty where open_clip has none of that name."""
        from pathlib import Path

        import open_clip

        folder: Path | None = None
        if _claims(Path(checkpoint)):
            folder = Path(checkpoint)
        elif checkpoint.startswith("local-dir:"):
            folder = Path(checkpoint.removeprefix("local-dir:"))
        elif checkpoint.startswith("hf-hub:"):
            folder = hub.config_folder(checkpoint.removeprefix("hf-hub:"), None, CONFIG)
        if folder is None:
            return open_clip.get_model_config(checkpoint.partition("/")[0]) or {}
        try:
            document = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            found: Mapping[str, Any] = document["model_cfg"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{folder / CONFIG} cannot be read as a configuration of open_clip ({error!r})") from error
        return found

    @classmethod
    def checkpoint_files(cls, options: LoadOptions) -> Sequence[Path]:
        """Return the files of the folder or the cached repository, and the weights that ``pretrained`` names.

        Weights by a tag lie where open_clip puts them: they are hashed each time.
        """
        from pathlib import Path

        weights = options.arguments.get("pretrained", "")
        if weights and not Path(weights).is_file():
            return ()
        place = options.checkpoint.removeprefix("local-dir:").removeprefix("hf-hub:")
        stored = hub.stored_files(place, None) if _claims(Path(place)) or ":" in options.checkpoint else []
        return [*stored, *([Path(weights)] if weights else [])]

    def load(self) -> None:
        """Build model, preprocessing and tokenizer; raises ``ModelError`` with the remedies."""
        import open_clip

        trim = trimming.wanted(self.options.arguments)
        architecture, pretrained = self._names()
        self.random_weights = pretrained == RANDOM
        known = open_clip.list_models()
        if not architecture.startswith(("local-dir:", "hf-hub:")) and architecture not in known:
            from vlbench.plugins import nearest

            raise ModelError(f"open_clip has no architecture {architecture!r}{nearest(architecture, known)}")
        if not pretrained and ":" not in architecture:
            raise ModelError(
                f"open_clip:{architecture} names no weights; add a tag (open_clip:{architecture}/TAG), "
                "--model-arg pretrained=FILE, or pretrained=none for a random model"
            )
        self.model, self._transform = self._create(architecture, None if self.random_weights else pretrained or None)
        self.model.eval()
        self._tower = trimming.causal_tower(self.model) if trim else None
        if yes(self.options.arguments, "compile"):
            # A tower that is run up to the longest text is entered at its transformer.
            entered = [] if self._tower in (None, self.model) else [self._tower.transformer]
            compile_parts([*self.model.children(), *entered], self.device)
        self._tokenizer = open_clip.get_tokenizer(architecture)
        self._architecture = architecture
        self.logit_scale = float(self.model.logit_scale.detach().exp())
        self._writes = self.capabilities(self.options) >= WRITING
        self._blank = self.prepare_image(no_picture())

    def _names(self) -> tuple[str, str]:
        from pathlib import Path

        checkpoint = self.options.checkpoint
        pretrained = self.options.arguments.get("pretrained", "")
        if _claims(Path(checkpoint)):
            return f"local-dir:{checkpoint}", pretrained
        architecture, _, tag = checkpoint.partition("/")
        return (checkpoint, pretrained) if ":" in checkpoint else (architecture, pretrained or tag)

    def _create(self, architecture: str, pretrained: str | None) -> tuple[Any, Any]:
        import open_clip
        import torch
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        remedies = (
            "give local weights (--model-arg pretrained=FILE), fill the Hugging Face cache on a machine with network "
            "(HF_HOME), or evaluate a random model (--model-arg pretrained=none)"
        )
        if self.random_weights:
            torch.manual_seed(self.options.seed)
        elif pretrained is not None and architecture in open_clip.list_models():
            self._check_tag(architecture, pretrained)
        try:
            with hub.no_long_wait():
                model, _, transform = open_clip.create_model_and_transforms(
                    architecture,
                    pretrained=pretrained,
                    precision={"float32": "fp32", "bfloat16": "pure_bf16", "float16": "pure_fp16"}[self.dtype],
                    device=self.device,
                    weights_only=True,
                )
        except (OSError, RuntimeError, ValueError, HfHubHTTPError, LocalEntryNotFoundError) as error:
            raise ModelError(f"cannot load open_clip:{architecture} ({hub.first_line(error)}); {remedies}") from error
        return model, transform

    def _check_tag(self, architecture: str, pretrained: str) -> None:
        from pathlib import Path

        import open_clip

        tags = open_clip.list_pretrained_tags_by_model(architecture)
        if pretrained in tags:
            quick = (open_clip.get_pretrained_cfg(architecture, pretrained) or {}).get("quick_gelu", False)
            if quick and not self._config(architecture).get("quick_gelu", False):
                raise ModelError(
                    f"the weights {pretrained} need QuickGELU, which {architecture} does not compute: they would lose "
                    f"points in silence; use open_clip:{architecture}-quickgelu/{pretrained}"
                )
            return
        if Path(pretrained).exists():
            return
        if "." in pretrained or "/" in pretrained:
            raise ModelError(f"weights file {pretrained} does not exist (--model-arg pretrained=FILE)")
        known = ", ".join(tags) or "none; give a file with --model-arg pretrained=FILE"
        raise ModelError(f"open_clip has no weights {pretrained!r} for {architecture}; its tags: {known}")

    def preprocessing(self) -> str:
        """Return the image transform and the tokenizer's context length, as text."""
        tokenizer = f"{type(self._tokenizer).__name__}:{getattr(self._tokenizer, 'context_length', None)}"
        if hasattr(self._tokenizer, "tokenizer"):  # one of transformers, under the library's own cleaning
            tokenizer += described(self._tokenizer.tokenizer, getattr(self._tokenizer.clean_fn, "__qualname__", ""))
        written = [ALONE] if self._writes else []
        local = self._architecture.startswith(("local-dir:", "hf-hub:"))
        return json.dumps([repr(self._transform), tokenizer, local, *written])

    def notes(self) -> Sequence[str]:
        """Return a warning of OpenAI's weights, by their name, in an architecture without QuickGELU."""
        from pathlib import Path

        quick = self._config(self.options.checkpoint).get("quick_gelu", False)
        places = (self.options.checkpoint, self.options.arguments.get("pretrained", ""))
        name = " ".join(Path(place).name for place in places if place)
        return activation_notes(name, ["quick_gelu" if quick else "gelu"])

    def prepare_image(self, image: Image.Image) -> torch.Tensor:
        """Return float32 (3, H, W), normalised."""
        tensor: torch.Tensor = self._transform(image)
        return tensor

    def prepare_text(self, text: str) -> torch.Tensor:
        """Return int64 (context length,)."""
        tokens: torch.Tensor = self._tokenizer([text])[0]
        return tokens

    def prepare(self, request: Request, images: tuple[Any, ...]) -> Any:
        """Tokenise what is to be written about: the start mark and the prompt; a likelihood's continuation too."""
        if not isinstance(request, Generate | LogLikelihood):
            return super().prepare(request, images)
        image = the_one(images, request, self._blank, "CoCa")
        ids, prefix, _ = self._ids(request)
        return Written(image, ids, prefix, request)

    def _ids(self, request: Generate | LogLikelihood) -> tuple[list[int], int, bool]:
        """Return the tokens that the decoder reads, how many of them are the prompt, and whether any were cut."""
        limit = int(self.model.context_length)
        head = [self._tokenizer.sot_token_id, *self._tokenizer.encode(request.prompt)]
        if isinstance(request, Generate):
            room = max(1, limit - request.decoding.max_new_tokens)
            return head[:room], min(len(head), room), len(head) > room
        tail = self._tokenizer.encode(request.continuation)
        room = max(1, limit - len(tail) - 1)
        kept = [*head[:room], *tail[: limit - 2], self._tokenizer.eot_token_id]
        return kept, min(len(head), room), len(head) + len(tail) + 1 > limit

    def truncates(self, request: Request) -> bool:
        """Tell whether the text is longer than the context; the last position then holds the end mark all the same."""
        if isinstance(request, Generate | LogLikelihood):
            return self._ids(request)[2]
        if not isinstance(request, EmbedText | Match) or not hasattr(self._tokenizer, "encode"):
            return False
        return bool(len(self._tokenizer.encode(request.text)) + 2 > self._tokenizer.context_length)

    def embed_images(self, images: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return (n, d)."""
        import torch

        batch = to_device(torch.stack(list(images)), self.device, self.dtype)
        embedded: torch.Tensor = self.model.encode_image(batch)
        return embedded

    def embed_texts(self, texts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return (n, d)."""
        import torch

        ids = torch.stack(list(texts)).to(self.device)
        if self._tower is not None:
            return trimming.embed_trimmed(self._tower, ids)
        embedded: torch.Tensor = self.model.encode_text(ids)
        return embedded

    def generate(self, items: Sequence[Written]) -> Sequence[str]:
        """Write one text an item; each distinct image is encoded once."""
        if not self._writes:
            raise NotImplementedError
        pixels, rows = distinct_pixels(items)
        seen = self._look(pixels)
        row_of = {id(item.pixels): row for item, row in zip(items, rows.tolist(), strict=True)}
        return by_decoding(items, lambda part: self._write(part, seen, [row_of[id(item.pixels)] for item in part]))

    def _write(self, items: Sequence[Written], seen: _Seen, rows: Sequence[int]) -> list[str]:
        """Write about the images ``rows`` of ``seen``, for items of like decoding and prompt length."""
        import torch

        from vlbench.models.search import search

        request = items[0].request
        assert isinstance(request, Generate)
        seen = seen.select(rows)
        words = self._tokenizer.vocab_size

        def next_logits(texts: Texts) -> torch.Tensor:
            logits = self._logits(texts.ids, seen.select(texts.owners))[:, -1].float()
            # In training the pad mark is no target, the start mark comes before all targets, and a decoder may have
            # more words than the tokenizer.
            logits[:, [self.model.pad_id, self._tokenizer.sot_token_id]] = -torch.inf
            logits[:, words:] = -torch.inf
            return logits

        prompts = torch.tensor([item.ids for item in items], device=self.device)
        lengths = torch.full_like(prompts[:, 0], prompts.shape[1])
        steps = min(request.decoding.max_new_tokens, int(self.model.context_length) - prompts.shape[1])
        written = search(next_logits, prompts, lengths, self._tokenizer.eot_token_id, request.decoding, steps)
        return [stopped(self._tokenizer.decode(tokens), request.decoding.stop) for tokens in written]

    def loglikelihood(self, items: Sequence[Written]) -> Sequence[tuple[float, int]]:
        """Return the log-probability of each continuation with its end mark, and its number of tokens."""
        if not self._writes:
            raise NotImplementedError
        pixels, rows = distinct_pixels(items)
        ids = padded([item.ids for item in items], self.model.pad_id)[0].to(self.device)
        logits = self._logits(ids, self._look(pixels).select(rows))
        return log_probabilities(logits, ids, [(item.prefix, len(item.ids)) for item in items])

    def _look(self, pixels: torch.Tensor) -> _Seen:

        output = self.model(to_device(pixels, self.device, self.dtype))
        return _Seen(output["image_features"], output["image_embs"])

    def _logits(self, ids: torch.Tensor, seen: _Seen) -> torch.Tensor:
        """Return (n, length, vocabulary): at each place the scores of the next token. CoCa reads texts causally."""
        output = self.model(None, ids, image_latent=seen.latent, image_embs=seen.tokens, output_labels=False)
        logits: torch.Tensor = output["logits"]
        return logits


class _Seen(NamedTuple):
    """What CoCa makes of images: the embedding (m, d), and the tokens (m, places, width) that its decoder looks at."""

    latent: torch.Tensor
    tokens: torch.Tensor

    def select(self, rows: Sequence[int] | torch.Tensor) -> _Seen:
        """Return what was seen in the images ``rows``, in that order."""
        return _Seen(self.latent[rows], self.tokens[rows])
