"""Two processes learn what one learns from the whole batch; the contrast equals open_clip's."""

from __future__ import annotations

import dataclasses
import datetime
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


# Alone, so that no other loss carries gradients to a rank without captions.
MATCHING = dataclasses.replace(RECIPE, objectives={"itm": 1.0, "vqa": 1.0})


def _trained(
    recipe: Recipe, first: int, last: int, *, parallel: bool, captioned: int = BATCH
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Return losses and gradients of one step over the draws from ``first`` to ``last``.

    Those from ``captioned`` on have questions only.
    """
    source = open_source(None, recipe)
    checkpoint = new_checkpoint(source, recipe)
    wrapped = TrainingModel(checkpoint.model, recipe.objectives)
    collate = Collator(checkpoint.tokenizer, checkpoint.model.config, recipe)
    drawn = [Draws(source, recipe)[n] for n in range(first, last)]
    for draw in drawn[max(captioned - first, 0) :]:
        draw.example.__dict__["captions"] = ()
    model = torch.nn.parallel.DistributedDataParallel(wrapped, find_unused_parameters=True) if parallel else wrapped
    model(**collate(drawn))["loss"].backward()
    gradients = {name: p.grad for name, p in wrapped.named_parameters() if p.grad is not None}
    return wrapped.losses, gradients


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=datetime.timedelta(seconds=60)
    )
    # Unequal shares: 4 and 2.
    first, last = ((0, 4), (4, BATCH))[rank]
    torch.save(_trained(RECIPE, first, last, parallel=True), f"{folder}/whole-{rank}.pt")
    # The second rank has no caption.
    for name, recipe in (("some", RECIPE), ("matching", MATCHING)):
        torch.save(_trained(recipe, first, last, parallel=True, captioned=4), f"{folder}/{name}-{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train on two ranks, and return the folder of what each of them got."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(_rank, args=(str(folder),), nprocs=2)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recipe", "captioned"), [("whole", RECIPE, BATCH), ("some", RECIPE, 4), ("matching", MATCHING, 4)]
)
def test_two_ranks_have_the_losses_and_gradients_of_the_whole_batch(
    ranks: Path, name: str, recipe: Recipe, captioned: int
) -> None:
    """Also where one of them has no captioned image: it broke off, or left the other waiting in the backward pass."""
    losses, gradients = _trained(recipe, 0, BATCH, parallel=False, captioned=captioned)
    assert set(losses) == set(recipe.objectives)
    for rank in (0, 1):
        parallel_losses, parallel = torch.load(ranks / f"{name}-{rank}.pt")
        assert parallel_losses == pytest.approx(losses, abs=1e-5)
        for weight, gradient in gradients.items():
            assert torch.allclose(parallel[weight], gradient, atol=1e-5), weight


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
