"""From ``--device`` to an engine: one device in this process, several with a worker process each."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from vlbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.adapter import Adapter, LoadOptions
    from vlbench.plugins import Plugins
    from vlbench.resolve import ResolvedModel
    from vlbench.runner.crew import Crew
    from vlbench.runner.engine import Engine
    from vlbench.runner.options import RunOptions
    from vlbench.runner.progress import Reporter
    from vlbench.runner.worker import WorkerOptions


def pick_devices(device: str, workers: int | None = None) -> tuple[str, ...]:
    """Return the devices that ``--device`` names by commas; ``auto`` is ``cuda`` where there is one, else ``cpu``.

    One name stands for as many ``workers`` as are asked for. Raises ``UsageError`` for an empty name, for devices of
    two kinds (their numbers differ in the last digits) and for another number of workers than of devices.

    >>> pick_devices("cuda:0,cuda:1")
    ('cuda:0', 'cuda:1')
    >>> pick_devices("cpu", 2)
    ('cpu', 'cpu')
    """
    names = tuple(name.strip() for name in device.split(","))
    if not all(names):
        raise UsageError(f"--device {device!r} has an empty name; it takes one device or several by commas")
    if len(names) > 1 and len({name.partition(":")[0] for name in names}) > 1:
        raise UsageError(f"--device {device!r} mixes kinds of devices; all must be of one kind")
    if workers is not None and len(names) not in (1, workers):
        raise UsageError(f"--num-workers {workers} does not fit the {len(names)} devices of --device {device!r}")
    repeats = workers if workers is not None and len(names) == 1 else 1
    return tuple(pick_device(name) for name in names) * repeats


def pick_device(device: str) -> str:
    """Return ``cuda`` where there is one for ``auto``, else ``cpu``; any other name as it is.

    Raises ``UsageError`` for a name of no kind of device.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"--device {device!r} is no device; it takes auto, cpu, cuda, cuda:1, mps") from error
    return device


def check_gpu(device: str) -> None:
    """Raise ``UsageError`` where ``device`` asks for a GPU and torch finds none."""
    import torch

    if device.partition(":")[0] == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: torch {torch.__version__} finds no GPU here; take --device cpu or auto")


def open_engine(
    model: str, resolved: ResolvedModel, load: LoadOptions, options: RunOptions, plugins: Plugins, reporter: Reporter
) -> tuple[Engine, Adapter]:
    """Return the engine that ``options`` ask for, and the loaded model or, with workers, the portrait of it."""
    from vlbench.runner.engine import LocalEngine
    from vlbench.runner.leased import LeasedEngine

    devices = pick_devices(options.device, options.num_workers)
    if options.engine == "local" and len(devices) == 1:
        adapter = resolved.load(load)
        return LocalEngine(adapter, options.workers), adapter
    crew = _crew(options.engine, workers(model, load, options, plugins, devices))
    engine = LeasedEngine(crew, resolved.adapter, reporter)
    return engine, engine.portrait


def _crew(engine: str, options: Sequence[WorkerOptions]) -> Crew:
    if engine == "ray":
        from vlbench.runner.ray_crew import RayCrew

        return RayCrew(options)
    from vlbench.runner.crew import Processes

    return Processes(options)


def workers(
    model: str, load: LoadOptions, options: RunOptions, plugins: Plugins, devices: Sequence[str]
) -> list[WorkerOptions]:
    """Return what each worker needs to load the model on its device."""
    from vlbench.runner.worker import WorkerOptions

    return [
        WorkerOptions(
            model=model,
            plugins=plugins.files,
            load=dataclasses.replace(load, device=device),
            threads=options.workers,
            folder=str(Path.cwd()),
            omp_threads=os.environ.get("OMP_NUM_THREADS"),
        )
        for device in devices
    ]
