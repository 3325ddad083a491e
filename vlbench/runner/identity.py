"""What a response depends on besides the request: the key under which a model's answers are cached.

A result is identified by what a reader compares. A cached answer must be identified by whatever can change a bit of
it: weights, how the modules are put together, preprocessing, dtype, arguments, the code that computes and the device.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlbench.adapter import Adapter
from vlbench.fingerprints import code_digest
from vlbench.runner.cache import ModelCache, ResponseCache, size_bound
from vlbench.runner.manifest import environment
from vlbench.runner.worker import Portrait
from vlbench.types import content_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from vlbench.runner.progress import Reporter


@contextlib.contextmanager
def model_cache(adapter: Adapter, fingerprint: str, wanted: bool, reporter: Reporter) -> Iterator[ModelCache | None]:
    """Open the cache of a loaded model, or None where it is not ``wanted``, switched off, or cannot be right."""
    identity = cache_identity(adapter, fingerprint) if wanted and size_bound() else None
    if identity is None:
        yield None
        return
    cache = ModelCache(ResponseCache(), identity, adapter.provenance == "verified")
    yield cache
    cache.close()
    if cache.broken:
        reporter.warn(cache.broken)


def cache_identity(adapter: Adapter, fingerprint: str) -> str | None:
    """Return the digest of all that responses of ``adapter`` depend on, or None where that cannot be known.

    An adapter without ``model`` and without a ``fingerprint`` of its own may hold weights that nothing hashes. Workers
    tell the identity of the model that they have loaded.
    """
    if isinstance(adapter, Portrait):
        return adapter.cache_identity()
    own = type(adapter).fingerprint is not Adapter.fingerprint
    if not adapter.cacheable or (adapter.model is None and not own):
        return None
    options = adapter.options
    arguments = {k: v for k, v in options.arguments.items() if k not in adapter.neutral_arguments}
    return content_key(
        fingerprint,
        options.checkpoint,
        structure(adapter.model) if adapter.model is not None else "",
        adapter.preprocessing(),
        adapter.dtype,
        dict(sorted(arguments.items())),
        options.seed,
        code_digest(type(adapter).__mro__),
        environment(adapter.device)["packages"],
        platform.python_version(),
        device_kind(adapter.device),
    )


def structure(module: torch.nn.Module) -> str:
    """Return a digest of what a state dict does not tell: classes and plain settings of all modules, and the config.

    Heads of an attention, the kind of an activation or the epsilon of a norm change answers and no weight.
    """
    found: list[object] = []
    for name, part in module.named_modules():
        settings = {
            key: value
            for key, raw in sorted(vars(part).items())
            if not key.startswith("_") and (value := _plain(raw)) is not None
        }
        found.append([name, f"{type(part).__module__}.{type(part).__qualname__}", settings])
    return content_key(found)


def _plain(value: Any) -> object:
    """Return a setting as text that is the same in every process; None for what is none."""
    if isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "to_dict"):
        return _plain(value.to_dict())
    return f"{value.__module__}.{value.__qualname__}" if inspect.isroutine(value) else None


def device_kind(device: str) -> str:
    """Return what computes: the name of the GPU, or the processor, its instruction set and torch's number of threads.

    Another number of threads cuts a product of matrices into other parts, whose sums round otherwise.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return f"{device.partition(':')[0]} {platform.machine()}"
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)} cuda {torch.version.cuda}"
    if device == "cpu":
        return f"{_processor()} {torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()} threads"
    return device


@functools.cache
def _processor() -> str:
    """Return the name of the processor; libraries choose their kernels by it, not by the instruction set alone."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return f"{platform.machine()} {line.partition(':')[2].strip()}"
    return f"{platform.machine()} {platform.processor()}"
