"""Workers as actors of Ray, each with a device, on this machine or on a cluster. Needs the extra ``vlbench[ray]``.

What hands out leases is ``vlbench.runner.leased``; only how workers start and speak is Ray's. Messages travel as
pickled bytes: arrays would stay in Ray's store of shared objects, read-only, for as long as the run keeps them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import signal
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vlbench.errors import EvaluationFailed, UsageError
from vlbench.runner.worker import Answered, Died, Message, Worker, WorkerOptions, failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vlbench.runner.plan import Batch

SETTINGS = {
    "RAY_gcs_server_port_wait_time_s": "300",
    "RAY_py_gcs_connect_timeout_s": "300",
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Ray gives up steps of its own start after 30 seconds by default, which a busy machine does not keep; and it prints
words about dead actors on standard output, which holds nothing but results."""
STORE_BYTES = 256 << 20
"""Of shared memory: leases and answers on their way, no more."""


def import_ray() -> Any:
    """Return the module ``ray``, which reads its settings when it is imported; ``UsageError`` names the extra."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        return import_module("ray")
    except ImportError as error:
        if error.name != "ray":
            raise
        raise UsageError("--engine ray needs the package ray: pip install 'vlbench[ray]'") from error


def connect(workers: int) -> None:
    """Connect to the cluster that ``RAY_ADDRESS`` names, else start Ray here with a CPU for each of ``workers``.

    Raises ``EvaluationFailed`` where that fails.
    """
    ray = import_ray()
    here = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    cluster = os.environ.get("RAY_ADDRESS")
    try:
        with _handler_of_sigterm():
            ray.init(log_to_driver=False, logging_level="ERROR", **({} if cluster else here))
    except Exception as error:  # Ray has no common base for what goes wrong here
        ray.shutdown()
        where = f"cannot connect to {cluster}" if cluster else "does not start"
        raise EvaluationFailed(f"Ray {where}: {type(error).__name__}: {' '.join(str(error).split())}") from error


@contextlib.contextmanager
def _handler_of_sigterm() -> Iterator[None]:
    """Keep the handler of SIGTERM, which Ray replaces by one that exits with another code."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


_THREADS = 2
"""Of an actor: one answers, the other hears that an answer is durable."""


class _Actor:
    """What runs in the actor; errors come as messages, since Ray wraps exceptions into types of its own."""

    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._durable = threading.Semaphore(0)

    def join(self) -> Iterator[bytes]:
        """Load the model and describe it."""
        try:
            self._worker = Worker(self._options)
            yield pickle.dumps(self._worker.joined())
        except Exception as error:  # the boundary to the model's code: the driver ends the run with it
            yield pickle.dumps(failed(error))

    def answer(self, batches: Sequence[Batch]) -> Iterator[bytes]:
        """Answer a lease."""
        try:
            for message in self._worker.answer(batches):
                yield pickle.dumps(message)
                if isinstance(message, Answered):
                    self._durable.acquire()
        except Exception as error:  # as above
            yield pickle.dumps(failed(error))

    def go_on(self) -> None:
        """Let ``answer``, which waits in another thread, compute its next batch."""
        self._durable.release()


class RayCrew:
    """A crew of actors; ``options`` has one entry a worker. One for which no device is free waits until one is."""

    def __init__(self, options: Sequence[WorkerOptions]) -> None:
        """Connect to Ray, unless this process is connected, and start no actor yet."""
        self._ray = import_ray()
        self.size = len(options)
        self._options = options
        self._actors: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        self._own = not self._ray.is_initialized()
        if self._own:
            connect(self.size)
        try:
            self._look_for_devices()
        except BaseException:
            self.close()
            raise

    def _look_for_devices(self) -> None:
        """Refuse to wait for what will never be there; nodes with free devices may join a cluster that was named."""
        wanted = sum(_on_gpu(options) for options in self._options)
        there = int(self._ray.cluster_resources().get("GPU", 0))
        if wanted > there and not os.environ.get("RAY_ADDRESS"):
            raise UsageError(f"Ray finds {there} GPUs here for {wanted} workers; name a cluster by RAY_ADDRESS")

    def start(self, worker: int) -> None:
        """Start an actor; it takes one CPU, and one GPU where its device is one."""
        options = self._options[worker]
        if _on_gpu(options):
            # Ray shows an actor no other GPU than its own, under number 0.
            options = dataclasses.replace(options, load=dataclasses.replace(options.load, device="cuda"))
        devices = {"num_cpus": 1, "num_gpus": int(_on_gpu(options))}
        kind = self._ray.remote(_Actor).options(**devices, max_restarts=0, max_concurrency=_THREADS)
        self._actors[worker] = kind.remote(options)
        self._streams[worker] = self._actors[worker].join.options(num_returns="streaming").remote()

    def send(self, worker: int, batches: Sequence[Batch]) -> None:
        """Give an actor its lease."""
        self._streams[worker] = self._actors[worker].answer.options(num_returns="streaming").remote(batches)

    def go_on(self, worker: int) -> None:
        """Let an actor compute its next batch; a dead one is found by ``receive``."""
        self._actors[worker].go_on.remote()

    def receive(self, seconds: float) -> Sequence[tuple[int, Message]]:
        """Return one message of each actor that has one."""
        workers = {stream: worker for worker, stream in self._streams.items()}
        if not workers:
            return []
        ready, _ = self._ray.wait(list(workers), num_returns=1, timeout=seconds, fetch_local=False)
        found = [(workers[stream], self._read(workers[stream], stream)) for stream in ready]
        return [(worker, message) for worker, message in found if message is not None]

    def _read(self, worker: int, stream: Any) -> Message | None:
        try:
            message: Message = pickle.loads(self._ray.get(next(stream)))  # of our own actor
        except StopIteration:
            del self._streams[worker]
            return None
        except self._ray.exceptions.RayError as error:
            del self._streams[worker], self._actors[worker]
            return Died(f"worker {worker} on {self._options[worker].load.device} is gone ({type(error).__name__})")
        return message

    def close(self) -> None:
        """Kill the actors, and stop Ray where it was started or connected to here."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._streams.clear()
        if self._own:
            self._ray.shutdown()


def _on_gpu(options: WorkerOptions) -> bool:
    return options.load.device.startswith("cuda")
