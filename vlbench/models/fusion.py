"""The three ways in which image and text come together, behind one interface.

======================  ==============================================================================================
``LateFusion``          two towers that meet in a dot product (CLIP, Radford et al. 2021)
``EarlyFusion``         one stream over image and text tokens (UNITER, Chen et al. 2020; ViLT, Kim et al. 2021)
``InteractiveFusion``   text layers with cross-attention to an encoded image (ALBEF, Li et al. 2021; BLIP, 2022)
======================  ==============================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from vlbench.models.layers import TransformerLayer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vlbench.models.config import ModelConfig


class Fusion(nn.ModuleList):
    """What all strategies answer. ``fuses`` tells whether a text token can see the image at all.

    ``image`` (b, m, width) comes from the image encoder, ``text`` (b, n, width) from the text encoder; ``mask`` is
    bool, broadcastable to (b, 1, n, n), True where a text token may look at another.
    """

    fuses: ClassVar[bool] = True

    def image_alone(self, image: torch.Tensor) -> torch.Tensor:
        """Return image tokens (b, m, width) after all that happens to them without a text."""
        return image

    def text_alone(self, text: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return text tokens (b, n, width) after all that happens to them without an image."""
        return text

    def forward(
        self, text: torch.Tensor, mask: torch.Tensor, image: torch.Tensor, rows: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return text tokens (b, n, width) that have seen the image; text i sees image ``rows[i]`` (default i)."""
        raise NotImplementedError


class LateFusion(Fusion):
    """No layers: all that image and text share is the space of their embeddings."""

    fuses = False

    def __init__(self, config: ModelConfig) -> None:
        """Make nothing."""
        super().__init__()


class EarlyFusion(Fusion):
    """One stack of self-attention layers over ``[image tokens, text tokens]``.

    An image or a text alone goes through the same stack, which is how a single stream embeds (OneR, Jang et al. 2023).
    """

    def __init__(self, config: ModelConfig) -> None:
        """Make ``config.fusion_layers`` layers and one vector for each kind of token."""
        super().__init__(TransformerLayer(config, config.text_style) for _ in range(config.fusion_layers))
        self.kinds = nn.Parameter(torch.randn(2, config.width) * 0.02)

    def image_alone(self, image: torch.Tensor) -> torch.Tensor:
        """Run the stream over the image tokens."""
        return self._stream(image + self.kinds[0], None)

    def text_alone(self, text: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Run the stream over the text tokens."""
        return self._stream(text + self.kinds[1], mask)

    def forward(
        self, text: torch.Tensor, mask: torch.Tensor, image: torch.Tensor, rows: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Run the stream over both and return its text part."""
        image = image if rows is None else image[rows]
        both = torch.cat((image + self.kinds[0], text + self.kinds[1]), dim=1)
        return self._stream(both, joint_mask(mask, image.shape[1], text.shape[1]))[:, image.shape[1] :]

    def _stream(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        for layer in self:
            hidden = layer(hidden, mask)
        return hidden


def joint_mask(mask: torch.Tensor, image: int, text: int) -> torch.Tensor:
    """Return bool (b, 1, image + text, image + text) from the mask of the text alone.

    Every token sees the whole image. An image token sees the texts that every text token sees: a whole text that is
    read, a prompt, but no word that is still to be written, which it would give away.
    """
    mask = mask.expand(-1, -1, text, -1)
    common = mask.all(dim=-2, keepdim=True).expand(-1, -1, image, -1)
    seen = torch.cat((common, mask), dim=-2)
    return torch.cat((seen.new_ones(*seen.shape[:-1], image), seen), dim=-1)


class InteractiveFusion(Fusion):
    """Layers in which text tokens attend to each other and then to the image, which stays as it was encoded."""

    def __init__(self, config: ModelConfig) -> None:
        """Make ``config.fusion_layers`` layers with cross-attention."""
        super().__init__(TransformerLayer(config, config.text_style, cross=True) for _ in range(config.fusion_layers))

    def forward(
        self, text: torch.Tensor, mask: torch.Tensor, image: torch.Tensor, rows: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Run the layers."""
        for layer in self:
            text = layer(text, mask, image, rows)
        return text


STRATEGIES: Mapping[str, Callable[[ModelConfig], Fusion]] = {
    "early": EarlyFusion,
    "late": LateFusion,
    "interactive": InteractiveFusion,
}
