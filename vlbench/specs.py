"""Light descriptions that plugins register; the heavy class behind one is imported when it is used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vlbench.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from vlbench.adapter import Adapter
    from vlbench.task import Task


def import_object(path: str) -> Any:
    """Import ``"package.module:Name"``; raises ``PluginError`` naming the path, with the cause chained."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        if error.name and not module.startswith(error.name):
            raise PluginError(f"{path} needs the package {error.name!r}, which is not installed") from error
        raise PluginError(f"cannot import {path}: {error}") from error
    except AttributeError as error:
        raise PluginError(f"module {module} has no {name!r}, which a plugin registered as {path!r}") from error


@dataclass(frozen=True)
class AdapterSpec:
    """An adapter: ``target`` is the class or its import path ``"module:Class"``.

    ``claims`` tells whether a checkpoint folder or file given without a prefix is the adapter's (by its config).
    """

    name: str
    description: str
    target: str | type[Adapter]
    claims: Callable[[Path], bool] | None = None

    def load(self) -> type[Adapter]:
        """Import and return the class."""
        return import_object(self.target) if isinstance(self.target, str) else self.target


@dataclass(frozen=True)
class ModelSpec:
    """A named model: ``adapter`` is the name of a registered adapter, or an adapter class.

    ``trained_on`` lists the datasets that the checkpoint has seen, so that fine-tuned and zero-shot numbers are
    told apart.
    """

    name: str
    description: str
    adapter: str | type[Adapter]
    checkpoint: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    trained_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskSpec:
    """A task: ``target`` is the class or its import path ``"module:Class"``; ``needs`` as capability sets in words.

    ``default`` tells whether ``--tasks all`` includes it; any other task is run by name.
    """

    name: str
    description: str
    target: str | type[Task[Any]]
    dataset: str
    primary_metric: str
    needs: str = ""
    default: bool = True

    def load(self) -> type[Task[Any]]:
        """Import and return the class."""
        return import_object(self.target) if isinstance(self.target, str) else self.target


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset in its official layout.

    ``loader`` is the import path ``"module:function"`` of what reads a split from a folder; its module has ``FILES``,
    the names under which the annotations of each split may lie, or ``splits_here``, a function from a folder to the
    splits in it. Without it ``vlbench data`` cannot look at the data. ``images_of`` names a dataset whose images this
    one may share: the loader takes the folder of that dataset under its name.
    """

    name: str
    description: str
    splits: tuple[str, ...]
    licence: str
    source: str
    citation: str = ""
    loader: str = ""
    images_of: str = ""
