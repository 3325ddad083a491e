"""Two processes learn what one learns from the whole batch; the contrast equals open_clip's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import distributed, multiprocessing

from vlbench.train.collate import Collator, Draws
from vlbench.train.objectives import clip_loss
from vlbench.train.recipe import Recipe
from vlbench.train.run import new_checkpoint, open_source
from vlbench.train.step import TrainingModel

if TYPE_CHECKING:
    from pathlib import Path

BATCH = 6
RECIPE = Recipe(
    objectives={"itc": 1.0, "itm": 1.0, "mlm": 0.5, "caption": 1.0, "tag": 0.5, "vqa": 1.0, "vcr": 1.0},
    model={"size": "nano", "vocabulary": 400, "image_size": 32},
    scenes=40,
    batch_size=BATCH,
    items_per_step=3,
)


def _trained(first: int, last: int, *, parallel: bool) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Return losses and gradients of one step over the draws from ``first`` to ``last``."""
    source = open_source(None, RECIPE)
    checkpoint = new_checkpoint(source, RECIPE)
    wrapped = TrainingModel(checkpoint.model, RECIPE.objectives)
    collate = Collator(checkpoint.tokenizer, checkpoint.model.config, RECIPE)
    draws = Draws(source, RECIPE)
    model = torch.nn.parallel.DistributedDataParallel(wrapped, find_unused_parameters=True) if parallel else wrapped
    model(**collate([draws[n] for n in range(first, last)]))["loss"].backward()
    gradients = {name: p.grad for name, p in wrapped.named_parameters() if p.grad is not None}
    return wrapped.losses, gradients


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    # Unequal shares: 4 and 2.
    first, last = ((0, 4), (4, BATCH))[rank]
    torch.save(_trained(first, last, parallel=True), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_have_the_losses_and_gradients_of_the_whole_batch(tmp_path: Path) -> None:
    multiprocessing.spawn(_rank, args=(str(tmp_path),), nprocs=2)
    losses, gradients = _trained(0, BATCH, parallel=False)
    assert set(losses) == set(RECIPE.objectives)
    for rank in (0, 1):
        parallel_losses, parallel = torch.load(tmp_path / f"{rank}.pt")
        assert parallel_losses == pytest.approx(losses, abs=1e-5)
        for name, gradient in gradients.items():
            assert torch.allclose(parallel[name], gradient, atol=1e-5), name


def test_the_contrast_equals_that_of_open_clip() -> None:
    from open_clip.loss import ClipLoss

    random = torch.Generator().manual_seed(4)
    images, texts = torch.randn(7, 16, generator=random), torch.randn(7, 16, generator=random)
    mine = [images.clone().requires_grad_(), texts.clone().requires_grad_()]
    theirs = [images.clone().requires_grad_(), texts.clone().requires_grad_()]
    scale = torch.tensor(14.3)
    loss = clip_loss(*mine, scale)
    expected = ClipLoss()(*(torch.nn.functional.normalize(x, dim=-1) for x in theirs), scale)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    loss.backward()
    expected.backward()
    for one, other in zip(mine, theirs, strict=True):
        assert one.grad is not None and other.grad is not None
        assert torch.allclose(one.grad, other.grad, atol=1e-6)


def test_infonce_by_hand() -> None:
    """Cosines 1, 0, 0, 1 at scale ln 3: each positive has 3 parts of 4, and the loss is ln(4/3)."""
    both = torch.eye(2)
    assert clip_loss(both, both, torch.tensor(3.0).log()).item() == pytest.approx(0.28768207, abs=1e-6)
