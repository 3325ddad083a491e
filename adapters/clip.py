"""Adapter for dual encoders of transformers (CLIP, SigLIP, ALIGN and their like) and OpenAI's own archives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vlbench.adapters import trimming
from vlbench.adapters.pretrained import Pretrained, activation_notes, config_of, described, marked, padded
from vlbench.errors import ModelError, UsageError
from vlbench.hookspecs import hookimpl
from vlbench.specs import AdapterSpec
from vlbench.transfer import to_device
from vlbench.types import EmbedText, Match, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch
    from PIL import Image


class TextRule(NamedTuple):
    """How texts were fed in training: all padded to ``length`` (None: only to the longest), with a mask or without."""

    length: int | None = None
    masked: bool = True


RULES = {
    "clip": TextRule(),
    # Trained on texts padded to 64 without a mask (Zhai et al. 2023); unpadded ones come out otherwise.
    "siglip": TextRule(64, masked=False),
    "siglip2": TextRule(64, masked=False),
    "align": TextRule(64),
    "chinese_clip": TextRule(),
    "altclip": TextRule(),
}
ARCHIVES = (".pt", ".pth")


class Patches(NamedTuple):
    """A picture in its own shape, for SigLIP 2's NaFlex: float32 (p, patch pixels), int mask (p,), rows and columns."""

    pixel_values: torch.Tensor
    pixel_attention_mask: torch.Tensor
    spatial_shapes: torch.Tensor


def _claims(path: Path) -> bool:
    if path.is_file():
        return path.suffix in ARCHIVES
    return config_of(path).get("model_type") in RULES


@hookimpl
def vlbench_register_adapters() -> Iterable[AdapterSpec]:
    """Return the adapter."""
    description = "CLIP, SigLIP, SigLIP 2, ALIGN, Chinese-CLIP and AltCLIP of transformers, and OpenAI's .pt archives"
    return [AdapterSpec("clip", description, "vlbench.adapters.clip:Clip", _claims)]


class Clip(Pretrained):
    """Embeds images and texts with a dual encoder; the checkpoint is a folder, a hub repository or a ``.pt`` file.

    Texts are padded to the longest of their batch where the model was not trained on another length; ``--model-arg
    trim=off`` pads them to all that the model reads.
    """

    argument_names = (*Pretrained.argument_names, "trim")

    def load(self) -> None:
        """Load model, image processor and tokenizer; raises ``ModelError``."""
        path = Path(self.options.checkpoint)
        self._encoder: _Transformers | _OpenAI
        if path.suffix in ARCHIVES and path.is_file():
            if set(self.options.arguments) - {"trim"}:
                raise UsageError(f"{path} is an archive of OpenAI's; no --model-arg but trim applies to it")
            self._encoder = _OpenAI(path, self.device, self.dtype, trimming.wanted(self.options.arguments))
        else:
            self._encoder = _Transformers(self)
        self.model = self._encoder.model
        self.logit_scale = self._encoder.logit_scale

    def preprocessing(self) -> str:
        """Return the image transform and the tokenizer, as text."""
        return self._encoder.preprocessing()

    def notes(self) -> Sequence[str]:
        """Return a warning of a CLIP whose configuration lacks the activation that its weights need."""
        return self._encoder.notes

    def prepare_image(self, image: Image.Image) -> torch.Tensor | Patches:
        """Return float32 (3, H, W) or patches, as the checkpoint's own processor makes it."""
        return self._encoder.prepare_image(image)

    def prepare_text(self, text: str) -> list[int]:
        """Return token ids, cut to what the model reads."""
        return self._encoder.tokens(text)[0]

    def truncates(self, request: Request) -> bool:
        """Tell whether the text is longer than what the model reads."""
        return isinstance(request, EmbedText | Match) and self._encoder.tokens(request.text)[1]

    def embed_images(self, images: Sequence[Any]) -> torch.Tensor:
        """Return (n, d)."""
        import torch

        if not isinstance(images[0], Patches):
            return self._encoder.embed_images(to_device(torch.stack(list(images)), self.device, self.dtype))
        parts = Patches(*(torch.stack(part).to(self.device) for part in zip(*images, strict=True)))
        parts = parts._replace(pixel_values=parts.pixel_values.to(getattr(torch, self.dtype)))
        return _pooled(self.model.get_image_features(**parts._asdict()))

    def embed_texts(self, texts: Sequence[list[int]]) -> torch.Tensor:
        """Return (n, d)."""
        return self._encoder.embed_texts(texts)


class _Transformers:
    """A dual encoder through transformers' Auto classes."""

    def __init__(self, adapter: Clip) -> None:
        from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

        folder = adapter.config_folder(adapter.options.checkpoint, adapter.options.revision)
        kind = str(config_of(folder).get("model_type"))
        if kind not in RULES:
            raise ModelError(f"{adapter.options.checkpoint} is a {kind} model; the adapter knows {', '.join(RULES)}")
        self._rule = RULES[kind]
        self.model = adapter.pretrained(AutoModel)
        self._images = adapter.processor(AutoImageProcessor)
        self._tokenizer = adapter.processor(AutoTokenizer)
        self._device = adapter.device
        text = self.model.config.text_config
        positions = int(getattr(text, "max_position_embeddings", 512))
        # XLM-R counts positions from behind its padding id.
        offset = int(text.pad_token_id) + 1 if "roberta" in str(text.model_type) or kind == "altclip" else 0
        self._length = None if self._rule.length is None else min(self._rule.length, positions)
        self._limit = self._length or min(positions - offset, int(self._tokenizer.model_max_length))
        self._least = 0 if trimming.wanted(adapter.options.arguments) else self._limit
        if hasattr(self.model, "logit_scale"):
            self.logit_scale = float(self.model.logit_scale.detach().float().exp())
        else:
            self.logit_scale = 1.0 / float(self.model.temperature.detach().float())
        towers = (self.model.config.vision_config, self.model.config.text_config)
        activations = [str(tower.hidden_act) for tower in towers] if kind == "clip" else []
        # A folder that was saved again says where its weights came from.
        origin = str(config_of(folder).get("_name_or_path") or "")
        given = adapter.options.checkpoint
        # Of a folder its own name counts, not where it lies.
        names = [Path(given).name if Path(given).is_dir() else given, origin]
        self.notes = next((found for name in names if (found := activation_notes(name, activations))), [])

    def preprocessing(self) -> str:
        return described(self._images, self._tokenizer, self._rule, self._limit)

    def prepare_image(self, image: Image.Image) -> torch.Tensor | Patches:
        made = self._images(images=image, return_tensors="pt")
        if "spatial_shapes" in made:
            return Patches(*(made[name][0] for name in Patches._fields))
        pixels: torch.Tensor = made["pixel_values"][0]
        return pixels

    def tokens(self, text: str) -> tuple[list[int], bool]:
        return marked(self._tokenizer, text, self._limit)

    def embed_images(self, pixels: torch.Tensor) -> torch.Tensor:
        return _pooled(self.model.get_image_features(pixel_values=pixels))

    def embed_texts(self, texts: Sequence[list[int]]) -> torch.Tensor:
        pad = self._tokenizer.pad_token_id
        if self._length is not None:
            # Without a mask the side of the pads decides what is read: SigLIP reads the last place, whatever it holds.
            left = self._tokenizer.padding_side == "left"
            pads = [[pad] * (self._length - len(ids)) for ids in texts]
            texts = [[*more, *ids] if left else [*ids, *more] for ids, more in zip(texts, pads, strict=True)]
        ids, mask = padded(texts, pad, least=self._least)
        if self._length is not None:
            mask = (ids != pad).long()
        inputs = {"input_ids": ids.to(self._device)}
        if self._rule.masked:
            inputs["attention_mask"] = mask.to(self._device)
        return _pooled(self.model.get_text_features(**inputs))


class _OpenAI:
    """A CLIP model in OpenAI's own archive, built by open_clip's code for it, with QuickGELU."""

    notes: Sequence[str] = ()

    def __init__(self, path: Path, device: str, dtype: str, trim: bool) -> None:
        import open_clip
        import torch
        from open_clip.model import build_model_from_openai_state_dict
        from open_clip.transform import PreprocessCfg, image_transform_v2

        from vlbench.adapters.openai_archive import read_archive

        state = read_archive(path)
        if "visual.conv1.weight" not in state or "text_projection" not in state:
            raise ModelError(f"{path} is not a CLIP checkpoint of OpenAI (it lacks visual.conv1.weight)")
        try:
            self.model = build_model_from_openai_state_dict(state, cast_dtype=torch.float32).float()
            # The library rounds to float16, which is what OpenAI stored; a float32 state dict keeps its digits.
            self.model.load_state_dict({name: tensor.float() for name, tensor in state.items()})
        except (RuntimeError, KeyError, ValueError) as error:
            raise ModelError(f"{path} does not make a CLIP model ({' '.join(str(error).split())[:200]})") from error
        self.model = self.model.to(device, getattr(torch, dtype)).eval()
        self._tower = trimming.causal_tower(self.model) if trim else None
        self._device = device
        side = self.model.visual.image_size
        self._transform = image_transform_v2(PreprocessCfg(size=side if isinstance(side, int) else side[0]), False)
        self._tokenizer = open_clip.SimpleTokenizer(context_length=self.model.context_length)
        self.logit_scale = float(self.model.logit_scale.detach().float().exp())

    def preprocessing(self) -> str:
        return described(repr(self._transform), "SimpleTokenizer", self.model.context_length)

    def prepare_image(self, image: Image.Image) -> torch.Tensor:
        pixels: torch.Tensor = self._transform(image)
        return pixels

    def tokens(self, text: str) -> tuple[list[int], bool]:
        ids: list[int] = self._tokenizer([text])[0].tolist()
        return ids, len(self._tokenizer.encode(text)) + 2 > len(ids)

    def embed_images(self, pixels: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.model.encode_image(pixels)
        return embedded

    def embed_texts(self, texts: Sequence[list[int]]) -> torch.Tensor:
        import torch

        ids = torch.tensor(texts, device=self._device)
        if self._tower is not None:
            return trimming.embed_trimmed(self._tower, ids)
        embedded: torch.Tensor = self.model.encode_text(ids)
        return embedded


def _pooled(output: Any) -> torch.Tensor:
    """Return the embedding: transformers 5 wraps it in an output, transformers 4 does not."""
    pooled: torch.Tensor = getattr(output, "pooler_output", output)
    return pooled
