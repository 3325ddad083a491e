"""Which dtype a model gets by default, by the kind of its device: a table that ``benchmarks/dtypes.py`` writes."""

from __future__ import annotations

import json
from pathlib import Path

TABLE = Path(__file__).with_name("dtypes.json")


def device_kind(device: str) -> str:
    """Return the kind of a device by what decides the speed of its dtypes.

    ``cuda``, ``mps`` …, and of a CPU its widest instructions: ``cpu/amx``, ``cpu/avx512_bf16``, or torch's name for
    them, as ``cpu/avx2``.
    """
    if not device.startswith("cpu"):
        return device.partition(":")[0]
    import torch

    for name, probe in (("amx", "_is_amx_tile_supported"), ("avx512_bf16", "_is_avx512_bf16_supported")):
        supported = getattr(torch.cpu, probe, None)
        if supported is not None and supported():
            return f"cpu/{name}"
    return f"cpu/{torch.backends.cpu.get_cpu_capability().lower()}"


def default_dtype(device: str) -> str:
    """Return the dtype that was fastest on this kind of device; where none was measured, bfloat16 on CUDA alone."""
    kind = device_kind(device)
    measured = json.loads(TABLE.read_text(encoding="utf-8")).get(kind)
    if measured is not None:
        return str(measured["dtype"])
    return "bfloat16" if kind == "cuda" else "float32"
