"""Fingerprints of weights: equal exactly when names, shapes, dtypes and bytes are equal."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def module_fingerprint(module: torch.nn.Module) -> str:
    """Return ``sha256:…`` over the module's state dict (names sorted, dtypes, shapes and bytes)."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        value = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        if value.numel():
            digest.update(memoryview(value.reshape(-1).view(torch.uint8).numpy()))
    return "sha256:" + digest.hexdigest()
