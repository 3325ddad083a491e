"""Contract tests for plugin authors: ``from vlbench.testing import AdapterContract, TaskContract``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["AdapterContract", "TaskContract"]

if TYPE_CHECKING:
    from vlbench.testing.adapters import AdapterContract
    from vlbench.testing.tasks import TaskContract


def __getattr__(name: str) -> Any:
    if name == "AdapterContract":
        from vlbench.testing.adapters import AdapterContract

        return AdapterContract
    if name == "TaskContract":
        from vlbench.testing.tasks import TaskContract

        return TaskContract
    raise AttributeError(f"module 'vlbench.testing' has no attribute {name!r}")
