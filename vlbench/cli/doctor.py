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
from vlbench.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vlbench.adapter import Adapter
    from vlbench.types import Request

BATCH_SIZES = (1, 4, 16, 64)
FAILED = 4


def doctor(
    model: Annotated[str, typer.Option(help="Model name, adapter:checkpoint, folder, or hub repository.")],
    model_arg: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="For the adapter.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    attn: Attention = None,
    compiled: Compiled = False,
    device_map: DeviceMap = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a hub checkpoint.")] = None,
    plugin: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A plugin file or module.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON, and nothing else.")] = False,
) -> None:
    """Check that a model keeps the rules of adapters; measure half precision and batch sizes."""
    from vlbench.adapter import LoadOptions
    from vlbench.cli.run import key_values, settings
    from vlbench.plugins import load_plugins
    from vlbench.resolve import resolve_model
    from vlbench.runner.devices import pick_device

    given = [*settings(attn, compiled, device_map), *(model_arg or ())]
    resolved = resolve_model(model, load_plugins(plugin or ()), key_values(given, model, [model]), revision)
    options = LoadOptions(
        checkpoint=resolved.checkpoint,
        device=pick_device(device),
        dtype="float32",
        revision=revision,
        arguments=resolved.arguments,
    )
    adapter = resolved.adapter(options)
    with tempfile.TemporaryDirectory() as folder:
        checks = _contract(adapter, Path(folder))
        requests = _requests(adapter, Path(folder))
        timed = {name: _times(adapter, asked) for name, asked in requests.items()}
        half = _half_precision(adapter, replace(options, dtype="bfloat16"), requests)
    if as_json:
        found = {"model": resolved.name, "checks": checks, "bfloat16": half, "milliseconds_per_request": timed}
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        _print(checks, half, timed)
    if any(checks.values()):
        raise typer.Exit(FAILED)


def _contract(adapter: Adapter, folder: Path) -> dict[str, str]:
    """Run every test of the contract suite; return "" or what went wrong, by what is checked."""
    try:
        from vlbench.testing.adapters import AdapterContract
    except ImportError as error:
        raise PluginError("vlbench doctor needs pytest: pip install 'vlbench[test]'") from error
    contract = AdapterContract()
    found: dict[str, str] = {}
    for name, method in inspect.getmembers(contract, inspect.ismethod):
        if not name.startswith("test_"):
            continue
        place = folder / name
        place.mkdir()
        fixtures: dict[str, Any] = {
            "adapter": adapter,
            "requests_by_capability": _requests(adapter, place),
            "tmp_path": place,
        }
        wanted = {key: fixtures[key] for key in inspect.signature(method).parameters}
        said = ""
        try:
            method(**wanted)
        except (Exception, _outcomes()) as error:
            said = " ".join(str(error).split())[:300] or type(error).__name__
        found[name.removeprefix("test_").replace("_", " ")] = said
    return found


def _outcomes() -> type[BaseException]:
    """Return the class of pytest's own verdicts, which are no ``Exception``."""
    import pytest

    verdict: type[BaseException] = pytest.fail.Exception
    return verdict


def _requests(adapter: Adapter, folder: Path) -> dict[str, Sequence[Request]]:
    from vlbench.testing.samples import pictures, requests_for

    images = pictures(folder)
    return {name: requests_for(name, images) for name in sorted(adapter.capabilities(adapter.options))}


def _times(adapter: Adapter, requests: Sequence[Request]) -> dict[str, float]:
    """Return milliseconds a request by batch size, the best of three; a size that does not fit ends the row."""
    from vlbench.testing.adapters import answer

    times: dict[str, float] = {}
    with contextlib.suppress(Exception):
        for size in BATCH_SIZES:
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
    adapter: Adapter, options: Any, requests: Mapping[str, Sequence[Request]]
) -> dict[str, float | str]:
    """Return the largest difference to float32 by capability, over the largest value; of texts the share changed."""
    import numpy as np

    from vlbench.testing.adapters import answer, numbers

    found: dict[str, float | str] = {}
    try:
        half = type(adapter)(options)
        for name, asked in requests.items():
            pairs = [(numbers(a), numbers(b)) for a, b in zip(answer(adapter, asked), answer(half, asked), strict=True)]
            texts = [a != b for a, b in pairs if isinstance(a, str)]
            if texts:
                found[name] = float(np.mean(texts))
                continue
            arrays = [(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)) for a, b in pairs]
            scale = max(float(np.abs(a).max()) for a, _ in arrays) or 1.0
            found[name] = max(float(np.abs(a - b).max()) for a, b in arrays) / scale
    except Exception as error:
        # Whatever an author's adapter raises is a finding, and the finished checks must not be lost to it.
        found["failed"] = " ".join(str(error).split())[:300]
    return found


def _print(checks: Mapping[str, str], half: Mapping[str, Any], timed: Mapping[str, Mapping[str, float]]) -> None:
    def lines() -> Iterator[str]:
        for name, said in checks.items():
            yield f"{'FAILED' if said else 'ok':7}{name}{': ' + said if said else ''}"
        yield ""
        yield "bfloat16 against float32, largest difference (of generated texts: the share that changed)"
        for name, value in half.items():
            yield f"  {name:14} {value if isinstance(value, str) else format(value, '.2e')}"
        yield ""
        yield "milliseconds a request, by batch size"
        for name, times in timed.items():
            yield f"  {name:14} " + "  ".join(f"{size}: {value:.2f}" for size, value in times.items())

    sys.stdout.write("\n".join(lines()) + "\n")
