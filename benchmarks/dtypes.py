"""Images and texts per second by dtype of the weights, on this device; writes the table of default dtypes.

Usage: ``python benchmarks/dtypes.py [--device cpu] [--repeats 5] [--write]``. open_clip's ViT-B-32 with random
weights and batches of 32, through vlbench's adapter; for comparison also float32 weights under torch's autocast to
bfloat16. With ``--write`` the fastest dtype of weights becomes the default of this kind of device
(``vlbench/dtypes.json``).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import TYPE_CHECKING, Any

import torch

from vlbench.adapter import LoadOptions
from vlbench.adapters.open_clip import OpenCLIP
from vlbench.dtypes import TABLE, device_kind
from vlbench.types import EmbedText

if TYPE_CHECKING:
    from collections.abc import Callable

ARCHITECTURE = "ViT-B-32"
BATCH = 32
DTYPES = ("float32", "bfloat16", "float16")
AUTOCAST = "float32, autocast to bfloat16"
NEARLY = 1.1
"""Half precision has to be faster than float32 by this much, for what it costs in digits."""


def rate(function: Callable[[Any], Any], items: Any, device: str, repeats: int) -> float:
    """Return the median of items per second; the first call warms up."""
    seconds = []
    for turn in range(repeats + 1):
        started = time.perf_counter()
        output = function(items)
        output.float().sum().item()  # waits for the device
        if turn:
            seconds.append(time.perf_counter() - started)
    return BATCH / statistics.median(seconds)


def measure(dtype: str, device: str, repeats: int) -> tuple[float, float]:
    """Return images and texts per second."""
    weights = "float32" if dtype == AUTOCAST else dtype
    adapter = OpenCLIP(
        LoadOptions(checkpoint=ARCHITECTURE, device=device, dtype=weights, arguments={"pretrained": "none"})
    )
    images = list(torch.rand(BATCH, 3, 224, 224))
    texts = [f"a photo of a {word} on the table" for word in ("dog", "cat", "bus", "chair") * (BATCH // 4)]
    with torch.inference_mode(), torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=dtype == AUTOCAST):
        prepared = [adapter.prepare(request, ()) for request in map(EmbedText, texts)]
        return (
            rate(adapter.embed_images, images, device, repeats),
            rate(adapter.embed_texts, prepared, device, repeats),
        )


def main() -> None:
    """Print the table, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="make the fastest the default of this kind of device")
    given = parser.parse_args()
    kind = device_kind(given.device)
    print(f"{kind}, torch {torch.__version__}, open_clip {ARCHITECTURE}, batches of {BATCH}")
    print(f"{'weights':32}{'images/s':>10}{'texts/s':>10}")
    rates = {}
    for dtype in (*DTYPES, AUTOCAST):
        rates[dtype] = measure(dtype, given.device, given.repeats)
        print(f"{dtype:32}{rates[dtype][0]:10.1f}{rates[dtype][1]:10.1f}", flush=True)
    fastest = max(DTYPES, key=lambda dtype: rates[dtype][0])
    chosen = fastest if rates[fastest][0] > NEARLY * rates["float32"][0] else "float32"
    print(f"default of {kind}: {chosen}")
    if given.write:
        table = json.loads(TABLE.read_text(encoding="utf-8"))
        measured = {dtype: round(rates[dtype][0], 1) for dtype in rates}
        table[kind] = {"dtype": chosen, "images_per_second": measured, "torch": torch.__version__}
        TABLE.write_text(json.dumps(table, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
