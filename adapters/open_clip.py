"""Adapter for open_clip: every dual encoder of the library, by architecture and pretrained tag or local weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vlbench import hub
from vlbench.adapter import Adapter
from vlbench.errors import ModelError
from vlbench.hookspecs import hookimpl
from vlbench.specs import AdapterSpec, ModelSpec
from vlbench.types import EmbedText, Match, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import torch
    from PIL import Image

RANDOM = "none"


def _claims(path: Path) -> bool:
    """Tell whether ``path`` is a folder in open_clip's layout."""
    return (path / "open_clip_config.json").is_file()


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
    """Embeds images and texts with an open_clip model.

    The checkpoint is ``ARCHITECTURE``, ``ARCHITECTURE/TAG`` or a folder. ``--model-arg pretrained=FILE`` loads local
    weights, ``pretrained=none`` makes a random model from the run's seed, marked as such in the result.
    """

    argument_names = ("pretrained",)

    def load(self) -> None:
        """Build model, preprocessing and tokenizer; raises ``ModelError`` with the remedies."""
        import open_clip

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
        self._tokenizer = open_clip.get_tokenizer(architecture)
        self._architecture = architecture
        self.logit_scale = float(self.model.logit_scale.detach().exp())

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
        if pretrained in tags or Path(pretrained).exists():
            return
        if "." in pretrained or "/" in pretrained:
            raise ModelError(f"weights file {pretrained} does not exist (--model-arg pretrained=FILE)")
        known = ", ".join(tags) or "none; give a file with --model-arg pretrained=FILE"
        raise ModelError(f"open_clip has no weights {pretrained!r} for {architecture}; its tags: {known}")

    def preprocessing(self) -> str:
        """Return the image transform and the tokenizer's context length, as text."""
        tokenizer = f"{type(self._tokenizer).__name__}:{getattr(self._tokenizer, 'context_length', None)}"
        return json.dumps([repr(self._transform), tokenizer, self._architecture.startswith("local-dir:")])

    def prepare_image(self, image: Image.Image) -> torch.Tensor:
        """Return float32 (3, H, W), normalised."""
        tensor: torch.Tensor = self._transform(image)
        return tensor

    def prepare_text(self, text: str) -> torch.Tensor:
        """Return int64 (context length,)."""
        tokens: torch.Tensor = self._tokenizer([text])[0]
        return tokens

    def truncates(self, request: Request) -> bool:
        """Tell whether the text is longer than the context; the last position then holds the end mark all the same."""
        if not isinstance(request, EmbedText | Match) or not hasattr(self._tokenizer, "encode"):
            return False
        return bool(len(self._tokenizer.encode(request.text)) + 2 > self._tokenizer.context_length)

    def embed_images(self, images: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return (n, d)."""
        import torch

        batch = torch.stack(list(images)).to(self.device, getattr(torch, self.dtype))
        embedded: torch.Tensor = self.model.encode_image(batch)
        return embedded

    def embed_texts(self, texts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return (n, d)."""
        import torch

        embedded: torch.Tensor = self.model.encode_text(torch.stack(list(texts)).to(self.device))
        return embedded
