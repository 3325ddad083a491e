"""Reads OpenAI's CLIP checkpoints without running anything that they hold.

They come as TorchScript archives (a zip with a pickle of the module tree, storages as raw bytes, and code) or as plain
state dicts. ``torch.jit.load`` would load code; here the pickle goes through an unpickler that knows tensors and inert
containers only, and the names of the tensors are read off the tree.
"""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from vlbench.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

SCRIPT = "constants.pkl"


class _Module:
    """Stands for any scripted module: only its attributes are kept."""

    def __init__(self, *_: Any) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.attributes = state


def read_archive(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint by name, on the CPU, as stored.

    Raises ``ModelError`` for a file that is none, is damaged, or whose pickle asks for anything but tensors.
    """
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2]: name for name in archive.namelist()}
            if SCRIPT in names:
                return _scripted(archive, names)
    except zipfile.BadZipFile:
        pass  # Older files of torch.save are no zip archives.
    except (OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, zlib.error) as error:
        raise ModelError(f"{path} cannot be read as a checkpoint ({' '.join(str(error).split())[:200]})") from error
    except (OverflowError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path} cannot be read as a checkpoint ({' '.join(str(error).split())[:200]})") from error
    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} is refused: it is damaged, or its pickle holds more than tensors and could run code; "
            "ask for safetensors, or for a state dict saved by torch.save"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise ModelError(f"{path} cannot be read as a checkpoint ({' '.join(str(error).split())[:200]})") from error
    document = document.get("state_dict", document) if isinstance(document, dict) else {}
    if not isinstance(document, dict):
        raise ModelError(f"{path} holds no state dict")
    return {str(name): value for name, value in document.items() if isinstance(value, torch.Tensor)}


def _scripted(archive: zipfile.ZipFile, names: dict[str, str]) -> dict[str, torch.Tensor]:
    import torch

    storages: dict[str, torch.Tensor] = {}

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if module.startswith("__torch__"):
                return _Module
            if (module, name) == ("collections", "OrderedDict"):
                return OrderedDict
            if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
                return {"_rebuild_tensor_v2": _tensor, "_rebuild_parameter": _parameter}[name]
            if module == "torch" and name.endswith("Storage"):
                return name
            if module == "torch.jit._pickle":
                return lambda value, *_: value
            raise pickle.UnpicklingError(f"refused: its pickle asks for {module}.{name}, which is no tensor")

        def persistent_load(self, pid: Any) -> torch.Tensor:
            _, kind, key, _, count = pid
            if key not in storages:
                dtype = _dtype(str(kind))
                data = bytearray(archive.read(names[f"data/{key}"]))
                storages[key] = (
                    torch.frombuffer(data, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)
                )
            return storages[key]

    with archive.open(names["data.pkl"]) as file:
        root = Unpickler(file).load()
    found: dict[str, torch.Tensor] = {}
    _gather(root, "", found)
    return found


def _dtype(storage: str) -> torch.dtype:
    import torch

    known = {
        "HalfStorage": torch.float16,
        "FloatStorage": torch.float32,
        "DoubleStorage": torch.float64,
        "BFloat16Storage": torch.bfloat16,
        "LongStorage": torch.int64,
        "IntStorage": torch.int32,
        "ByteStorage": torch.uint8,
        "BoolStorage": torch.bool,
    }
    if storage not in known:
        raise pickle.UnpicklingError(f"refused: unknown storage {storage}")
    return known[storage]


def _tensor(
    storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> torch.Tensor:
    return storage.as_strided(size, stride, offset)


def _parameter(tensor: torch.Tensor, *_: Any) -> torch.Tensor:
    return tensor


def _gather(value: Any, prefix: str, found: dict[str, torch.Tensor]) -> None:
    """Walk the module tree and name its tensors as ``state_dict`` does."""
    import torch

    attributes = value.attributes if isinstance(value, _Module) else {}
    for name, item in attributes.items():
        if isinstance(item, torch.Tensor):
            found[f"{prefix}{name}"] = item
        elif isinstance(item, _Module):
            _gather(item, f"{prefix}{name}.", found)
