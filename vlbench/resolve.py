"""From what ``--model`` says to an adapter class with its load options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vlbench import hub
from vlbench.errors import ModelError, VlbenchError
from vlbench.plugins import unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlbench.adapter import Adapter, LoadOptions
    from vlbench.plugins import Plugins


@dataclass(frozen=True)
class ResolvedModel:
    """A model that can be loaded: its name, adapter class, checkpoint and arguments."""

    name: str
    adapter_name: str
    adapter: type[Adapter]
    checkpoint: str
    arguments: Mapping[str, str]
    trained_on: tuple[str, ...]

    def load(self, options: LoadOptions) -> Adapter:
        """Return the adapter with the model loaded; whatever its code raises becomes a ``ModelError`` with its name."""
        try:
            return self.adapter(options)
        except (VlbenchError, MemoryError):
            raise
        except Exception as error:  # the boundary to an author's code
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise ModelError(f"model {self.name} failed to load: {reason}") from error


def resolve_model(
    name: str, plugins: Plugins, arguments: Mapping[str, str], revision: str | None = None
) -> ResolvedModel:
    """Resolve a registered name, ``adapter:checkpoint``, a checkpoint folder or file, or a hub repository ORG/NAME.

    Of a repository only its ``config.json`` is fetched, which tells the adapter. ``arguments`` of the user override
    those of the registration. Raises ``UsageError`` with the nearest names, or with all; ``ModelError`` where the hub
    refuses or no adapter knows the checkpoint.
    """
    if name in plugins.models:
        spec = plugins.models[name]
        merged = {**spec.arguments, **arguments}
        if isinstance(spec.adapter, str):
            adapter = plugins.adapter(spec.adapter).load()
            return ResolvedModel(name, spec.adapter, adapter, spec.checkpoint, merged, spec.trained_on)
        return ResolvedModel(name, spec.adapter.__name__, spec.adapter, spec.checkpoint, merged, spec.trained_on)
    prefix, separator, checkpoint = name.partition(":")
    if separator and prefix in plugins.adapters:
        return ResolvedModel(name, prefix, plugins.adapters[prefix].load(), checkpoint, arguments, ())
    path = Path(name)
    if path.exists():
        return _claimed(path, path.resolve().name, str(path), plugins, arguments)
    if hub.is_repository(name):
        return _claimed(hub.config_folder(name, revision), name, name, plugins, arguments)
    known = [*plugins.models, *(f"{adapter}:" for adapter in plugins.adapters)]
    raise unknown("model", name, known)


def _claimed(path: Path, name: str, checkpoint: str, plugins: Plugins, arguments: Mapping[str, str]) -> ResolvedModel:
    for spec in plugins.adapters.values():
        if spec.claims is not None and spec.claims(path):
            return ResolvedModel(name, spec.name, spec.load(), checkpoint, arguments, ())
    raise ModelError(f"no adapter knows the checkpoint {checkpoint}; say which: --model ADAPTER:{checkpoint}")
