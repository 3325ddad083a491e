"""The teacher of a distillation: any model that embeds images and texts, asked once for each of them."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from vlbench.adapter import LoadOptions
from vlbench.errors import UnsupportedTask

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from vlbench.adapter import Adapter
    from vlbench.train.collate import Draw

KEPT = 500_000
"""Embeddings of each kind that are kept; of 512 numbers they take 1 GB."""
NEEDED = frozenset(("embed_images", "embed_texts"))


class Teacher:
    """Unit embeddings of a frozen model, each computed when it is first asked for, and kept."""

    def __init__(self, adapter: Adapter, trained_on: tuple[str, ...] = ()) -> None:
        """Ask ``adapter``; ``trained_on`` names what it has seen, and so what its pupil has seen through it."""
        self._adapter = adapter
        self.trained_on = trained_on
        self.scale = float(adapter.logit_scale)
        self._images: OrderedDict[Hashable, torch.Tensor] = OrderedDict()
        self._texts: OrderedDict[Hashable, torch.Tensor] = OrderedDict()

    @property
    def fingerprint(self) -> str:
        """That of the frozen model's weights."""
        return self._adapter.fingerprint()

    @classmethod
    def load(cls, model: str, device: str) -> Teacher:
        """Load what ``--teacher`` names; raises ``UnsupportedTask`` where it does not embed, or at random only."""
        from vlbench.adapters.baseline import Baseline
        from vlbench.plugins import load_plugins
        from vlbench.resolve import resolve_model
        from vlbench.runner.results import trained_on

        resolved = resolve_model(model, load_plugins(), {})
        options = LoadOptions(resolved.checkpoint, own_device(device), "float32", arguments=resolved.arguments)
        floor = issubclass(resolved.adapter, Baseline)
        if floor or not resolved.adapter.capabilities(options) >= NEEDED:
            raise UnsupportedTask(f"--teacher {model} does not embed images and texts; a teacher needs both")
        adapter = resolved.load(options)
        return cls(adapter, trained_on(resolved, adapter))

    def images(self, draws: Sequence[Draw]) -> torch.Tensor:
        """Return float32 (n, d) on the CPU for the pictures of ``draws``."""

        def compute(rows: Sequence[int]) -> Any:
            prepared = [self._adapter.prepare_image(draws[row].example.picture()) for row in rows]
            return self._adapter.embed_images(prepared)

        return _remembered(self._images, [draw.number for draw in draws], compute)

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return float32 (n, d) on the CPU."""

        def compute(rows: Sequence[int]) -> Any:
            return self._adapter.embed_texts([self._adapter.prepare_text(texts[row]) for row in rows])

        return _remembered(self._texts, texts, compute)


def own_device(device: str) -> str:
    """Return the device of this process: of those that torchrun started each has a GPU by its number.

    Without it all teachers would lie on the first GPU, and be asked about images on another, since the trainer
    changes what ``cuda`` means only after they are loaded.
    """
    from vlbench.runner.devices import pick_device

    chosen, number = pick_device(device), os.environ.get("LOCAL_RANK")
    return f"cuda:{number}" if chosen == "cuda" and number is not None else chosen


def _remembered(
    kept: OrderedDict[Hashable, torch.Tensor], keys: Sequence[Hashable], compute: Callable[[Sequence[int]], Any]
) -> torch.Tensor:
    """Return one row a key; ``compute`` is called with the places of those that are not ``kept``."""
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    missing = [key for key in first if key not in kept]
    if missing:
        with torch.no_grad():
            computed = functional.normalize(torch.as_tensor(compute([first[key] for key in missing])).float(), dim=-1)
        kept.update(zip(missing, computed.cpu(), strict=True))
    rows = torch.stack([kept[key] for key in keys])
    while len(kept) > KEPT:
        kept.popitem(last=False)
    return rows
