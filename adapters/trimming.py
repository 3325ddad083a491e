"""Text towers with causal attention, run only up to the place that is read of the longest text of a batch.

A place of a causal tower sees nothing behind it, so that what is read at the end mark is the same without the pads
that follow: equal up to the rounding of other shapes. Towers that look ahead, or read another place, are left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vlbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

READ = ("argmax", "eos")
"""Ways of open_clip to read a text at its end mark: the largest id, or the mark itself."""


def wanted(arguments: Mapping[str, str]) -> bool:
    """Tell whether ``--model-arg trim`` is on, which is the default; raises ``UsageError``."""
    value = arguments.get("trim", "on")
    if value not in ("on", "off"):
        raise UsageError(f"--model-arg trim={value} is neither on nor off")
    return value == "on"


def causal_tower(model: Any) -> Any | None:
    """Return the part of a model of open_clip that ``embed_trimmed`` can run, or None.

    CoCa's tower is causal too, but reads a mark of its own behind the pads.
    """
    tower = getattr(model, "text", model)
    reads = getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", None)
    causal = getattr(tower, "attn_mask", None) is not None and getattr(tower, "cls_emb", None) is None
    return tower if causal and reads in READ else None


def embed_trimmed(tower: Any, ids: torch.Tensor) -> torch.Tensor:
    """Return the embeddings (n, d) that ``encode_text`` gives for ``ids`` (n, context length)."""
    import torch

    if (getattr(tower, "text_pool_type", None) or tower.pool_type) == "argmax":
        places = ids.argmax(dim=-1)
    else:
        mark = tower.text_eos_id if hasattr(tower, "text_eos_id") else tower.eos_id
        places = (ids == mark).int().argmax(dim=-1)
    length = int(places.max()) + 1
    kind = tower.transformer.get_cast_dtype()
    states = tower.token_embedding(ids[:, :length]).to(kind) + tower.positional_embedding[:length].to(kind)
    states = tower.ln_final(tower.transformer(states, attn_mask=tower.attn_mask[:length, :length]))
    embedded = states[torch.arange(len(ids), device=ids.device), places]
    projection = tower.text_projection
    if isinstance(projection, torch.nn.Linear):
        embedded = projection(embedded)
    elif projection is not None:
        embedded = embedded @ projection
    pooled: torch.Tensor = embedded
    return pooled
