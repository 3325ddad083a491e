"""Every small checkpoint of an external library keeps the adapters' contract, in half precision too."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import torch

from tests.support.made import EVERY
from vlbench.adapter import Adapter, LoadOptions
from vlbench.plugins import load_plugins
from vlbench.resolve import resolve_model
from vlbench.testing import AdapterContract
from vlbench.testing.adapters import answer, numbers
from vlbench.testing.samples import pictures, requests_for

if TYPE_CHECKING:
    from pathlib import Path


class Loaded(NamedTuple):
    path: Path
    adapter: Adapter


@pytest.fixture(scope="module", params=list(EVERY))
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """Return a checkpoint and the adapter that its own folder or file resolves to."""
    made = EVERY[request.param]
    path = made.make(tmp_path_factory.mktemp("made") / request.param)
    resolved = resolve_model(str(path), load_plugins(), {})
    assert resolved.adapter_name == made.adapter
    return Loaded(path, resolved.adapter(LoadOptions(checkpoint=str(path))))


class TestEveryCheckpoint(AdapterContract):
    @pytest.fixture
    def adapter(self, loaded: Loaded) -> Adapter:
        return loaded.adapter


def test_half_precision_answers_alike(loaded: Loaded, tmp_path: Path) -> None:
    """A bfloat16 has 8 bits: embeddings keep their direction, numbers two digits, and texts come out."""
    whole, half = loaded.adapter, type(loaded.adapter)(LoadOptions(checkpoint=str(loaded.path), dtype="bfloat16"))
    assert {p.dtype for p in half.model.parameters()} == {torch.bfloat16} and half.dtype == "bfloat16"
    assert not any(module.training for module in half.model.modules())
    assert half.fingerprint() != whole.fingerprint() and half.preprocessing() == whole.preprocessing()
    images = pictures(tmp_path)
    for name in sorted(whole.capabilities(whole.options)):
        requests = requests_for(name, images)
        for left, right in zip(answer(whole, requests), answer(half, requests), strict=True):
            one, other = numbers(left), numbers(right)
            if isinstance(one, str) or isinstance(other, str):
                assert isinstance(one, str) and isinstance(other, str)
            elif len(one) > 2:
                cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
                assert cosine > 0.99, name
            else:
                assert np.abs(one - other).max() <= 0.05 * max(1.0, float(np.abs(one).max())), name


def test_preprocessing_follows_the_processor_and_no_place(loaded: Loaded, tmp_path: Path) -> None:
    if loaded.path.is_file():
        assert "Normalize(mean=(0.48145466" in loaded.adapter.preprocessing()  # OpenAI's own, in no file of theirs
        return
    copy = shutil.copytree(loaded.path, tmp_path / "copy")
    assert type(loaded.adapter)(LoadOptions(checkpoint=str(copy))).preprocessing() == loaded.adapter.preprocessing()
    files = ("preprocessor_config.json", "processor_config.json", "open_clip_config.json")
    path = next(copy / name for name in files if (copy / name).is_file())
    document = json.loads(path.read_text())
    key = "mean" if path.name == "open_clip_config.json" else "image_mean"
    part = {"open_clip_config.json": "preprocess_cfg", "processor_config.json": "image_processor"}.get(path.name)
    (document[part] if part else document)[key] = [0.1, 0.2, 0.3]
    path.write_text(json.dumps(document))
    assert type(loaded.adapter)(LoadOptions(checkpoint=str(copy))).preprocessing() != loaded.adapter.preprocessing()
