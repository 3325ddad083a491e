"""OpenAI's checkpoints load without running code, and pickles with code are refused."""

from __future__ import annotations

import pickle
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from tests.support.dual_encoders import openai_archive, openai_model
from vlbench.adapter import LoadOptions
from vlbench.adapters.clip import Clip
from vlbench.adapters.openai_archive import read_archive
from vlbench.errors import ModelError
from vlbench.testing.adapters import answer, numbers
from vlbench.testing.samples import pictures
from vlbench.types import EmbedImage, EmbedText

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("scripted", [False, True])
def test_both_formats_embed_as_the_model_itself(tmp_path: Path, scripted: bool) -> None:
    import open_clip

    adapter = Clip(LoadOptions(checkpoint=str(openai_archive(tmp_path / "model.pt", scripted=scripted))))
    model, images = openai_model(), pictures(tmp_path)
    if scripted:  # stored in half precision, as OpenAI's are
        model = model.half().float()
    with torch.inference_mode():
        seen = model.encode_image(torch.stack([adapter.prepare_image(image.load()) for image in images])).numpy()
        read = model.encode_text(open_clip.SimpleTokenizer()(["a red circle"])).numpy()
    got = np.stack([np.asarray(numbers(r)) for r in answer(adapter, [EmbedImage(image) for image in images])])
    assert np.abs(got - seen).max() < 1e-5
    (text,) = answer(adapter, [EmbedText("a red circle")])
    assert np.abs(np.asarray(numbers(text)) - read[0]).max() < 1e-5


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
    path = openai_archive(tmp_path / "model.pt")
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
