"""``vlbench doctor``: the contract checks of plugin authors on any model, its precision, its time by batch size."""

from __future__ import annotations

import contextlib
import inspect
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlbench.cli.options import Attention, Compiled, DeviceMap  # noqa: TC001
from vlbench.errors import ModelError, PluginError, UsageError, VlbenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vlbench.adapter import Adapter, LoadOptions
    from vlbench.types import Request, Response

BATCH_SIZES = "1,4,16,64"
HALVES = ("bfloat16", "float16")
VERIFIED = "verified"
FAILED = 4


def doctor(
    model: Annotated[str, typer.Option(help="Model name, adapter:checkpoint, folder, or hub repository.")],
    model_arg: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="For the adapter.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    attn: Attention = None,
    compiled: Compiled = False,
    device_map: DeviceMap = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a hub checkpoint.")] = None,
    batch_sizes: Annotated[str, typer.Option(metavar="N,N,…", help="Batch sizes to time.")] = BATCH_SIZES,
    plugin: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A plugin file or module.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON, and nothing else.")] = False,
) -> None:
    """Check that a model keeps the rules of adapters; measure half precision and batch sizes."""
    from vlbench.adapter import LoadOptions
    from vlbench.cli.run import key_values, settings
    from vlbench.plugins import load_plugins
    from vlbench.resolve import resolve_model
    from vlbench.runner.devices import pick_device

    sizes = _sizes(batch_sizes)
    given = [*settings(attn, compiled, device_map), *(model_arg or ())]
    resolved = resolve_model(model, load_plugins(plugin or ()), key_values(given, model, [model]), revision)
    options = LoadOptions(
        checkpoint=resolved.checkpoint,
        device=pick_device(device),
        # A server computes in what it was started with.
        dtype="float32" if resolved.adapter.provenance == VERIFIED else "auto",
        revision=revision,
        arguments=resolved.arguments,
    )
    adapter = resolved.load(options)
    with tempfile.TemporaryDirectory() as folder:
        requests = _requests(adapter, Path(folder))
        checks = _contract(adapter, requests, Path(folder))
        timed = {name: _times(adapter, asked, sizes) for name, asked in requests.items()}
        halves = {dtype: _half_precision(adapter, replace(options, dtype=dtype), requests) for dtype in HALVES}
    if as_json:
        found = {"model": resolved.name, "checks": checks, **halves, "milliseconds_per_request": timed}
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        _print(checks, halves, timed)
    if any(checks.values()):
        raise typer.Exit(FAILED)


def _sizes(given: str) -> list[int]:
    sizes = [size.strip() for size in given.split(",")]
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise UsageError(f"--batch-sizes {given!r} is not a list of whole numbers from 1, by commas")
    return [int(size) for size in sizes]


def _requests(adapter: Adapter, folder: Path) -> dict[str, Sequence[Request]]:
    """Return requests of every capability that the adapter says it has, and that there is."""
    from vlbench.adapter import CAPABILITIES
    from vlbench.testing.samples import requests_of

    try:
        requests = requests_of(adapter, folder)
    except VlbenchError:
        raise
    except Exception as error:
        raise ModelError(f"{type(adapter).__name__} does not tell its capabilities: {_said(error)}") from error
    return {name: asked for name, asked in requests.items() if name in CAPABILITIES}


def _said(error: BaseException) -> str:
    """Return what an exception says in one line, with its class where that is news."""
    text = " ".join(str(error).split())[:300]
    told = isinstance(error, AssertionError | VlbenchError) and text
    return text if told else f"{type(error).__name__}: {text}" if text else type(error).__name__


def _contract(adapter: Adapter, requests: Mapping[str, Sequence[Request]], folder: Path) -> dict[str, str]:
    """Run every test of the contract suite; return "" or what went wrong, by what is checked."""
    try:
        from vlbench.testing.adapters import AdapterContract
    except ImportError as error:
        raise PluginError("vlbench doctor needs pytest: pip install 'vlbench[test]'") from error
    contract = AdapterContract()
    fixtures: dict[str, Any] = {"adapter": adapter, "requests_by_capability": requests, "tmp_path": folder}
    found: dict[str, str] = {}
    for name, method in inspect.getmembers(contract, inspect.ismethod):
        if not name.startswith("test_"):
            continue
        said = ""
        try:
            method(**{key: fixtures[key] for key in inspect.signature(method).parameters})
        except Exception as error:  # whatever an author's adapter raises is a finding
            said = _said(error)
        found[name.removeprefix("test_").replace("_", " ")] = said
    return found


def _times(adapter: Adapter, requests: Sequence[Request], sizes: Sequence[int]) -> dict[str, float]:
    """Return milliseconds a request by batch size, the best of three; a size that does not fit ends the row."""
    from vlbench.testing.adapters import answer

    times: dict[str, float] = {}
    with contextlib.suppress(Exception):
        for size in sizes:
            batch = [requests[n % len(requests)] for n in range(size)]
            answer(adapter, batch)
            rounds = []
            for _ in range(3):
                started = time.perf_counter()
                answer(adapter, batch)
                rounds.append(time.perf_counter() - started)
            times[str(size)] = round(1000 * min(rounds) / size, 3)
    return times


def _half_precision(
    adapter: Adapter, options: LoadOptions, requests: Mapping[str, Sequence[Request]]
) -> dict[str, float | str]:
    """Return the difference that ``options.dtype`` makes by capability, or what went wrong.

    A server, and an adapter that has a dtype of its own whatever is asked for, have nothing to compare.
    """
    from vlbench.testing.adapters import answer

    if adapter.provenance != VERIFIED:
        return {"not measured": "nobody knows in what the weights that answer compute"}
    # Whatever an author's adapter raises is a finding, and the finished checks must not be lost to it.
    try:
        half = type(adapter)(options)
    except Exception as error:
        return {"not loaded": _said(error)}
    if half.dtype != options.dtype:
        return {"not measured": f"it answers in {half.dtype} whatever the dtype"}
    found: dict[str, float | str] = {}
    for name, asked in requests.items():
        try:
            found[name] = _difference(answer(adapter, asked), answer(half, asked))
        except Exception as error:
            found[name] = _said(error)
    return found


def _difference(full: Sequence[Response], half: Sequence[Response]) -> float:
    """Return the largest difference over the largest value; of texts the share that changed."""
    import numpy as np

    from vlbench.testing.adapters import numbers

    pairs = [(numbers(a), numbers(b)) for a, b in zip(full, half, strict=True)]
    texts = [a != b for a, b in pairs if isinstance(a, str)]
    if texts:
        return float(np.mean(texts))
    arrays = [(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)) for a, b in pairs]
    scale = max(float(np.abs(a).max()) for a, _ in arrays) or 1.0
    return max(float(np.abs(a - b).max()) for a, b in arrays) / scale


def _print(
    checks: Mapping[str, str], halves: Mapping[str, Mapping[str, Any]], timed: Mapping[str, Mapping[str, float]]
) -> None:
    def lines() -> Iterator[str]:
        for name, said in checks.items():
            yield f"{'FAILED' if said else 'ok':7}{name}{': ' + said if said else ''}"
        for dtype, half in halves.items():
            yield f"\n{dtype} against float32, largest difference (of generated texts: the share that changed)"
            for name, value in half.items():
                yield f"  {name:14} {value if isinstance(value, str) else format(value, '.2e')}"
        yield "\nmilliseconds a request, by batch size"
        for name, times in timed.items():
            yield f"  {name:14} " + "  ".join(f"{size}: {value:.2f}" for size, value in times.items())

    sys.stdout.write("\n".join(lines()) + "\n")
