"""The plugin manager: finds plugins, registers what they offer, and keeps a broken one from taking the rest down."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from vlbench import hookspecs
from vlbench.errors import PluginError, UsageError
from vlbench.specs import AdapterSpec, DatasetSpec, ModelSpec, TaskSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

BUILTIN = (
    "vlbench.adapters.builtin",
    "vlbench.adapters.open_clip",
    "vlbench.adapters.clip",
    "vlbench.adapters.blip",
    "vlbench.adapters.blip2",
    "vlbench.adapters.vision_encoder_decoder",
    "vlbench.adapters.vilt",
    "vlbench.adapters.oscar",
    "vlbench.adapters.chat",
    "vlbench.adapters.openai_api",
    "vlbench.adapters.baseline",
    "vlbench.tasks.builtin",
    "vlbench.data.registry",
)
ENTRY_POINT_GROUP = "vlbench"

SpecT = TypeVar("SpecT", ModelSpec, AdapterSpec, TaskSpec, DatasetSpec)


@dataclass
class Plugins:
    """Everything that is registered. ``errors`` has one line for each plugin that could not be taken.

    ``files`` are those that were named, so that a worker process can load the same.
    """

    manager: pluggy.PluginManager
    models: dict[str, ModelSpec] = field(default_factory=dict)
    adapters: dict[str, AdapterSpec] = field(default_factory=dict)
    tasks: dict[str, TaskSpec] = field(default_factory=dict)
    datasets: dict[str, DatasetSpec] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    files: tuple[str, ...] = ()

    def task(self, name: str) -> TaskSpec:
        """Return the task of that name; raises ``UsageError`` with the nearest names."""
        return _lookup("task", name, self.tasks)

    def adapter(self, name: str) -> AdapterSpec:
        """Return the adapter of that name; raises ``UsageError`` with the nearest names."""
        return _lookup("adapter", name, self.adapters)


def _lookup(kind: str, name: str, table: Mapping[str, SpecT]) -> SpecT:
    if name in table:
        return table[name]
    raise unknown(kind, name, table)


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error of a name that is not registered: with the nearest names, or all where none is near.

    Of ``ADAPTER:CHECKPOINT`` the part before the colon is compared, since the checkpoint may be a long path.

    >>> print(unknown("task", "nonesuch", ["vqa", "vcr"]))
    unknown task 'nonesuch'; there are vqa, vcr (vlbench list tasks)
    """
    names = list(known)
    prefix, separator, _ = name.partition(":")
    near = nearest(name, names) or nearest(prefix + separator, names) or "; there are " + ", ".join(names)
    return UsageError(f"unknown {kind} {name!r}{near} (vlbench list {kind}s)")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean …?"`` for the names close to ``name``, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


def load_plugins(files: Sequence[str] = (), *, strict: bool = False) -> Plugins:
    """Load built-in plugins, installed ones and ``files`` (paths of Python files or module names).

    An installed plugin that fails is reported in ``Plugins.errors``; a built-in one or one named in ``files`` raises
    ``PluginError``, and so does any with ``strict``.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    plugins = Plugins(manager, files=tuple(files))
    for module in BUILTIN:
        _register(plugins, module, lambda module=module: importlib.import_module(module))  # type: ignore[misc]
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name):
        owner = f"{point.dist.name}=={point.dist.version}" if point.dist else point.name
        try:
            _register(plugins, owner, point.load)
        except PluginError as error:
            if strict:
                raise
            plugins.errors.append(str(error))
    for file in files:
        _register(plugins, file, lambda file=file: _import_file(file))  # type: ignore[misc]
    return plugins


def _register(plugins: Plugins, name: str, load: Callable[[], Any]) -> None:
    """Import one plugin and take its registrations; raises ``PluginError`` naming it, leaving no trace of it."""
    try:
        module = load()
    except PluginError:
        raise
    except (Exception, SystemExit) as error:  # other people's code: whatever it raises is named and contained
        raise PluginError(f"plugin {name} failed to import: {_one_line(error)}") from error
    if not any(hasattr(getattr(module, attribute, None), "vlbench_impl") for attribute in dir(module)):
        raise PluginError(f"plugin {name} has no function marked with @vlbench.hookimpl")
    try:
        plugins.manager.register(module, name)
        plugins.manager.check_pending()
        offered = _offers(plugins.manager, name)
    except (pluggy.PluginValidationError, ValueError, TypeError) as error:
        if plugins.manager.has_plugin(name):
            plugins.manager.unregister(name=name)
        raise PluginError(f"plugin {name} cannot be registered: {_one_line(error)}") from error
    for table, specs in ((getattr(plugins, key), specs) for key, specs in offered.items()):
        for spec in specs:
            if spec.name in table:
                plugins.manager.unregister(name=name)
                other = plugins.origins.get(spec.name, "another plugin")
                raise PluginError(f"plugin {name} registers {spec.name!r}, which {other} has registered already")
    for key, specs in offered.items():
        for spec in specs:
            getattr(plugins, key)[spec.name] = spec
            plugins.origins[spec.name] = name


_TYPES: dict[str, type] = {"models": ModelSpec, "adapters": AdapterSpec, "tasks": TaskSpec, "datasets": DatasetSpec}


def _offers(manager: pluggy.PluginManager, name: str) -> dict[str, list[Any]]:
    """Call the registration hooks of one plugin alone, so that a failure has its name on it."""
    offered: dict[str, list[Any]] = {}
    for key, kind in _TYPES.items():
        hook = getattr(manager.hook, f"vlbench_register_{key}")
        for implementation in hook.get_hookimpls():
            if implementation.plugin_name != name:
                continue
            try:
                offered[key] = list(implementation.function())
            except Exception as error:  # other people's code again
                raise ValueError(f"vlbench_register_{key} raised {_one_line(error)}") from error
            wrong = [type(spec).__name__ for spec in offered[key] if not isinstance(spec, kind)]
            if wrong:
                raise TypeError(f"vlbench_register_{key} returned a {wrong[0]} where a {kind.__name__} is needed")
    return offered


def _import_file(file: str) -> Any:
    if not file.endswith(".py"):
        return importlib.import_module(file)
    path = Path(file)
    if not path.is_file():
        raise PluginError(f"plugin file {file} does not exist")
    spec = importlib.util.spec_from_file_location(f"vlbench_plugin_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
