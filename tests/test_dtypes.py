"""The default dtype of a device is that of the table, and what the table does not know is safe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from vlbench import dtypes
from vlbench.dtypes import default_dtype, device_kind

if TYPE_CHECKING:
    from pathlib import Path


def test_kinds_of_devices() -> None:
    assert device_kind("cuda:1") == "cuda"
    assert device_kind("mps") == "mps"
    assert device_kind("cpu").startswith("cpu/")


@pytest.mark.parametrize(
    ("supported", "kind"),
    [
        ({"_is_amx_tile_supported", "_is_avx512_bf16_supported"}, "cpu/amx"),
        ({"_is_avx512_bf16_supported"}, "cpu/avx512_bf16"),
    ],
)
def test_a_cpu_is_told_by_what_it_does_fastest(monkeypatch: pytest.MonkeyPatch, supported: set[str], kind: str) -> None:
    import torch

    for probe in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda probe=probe: probe in supported, raising=False)
    assert device_kind("cpu") == kind


def test_the_table_decides_and_else_only_cuda_gets_half_precision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dtypes, "TABLE", tmp_path / "dtypes.json")
    (tmp_path / "dtypes.json").write_text("{}")
    assert (default_dtype("cuda:0"), default_dtype("cpu")) == ("bfloat16", "float32")
    (tmp_path / "dtypes.json").write_text(
        json.dumps({device_kind("cpu"): {"dtype": "bfloat16"}, "cuda": {"dtype": "float16"}})
    )
    assert (default_dtype("cuda:0"), default_dtype("cpu")) == ("float16", "bfloat16")


def test_the_shipped_table_names_dtypes_that_were_measured() -> None:
    for kind, entry in json.loads(dtypes.TABLE.read_text()).items():
        assert entry["dtype"] in entry["images_per_second"], kind
