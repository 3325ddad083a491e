"""Classifiers from a few labelled images a class: a linear probe on embeddings, and learned context vectors (CoOp)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from vlbench.errors import DataError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.adapter import Adapter

CONTEXT = "a photo of a"
"""Words whose vectors the context begins with, one vector a word (Zhou et al. 2022, section 3.1)."""

PENALTY = 1e-3
PROBE_STEPS = 200
COOP_STEPS = 100
COOP_RATE = 0.15
"""Learning rate as a share of the spread of the word vectors, which differs tenfold between models."""


def draw_shots(labels: Sequence[int], shots: int, seed: int) -> list[int]:
    """Return the places of ``shots`` samples of each class, drawn by ``seed``; raises ``DataError`` for too few.

    Fewer shots by the same seed are the first of more.

    >>> draw_shots([0, 1, 0, 1], 1, 0) == draw_shots([0, 1, 0, 1], 2, 0)[::2]
    True
    """
    chosen = []
    for label in sorted(set(labels)):
        own = [n for n, one in enumerate(labels) if one == label]
        if len(own) < shots:
            raise DataError(f"a class of the train split has only {len(own)} images; {shots} shots need as many")
        chosen += [own[k] for k in np.random.default_rng([seed, label]).permutation(len(own))[:shots]]
    return chosen


def probe(train: torch.Tensor, labels: torch.Tensor, test: torch.Tensor, classes: int) -> torch.Tensor:
    """Return logits (n, classes) of ``test`` (n, d) by logistic regression on ``train`` (m, d).

    Features are shifted and scaled by the mean and spread of ``train``; the weights begin at zero, have an L2 penalty
    and are found by L-BFGS (Radford et al. 2021, appendix A.3), so that nothing is left to chance.
    """
    middle = train.mean(dim=0)
    spread = (train - middle).norm(dim=1).mean().clamp_min(1e-6)
    seen, asked = (train - middle) / spread, (test - middle) / spread
    weight = torch.zeros(classes, train.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=PROBE_STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        value = (
            functional.cross_entropy(functional.linear(seen, weight, bias), labels) + PENALTY * weight.square().sum()
        )
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(loss)  # type: ignore[no-untyped-call]
    return functional.linear(asked, weight, bias).detach()


class ContextPrompts:
    """Prompts ``[v1] … [vM] name.`` whose context vectors can be learned (CoOp, Zhou et al. 2022, equation 2).

    The vectors take the place of the word vectors of ``CONTEXT`` behind the start mark, in whatever model the adapter
    holds: they are put into the output of its table of words.
    """

    def __init__(self, adapter: Adapter, names: Sequence[str]) -> None:
        """Prepare the prompts; raises ``ModelError`` where the model has no table of words within reach."""
        tables = [module for module in adapter.model.modules() if isinstance(module, nn.Embedding)]
        if not tables:
            raise ModelError("the model has no table of words that context vectors could be put into")
        self._adapter = adapter
        self._table = max(tables, key=lambda table: table.num_embeddings)
        self._prompts = [adapter.prepare_text(f"{CONTEXT} {name}.") for name in names]
        bare = _ids(adapter.prepare_text(CONTEXT))
        together = [_ids(prompt) for prompt in self._prompts]
        self._length = len(CONTEXT.split())
        # Where a word is several tokens, the first ones of the prompt serve: all names share them.
        begin = bare[1 : 1 + self._length]
        if any(ids[1 : 1 + self._length] != begin for ids in together):
            raise ModelError(f"the model's tokenizer joins {CONTEXT!r} with the names of classes; CoOp needs it apart")
        self.start = self._table.weight[torch.tensor(begin, device=self._table.weight.device)].detach().float()

    def embed(self, context: torch.Tensor) -> torch.Tensor:
        """Return unit vectors (classes, d) of the prompts with ``context`` (M, width), with gradients to it."""

        def put(module: nn.Module, arguments: Any, output: torch.Tensor) -> torch.Tensor:
            own = context.to(output.dtype).expand(len(output), -1, -1)
            return torch.cat((output[:, :1], own, output[:, 1 + self._length :]), dim=1)

        handle = self._table.register_forward_hook(put)
        try:
            embedded = torch.as_tensor(self._adapter.embed_texts(self._prompts))
        finally:
            handle.remove()
        return functional.normalize(embedded.float(), dim=-1)

    def learn(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return context vectors learned from unit vectors ``images`` (m, d) by cross-entropy, the model unchanged.

        Adam with a cosine schedule over all images at once, in place of the paper's SGD over batches.
        """
        context = self.start.clone().requires_grad_()
        search = torch.optim.Adam([context], lr=COOP_RATE * float(self.start.std()))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(search, COOP_STEPS)
        for _ in range(COOP_STEPS):
            logits = self._adapter.logit_scale * images @ self.embed(context).T
            search.zero_grad()
            functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
            search.step()
            schedule.step()
        return context.detach()


def _ids(prompt: Any) -> list[int]:
    """Return the token ids of a prepared text: a list, a tensor, or tokens with ``ids``."""
    return [int(number) for number in getattr(prompt, "ids", prompt)]
