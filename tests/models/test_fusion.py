"""The three fusion strategies: who sees whom, what each can answer, and what it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tests.support.nano import nano, write_nano
from vlbench.adapter import LoadOptions
from vlbench.adapters.builtin import Builtin
from vlbench.errors import ModelError, UsageError
from vlbench.models.fusion import joint_mask
from vlbench.models.text import bidirectional_mask, prefix_mask
from vlbench.testing import AdapterContract
from vlbench.train.recipe import Recipe, objectives_of, read_recipe
from vlbench.train.run import new_checkpoint, open_source, pretrain

if TYPE_CHECKING:
    from pathlib import Path

LATE = ("itc", "tag", "vcr")
FUSED = ("early", "interactive")


class TestEarlyFusion(AdapterContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = write_nano(tmp_path / "early", fusion="early")

    def make_adapter(self) -> Builtin:
        return Builtin(LoadOptions(checkpoint=str(self.folder)))


class TestLateFusion(AdapterContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = write_nano(tmp_path / "late", LATE, fusion="late")

    def make_adapter(self) -> Builtin:
        return Builtin(LoadOptions(checkpoint=str(self.folder)))


def test_the_joint_mask_is_that_of_one_stream() -> None:
    """Two image tokens; a prompt of two tokens and two that are written: by hand."""
    expected = torch.tensor(
        [
            [1, 1, 1, 1, 0, 0],
            [1, 1, 1, 1, 0, 0],
            [1, 1, 1, 1, 0, 0],
            [1, 1, 1, 1, 0, 0],
            [1, 1, 1, 1, 1, 0],
            [1, 1, 1, 1, 1, 1],
        ]
    ).bool()
    assert torch.equal(joint_mask(prefix_mask(torch.tensor([2]), 4), 2, 4)[0, 0], expected)
    whole = joint_mask(bidirectional_mask(torch.tensor([3]), 4), 2, 4)[0, 0]
    assert torch.equal(whole, torch.tensor([[1, 1, 1, 1, 1, 0]]).bool().expand(6, 6))


@pytest.mark.parametrize("fusion", FUSED)
def test_no_word_gives_itself_away_before_it_is_written(fusion: str) -> None:
    """What follows a place changes nothing at that place, not even by way of an image token."""
    model = nano(fusion=fusion).model
    image = model.encode_image(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    ids = torch.tensor([[2, 10, 3, 11, 12, 13]])
    other = ids.clone()
    other[0, 4:] = torch.tensor([50, 51])
    with torch.no_grad():
        one, two = (model.decode(x, torch.tensor([3]), image) for x in (ids, other))
    assert torch.allclose(one[:, :4], two[:, :4], atol=1e-6)
    assert not torch.allclose(one[:, 4:], two[:, 4:], atol=1e-3)


@pytest.mark.parametrize("fusion", FUSED)
def test_matching_sees_the_image_and_padding_does_not_matter(fusion: str) -> None:
    model = nano(fusion=fusion).model
    images = model.encode_image(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    ids, lengths = torch.tensor([[1, 10, 11, 3]]).expand(2, 4), torch.tensor([4, 4])
    with torch.no_grad():
        scores = model.match(ids, lengths, images)
        assert abs(float(scores[0] - scores[1])) > 1e-5
        padded = model.match(torch.nn.functional.pad(ids, (0, 3)), lengths, images)
        assert torch.allclose(scores, padded, atol=1e-5)
        assert torch.allclose(model.rank(ids, lengths, images), model.rank(ids, lengths, images, torch.arange(2)))


def test_late_fusion_chooses_by_the_cosine_and_has_no_weights_that_it_cannot_use() -> None:
    model = nano(LATE, fusion="late").model
    image = model.encode_image(torch.randn(2, 3, 64, 64))
    ids, lengths = torch.tensor([[1, 10, 11, 3], [1, 12, 13, 3]]), torch.tensor([4, 4])
    with torch.no_grad():
        by_hand = torch.nn.functional.cosine_similarity(model.embed_text(ids, lengths), model.embed_image(image))
        assert torch.allclose(model.choose(ids, lengths, image), model.scale() * by_hand, atol=1e-5)
    names = {name.split(".")[0] for name in model.state_dict()}
    assert not names & {"match_head", "choice_head", "word_transform", "word_bias", "fusion_norm"}


@pytest.mark.parametrize("fusion", ["early", "late", "interactive"])
def test_all_strategies_have_as_many_layers(fusion: str) -> None:
    config = nano(LATE, fusion=fusion).model.config
    assert config.vision_layers + config.text_layers + config.fusion_layers == 3


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fusion", ["early", "late"])
def test_each_strategy_trains(tmp_path: Path, fusion: str) -> None:
    recipe = read_recipe(
        "scenes-pretrain",
        {"model": {"size": "nano", "fusion": fusion}, "steps": 5, "batch_size": 4, "scenes": 20, "tag_first": 0.0},
    )
    said: list[str] = []
    pretrain(None, recipe, tmp_path, device="cpu", say=said.append)
    learned = "itc, tag" if fusion == "late" else "itc, itm, mlm, caption, tag"
    assert f"{fusion} fusion, by {learned} on" in said[0]
    embeds = {"embed_images", "embed_texts"}
    fused = set() if fusion == "late" else {"match", "generate", "loglikelihood"}
    assert Builtin.capabilities(LoadOptions(checkpoint=str(tmp_path))) == embeds | fused


def test_what_a_strategy_cannot_do_is_refused() -> None:
    late = {"model": {"fusion": "late"}}
    with pytest.raises(UsageError, match="late fusion cannot learn mlm, caption, in which words look at the image"):
        read_recipe("scenes-pretrain", {**late, "objectives": {"itc": 1.0, "mlm": 1.0, "caption": 1.0}})
    assert objectives_of(["coco_retrieval", "vcr"], "late") == ("itc", "vcr")
    with pytest.raises(UsageError, match="a model of late fusion cannot learn vqa"):
        objectives_of(["vqa"], "late")
    recipe = Recipe(objectives={"itc": 1.0}, model={"size": "nano", "fusion": "erly"}, scenes=4)
    with pytest.raises(UsageError, match="unknown fusion 'erly'; did you mean 'early'"):
        new_checkpoint(open_source(None, recipe), recipe)


def test_a_checkpoint_of_an_unknown_strategy_is_one_clear_error(tmp_path: Path) -> None:
    write_nano(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"interactive"', '"middle"'))
    with pytest.raises(ModelError, match="fusion 'middle' is none of early, late, interactive"):
        Builtin(LoadOptions(checkpoint=str(tmp_path)))
