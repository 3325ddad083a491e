"""Tensors on their way from the host to a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def to_device(tensor: torch.Tensor, device: str, dtype: str) -> torch.Tensor:
    """Return ``tensor`` on ``device`` in ``dtype``, the name of a type of torch; the values are those of ``Tensor.to``.

    On CUDA the copy goes through pinned memory and is not waited for: the host goes on to launch the model, whose
    kernels wait in the device's own queue. The caching allocator of pinned memory keeps the block until then.
    """
    import torch

    if device.startswith("cuda"):
        return tensor.pin_memory().to(device, non_blocking=True).to(getattr(torch, dtype))
    return tensor.to(device, getattr(torch, dtype))
