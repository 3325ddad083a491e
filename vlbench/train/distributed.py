"""Losses over the batch of all ranks, so that two processes learn what one would from the whole batch.

``DistributedDataParallel`` averages gradients over ranks. A contrast needs the rows of all ranks (``gather``); a mean
over a rank's own rows has to weigh what its rows are of all (``over_ranks``). Without a process group both do nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping


def ranks() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process among them."""
    return distributed.get_rank() if ranks() > 1 else 0


def is_first() -> bool:
    """Tell whether this is the one process, or the first of those that torchrun started; also before they meet."""
    return os.environ.get("RANK", "0") == "0"


class _GatherRows(torch.autograd.Function):
    """Rows of all ranks in the order of ranks; backward sums what all ranks' losses say about a rank's own rows."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, counts: list[int]) -> torch.Tensor:
        ctx.place = (sum(counts[: rank()]), counts[rank()])
        # Collectives take equal shapes, and a rank may have fewer rows than another.
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        start, count = ctx.place
        return total[start : start + count], None


def counts_of(count: int, device: torch.device) -> list[int]:
    """Return what each rank says for ``count``."""
    if ranks() == 1:
        return [count]
    parts = [torch.zeros(1, dtype=torch.long, device=device) for _ in range(ranks())]
    distributed.all_gather(parts, torch.tensor([count], device=device))
    return [int(part) for part in parts]


def gather(rows: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """Return the rows (n, …) of all ranks, of which rank r has ``counts[r]``, with gradients to all of them.

    With the same loss on every rank, backward gives each rank the sum of equal gradients, and the average over ranks
    that ``DistributedDataParallel`` takes is the gradient of the loss over the whole batch.
    """
    if ranks() == 1:
        return rows
    gathered: torch.Tensor = _GatherRows.apply(rows, counts)
    return gathered


def same_length(ids: torch.Tensor) -> torch.Tensor:
    """Pad texts (n, length) at the end to the longest of all ranks."""
    longest = max(counts_of(ids.shape[1], ids.device))
    return functional.pad(ids, (0, longest - ids.shape[1]))


def over_ranks(loss: torch.Tensor, count: float) -> torch.Tensor | None:
    """Turn the mean over ``count`` rows of this rank into a loss whose average over ranks is the mean over all rows.

    Returns None where no rank has a row.
    """
    if ranks() == 1:
        return loss if count else None
    total = torch.tensor(float(count), device=loss.device)
    distributed.all_reduce(total)
    if not float(total):
        return None
    if not count:
        # A mean over no row is NaN, and so would be its product with 0. A constant would not do: in the backward pass
        # the ranks with rows wait in ``gather`` for this one.
        return 0.0 * loss.nan_to_num()
    return loss * (count * ranks() / float(total))


def averaged(losses: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Return the averages of losses over ranks, which all have them under the same names."""
    if not losses:
        return {}
    values = torch.stack([loss.detach().float() for loss in losses.values()])
    if ranks() > 1:
        distributed.all_reduce(values)
        values = values / ranks()
    return dict(zip(losses, values.tolist(), strict=True))
