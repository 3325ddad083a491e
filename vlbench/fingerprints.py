"""Fingerprints of weights and annotations: equal exactly when names, shapes, dtypes and bytes are equal."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import uuid
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING

from vlbench.types import content_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import torch

    from vlbench.adapter import Adapter

PACKAGES = ("torch", "transformers", "open_clip_torch", "safetensors")
"""Packages whose code turns the bytes of a file into the weights of a model."""
COMPUTING = ("vlbench", "vlbench.adapters", "vlbench.data", "vlbench.models", "vlbench.runner")
"""Packages whose code loads models and makes responses."""


def module_fingerprint(module: torch.nn.Module) -> str:
    """Return ``sha256:…`` over the module's state dict (names sorted, dtypes, shapes and bytes)."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        value = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        if value.numel():
            digest.update(memoryview(value.reshape(-1).view(torch.uint8).numpy()))
    return "sha256:" + digest.hexdigest()


def dataset_fingerprint(rows: Sequence[object]) -> str:
    """Return the SHA-256 hex digest over the JSON of ``rows`` (ids and annotations, in order)."""
    digest = hashlib.sha256()
    for row in rows:
        line = json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def file_identities(files: Iterable[Path]) -> Mapping[str, tuple[int, ...]]:
    """Return inode, size, and times of change in ns by path, links followed; files that are not there are left out.

    The time of a change of the inode (``ctime``) tells a file that was written and given its old time of modification.
    """
    found: dict[str, tuple[int, ...]] = {}
    for file in files:
        with contextlib.suppress(OSError):
            path = file.resolve()
            known = path.stat()
            found[str(path)] = (known.st_dev, known.st_ino, known.st_size, known.st_mtime_ns, known.st_ctime_ns)
    return found


def remembered_fingerprint(adapter: Adapter) -> str:
    """Return ``adapter.fingerprint()``, from the cache where its files have been hashed as they are.

    Entries lie in ``fingerprints/`` of the cache folder under the identities of the files and all else that decides
    which weights come of them. For an adapter as it was loaded: weights that were changed since are not seen. A cache
    that cannot be written costs time and nothing else.
    """
    before = adapter.files_at_load
    if adapter.random_weights or not before:
        return adapter.fingerprint()
    now = file_identities(adapter.checkpoint_files(adapter.options))
    # What was written while the model was loaded may have come too late for it; what was fetched meanwhile had not.
    if not before.items() <= now.items():
        return adapter.fingerprint()
    from vlbench.data.scenes.cache import cache_folder

    options = adapter.options
    settings = [options.checkpoint, options.revision, adapter.dtype, dict(options.arguments)]
    key = content_key(now, settings, code_digest(type(adapter).__mro__), [metadata.version(name) for name in PACKAGES])
    path = cache_folder() / "fingerprints" / f"{key}.txt"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        known = path.read_text(encoding="utf-8")
        if known.startswith("sha256:") and len(known) == len("sha256:") + 64:
            return known
    fingerprint = adapter.fingerprint()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{key}.{uuid.uuid4().hex[:12]}")
        part.write_text(fingerprint, encoding="utf-8")
        part.replace(path)
    return fingerprint


@cache
def code_digest(classes: tuple[type, ...]) -> str:
    """Return a digest of the code: the harness's own, and the files of the adapter's classes with those beside them.

    The names of the classes are in it: one file may hold two adapters of the same weights. What a plugin imports from
    elsewhere is not seen.
    """
    files = {path for name in COMPUTING for place in import_module(name).__path__ for path in Path(place).glob("*.py")}
    for base in classes:
        module = sys.modules.get(base.__module__)
        if module is not None and getattr(module, "__file__", None):
            files |= _beside(module.__name__, Path(str(module.__file__)))
    digest = hashlib.sha256("\n".join(f"{base.__module__}.{base.__qualname__}" for base in classes).encode())
    for path in sorted(files):
        digest.update(f"{path.name}\n".encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def _beside(module: str, path: Path) -> set[Path]:
    """Return the files that the code of an adapter in ``path`` may have been divided into.

    Those of its whole package; of a lone file those of its folder. Code may be imported when it is first needed, so
    that what is loaded now does not tell.
    """
    package = sys.modules.get(module.partition(".")[0])
    if package is None or not hasattr(package, "__path__"):
        return {path, *path.parent.glob("*.py")}
    if package.__name__ in ("vlbench", "torch"):  # hashed already; known by its version
        return {path}
    return {path, *(file for place in package.__path__ for file in Path(place).rglob("*.py"))}
