"""What ``vlbench run`` was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vlbench.stats import DRAWS

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class RunOptions:
    """What ``vlbench run`` was asked for, besides models and tasks. ``data`` None means the bundled scenes.

    A text is a folder, ``hub``, ``hf:org/name[@revision]`` or ``wds:FOLDER-or-URL``. ``bootstrap`` is the number of
    draws behind the 95 % intervals; 0: none. ``cache``: take answers of earlier runs, and keep those of this one.
    ``engine`` is ``local`` or ``ray``; ``device`` may name several devices by commas, or one for ``num_workers``
    workers. Neither engine nor number identifies a result.
    """

    data: Path | str | None = None
    split: str | None = None
    limit: int | None = None
    batch_size: int | None = None
    dtype: str = "auto"
    device: str = "auto"
    revision: str | None = None
    seed: int = 0
    bootstrap: int = DRAWS
    workers: int | None = None
    cache: bool = True
    engine: str = "local"
    num_workers: int | None = None
    output: Path = Path("vlbench-results")
    allow_missing: bool = False
    model_arguments: Mapping[str, str] = field(default_factory=dict)
    task_arguments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    command: tuple[str, ...] = ()
