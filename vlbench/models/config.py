"""The configuration of a built-in model: what ``config.json`` of a checkpoint holds."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vlbench.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MODEL_TYPE = "vlbench"
FILE = "config.json"

SIZES: Mapping[str, Mapping[str, Any]] = {
    "nano": {"width": 32, "heads": 2, "vision_layers": 1, "text_layers": 1, "fusion_layers": 1, "embedding": 32},
    "tiny": {"width": 128, "heads": 4, "mlp_ratio": 2, "vision_layers": 3, "text_layers": 2, "fusion_layers": 3},
    "small": {"width": 384, "heads": 6, "vision_layers": 8, "text_layers": 4, "fusion_layers": 4},
    "base": {
        **{"width": 768, "heads": 12, "mlp_ratio": 4, "patch_size": 16, "image_size": 224},
        **{"vision_layers": 12, "text_layers": 6, "fusion_layers": 6},
    },
}
"""Named sizes; ``nano`` is for tests, ``base`` is ViT-B/16 and BERT-base, whose upper half fuses (ALBEF)."""

FUSIONS = ("early", "late", "interactive")
"""Fusion strategies; ``vlbench.models.fusion`` has them."""
NORMS = ("before", "after")
ACTIVATIONS = ("gelu", "quick_gelu")
NAMES: Mapping[str, tuple[str, ...]] = {
    "fusion": FUSIONS,
    "text_norm": NORMS,
    "image_activation": ACTIVATIONS,
    "image_positions": ("learned", "sinusoidal"),
}
"""Fields of a configuration that are one of several names."""
LEAST: Mapping[str, int] = {
    **dict.fromkeys(("vocabulary", "image_size", "width", "heads", "mlp_ratio", "embedding"), 1),
    **dict.fromkeys(("vision_layers", "text_layers", "fusion_layers", "patch_size"), 0),
    # A pair of texts has three marks, and a prompt two in its half.
    "max_length": 8,
}
"""Fields that are whole numbers, with the smallest."""


def layers_by_fusion(fusion: str, vision: int, text: int, fused: int) -> Mapping[str, int]:
    """Return where a model of ``fusion`` has the layers that an interactive one has in its three parts.

    The number of layers stays: an early model has them all in its one stream, a late one none between its towers.
    """
    if fusion == "early":
        return {"vision_layers": 0, "text_layers": 0, "fusion_layers": vision + text + fused}
    if fusion == "late":
        return {"vision_layers": vision, "text_layers": text + fused, "fusion_layers": 0}
    return {"vision_layers": vision, "text_layers": text, "fusion_layers": fused}


@dataclass(frozen=True)
class LayerStyle:
    """How a tower's layers compute: ``norm`` stands before or after each part (one of ``NORMS``)."""

    norm: str = "before"
    epsilon: float = 1e-5
    activation: str = "gelu"


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a model.

    ``stem`` are the channels of the stride-2 convolutions before the last one, which has ``width``; with a
    ``patch_size`` other than 0 patches of that side are projected instead (ViT).

    ``class_token``, ``embedding_norm`` (a layer norm before the first image layer, as CLIP has it), activation, norms
    and epsilons are what pretrained towers differ in; fusion layers are in the style of the text's.

    ``tags`` names the outputs of the tagging head, ``answers`` those of the answering head; ``objectives`` lists what
    the checkpoint was trained to answer, which decides its capabilities.
    """

    vocabulary: int
    image_size: int = 64
    stem: tuple[int, ...] = (32, 64)
    width: int = 128
    heads: int = 4
    mlp_ratio: int = 4
    vision_layers: int = 3
    text_layers: int = 2
    fusion_layers: int = 3
    fusion: str = "interactive"
    embedding: int = 256
    max_length: int = 96
    image_positions: str = "learned"
    patch_size: int = 0
    class_token: bool = False
    embedding_norm: bool = False
    image_activation: str = "gelu"
    image_epsilon: float = 1e-5
    text_norm: str = "before"
    text_epsilon: float = 1e-5
    dropout: float = 0.0
    tags: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ()
    trained_on: tuple[str, ...] = ()
    model_type: str = field(default=MODEL_TYPE)

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a name that there is not, a number of the wrong kind, and sizes that do not fit."""
        for name, least in LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} is {value!r}; it takes a whole number from {least}")
        for name in ("class_token", "embedding_norm"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it takes true or false")
        for name, known in NAMES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r} is none of {', '.join(known)}")
        if not isinstance(self.stem, tuple) or not all(isinstance(width, int) and width > 0 for width in self.stem):
            raise ValueError(f"stem is {self.stem!r}; it takes a list of channels, such as [32, 64]")
        if self.width % 4 or self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of 4 and of its {self.heads} heads")
        if self.image_size % self.stride:
            what = f"patch_size {self.patch_size}" if self.patch_size else f"{self.stride}, the stride of its stem"
            raise ValueError(f"image_size {self.image_size} is not a multiple of {what}")

    @property
    def stride(self) -> int:
        """Pixels along a side of a cell of the grid."""
        return self.patch_size or int(2 ** (len(self.stem) + 1))

    @property
    def grid(self) -> int:
        """Cells along a side of the image."""
        return self.image_size // self.stride

    @property
    def image_style(self) -> LayerStyle:
        """How the image encoder's layers compute."""
        return LayerStyle("before", self.image_epsilon, self.image_activation)

    @property
    def text_style(self) -> LayerStyle:
        """How the layers of text encoder and fusion compute."""
        return LayerStyle(self.text_norm, self.text_epsilon)

    def save(self, folder: Path) -> None:
        """Write ``config.json``."""
        text = json.dumps(dataclasses.asdict(self), indent=1)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> ModelConfig:
        """Read ``config.json``; raises ``ModelError`` naming what is wrong with it."""
        path = folder / FILE
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document.get("model_type") != MODEL_TYPE:
                raise ModelError(f"{path} is not of a built-in model (model_type {document.get('model_type')!r})")
            lists = {key: tuple(value) for key, value in document.items() if isinstance(value, list)}
            return cls(**{**document, **lists})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ModelError(f"{path} cannot be read as the configuration of a built-in model ({error})") from error


def is_checkpoint(path: Path) -> bool:
    """Tell whether ``path`` is a checkpoint folder of a built-in model."""
    try:
        return bool(json.loads((path / FILE).read_text(encoding="utf-8")).get("model_type") == MODEL_TYPE)
    except (OSError, ValueError, AttributeError):
        return False
