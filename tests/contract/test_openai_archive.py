"""OpenAI's checkpoints load without running code, and pickles with code are refused."""

from __future__ import annotations

import pickle
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from vlbench.adapter import LoadOptions
from vlbench.adapters.clip import Clip
from vlbench.adapters.openai_archive import read_archive
from vlbench.errors import ModelError
from vlbench.testing import AdapterContract
from vlbench.testing.adapters import answer, numbers
from vlbench.testing.samples import pictures
from vlbench.types import EmbedImage, EmbedText

if TYPE_CHECKING:
    from pathlib import Path

    from vlbench.adapter import Adapter


def _model() -> torch.nn.Module:
    """Return a small CLIP of open_clip with OpenAI's architecture (QuickGELU, ViT)."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    torch.manual_seed(0)
    vision = CLIPVisionCfg(layers=2, width=64, head_width=64, patch_size=16, image_size=32)
    text = CLIPTextCfg(context_length=77, vocab_size=49408, width=64, heads=1, layers=2)
    return CLIP(embed_dim=32, vision_cfg=vision, text_cfg=text, quick_gelu=True).eval()


class _Scripted(torch.nn.Module):
    """A module tree with the parameters of a model, which scripting keeps as OpenAI's archives do."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        super().__init__()
        children: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in state.items():
            head, _, rest = name.partition(".")
            if rest:
                children.setdefault(head, {})[rest] = tensor
            else:
                self.register_parameter(head, torch.nn.Parameter(tensor, requires_grad=False))
        for name, part in children.items():
            self.add_module(name, _Scripted(part))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def _archive(path: Path, *, scripted: bool) -> Path:
    state = {k: v.clone() for k, v in _model().state_dict().items() if v.is_floating_point() and k != "attn_mask"}
    if scripted:
        torch.jit.script(_Scripted(state).half()).save(str(path))
    else:
        torch.save(state, path)
    return path


class TestArchive(AdapterContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        if not hasattr(type(self), "file"):
            type(self).file = _archive(tmp_path_factory.mktemp("openai") / "model.pt", scripted=False)  # type: ignore[attr-defined]

    def make_adapter(self) -> Adapter:
        return Clip(LoadOptions(checkpoint=str(type(self).file)))  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:.*torch.jit.*:FutureWarning")
@pytest.mark.parametrize(("scripted", "tolerance"), [(False, 1e-5), (True, 2e-2)])
def test_both_formats_embed_as_the_model_itself(tmp_path: Path, scripted: bool, tolerance: float) -> None:
    import open_clip

    adapter = Clip(LoadOptions(checkpoint=str(_archive(tmp_path / "model.pt", scripted=scripted))))
    model, images = _model(), pictures(tmp_path)
    with torch.inference_mode():
        seen = model.encode_image(torch.stack([adapter.prepare_image(image.load()) for image in images])).numpy()
        read = model.encode_text(open_clip.SimpleTokenizer()(["a red circle"])).numpy()
    got = np.stack([np.asarray(numbers(r)) for r in answer(adapter, [EmbedImage(image) for image in images])])
    assert np.abs(got - seen).max() < tolerance * np.abs(seen).max()
    (text,) = answer(adapter, [EmbedText("a red circle")])
    assert np.abs(np.asarray(numbers(text)) - read[0]).max() < tolerance * np.abs(read).max()


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    target = tmp_path / "made-by-the-pickle"
    plain, saved, scripted = (tmp_path / name for name in ("plain.pt", "saved.pt", "scripted.pt"))
    plain.write_bytes(pickle.dumps({"visual.conv1.weight": _Bomb(target)}, protocol=2))
    torch.save({"visual.conv1.weight": _Bomb(target)}, saved)
    with zipfile.ZipFile(scripted, "w") as archive:
        archive.writestr("model/constants.pkl", pickle.dumps(()))
        archive.writestr("model/data.pkl", pickle.dumps({"visual.conv1.weight": _Bomb(target)}, protocol=2))
    for path in (plain, saved, scripted):
        with pytest.raises(ModelError, match="refused"):
            read_archive(path)
    assert not target.exists()


def test_a_damaged_file_is_one_clear_error(tmp_path: Path) -> None:
    path = _archive(tmp_path / "model.pt", scripted=False)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ModelError, match="cannot be read as a checkpoint"):
        read_archive(path)
    other = tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(2)}, other)
    with pytest.raises(ModelError, match="is not a CLIP checkpoint of OpenAI"):
        Clip(LoadOptions(checkpoint=str(other)))
    torch.save({"state_dict": torch.zeros(1)}, other)
    with pytest.raises(ModelError, match="holds no state dict"):
        read_archive(other)
