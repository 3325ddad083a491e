"""Workers as processes of this machine, one a device, each at the other end of a pipe of its own.

A pipe for each worker, and no queue that they share: a process that is killed while it holds the lock of a shared queue
stops all others.
"""

from __future__ import annotations

import multiprocessing
import signal
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Protocol

from vlbench.runner.worker import Answered, Died, Message, Worker, WorkerOptions, failed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.context import SpawnProcess

    from vlbench.runner.plan import Batch

CLOSING_SECONDS = 5.0


class Crew(Protocol):
    """Workers by number. A worker tells ``Joined`` once, then waits for leases; a dead one can be started again.

    After each answer a worker waits for ``go_on`` before it computes the next batch, so that a driver that is killed
    loses one batch of each worker at most.
    """

    size: int

    def start(self, worker: int) -> None:
        """Start a worker, or start it again; returns at once."""

    def send(self, worker: int, batches: Sequence[Batch]) -> None:
        """Give a worker its lease."""

    def go_on(self, worker: int) -> None:
        """Tell a worker that its last answer is durable."""

    def receive(self, seconds: float) -> Sequence[tuple[int, Message]]:
        """Return what workers tell, waiting at most ``seconds`` for the first word."""

    def close(self) -> None:
        """Stop all workers."""


def _serve(options: WorkerOptions, pipe: Connection) -> None:
    """Answer leases until the driver closes the pipe, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    try:
        try:
            worker = Worker(options)
            pipe.send(worker.joined())
            while True:
                for message in worker.answer(pipe.recv()):
                    pipe.send(message)
                    if isinstance(message, Answered):
                        pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return
        except Exception as error:  # the boundary to the model's code: the driver ends the run with it
            pipe.send(failed(error))
    except (BrokenPipeError, ConnectionResetError):
        return


class Processes:
    """A crew of processes on this machine; ``options`` has one entry a worker, each with its device."""

    def __init__(self, options: Sequence[WorkerOptions]) -> None:
        """Start nothing yet."""
        self.size = len(options)
        self._options = options
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[int, SpawnProcess] = {}
        self._pipes: dict[int, Connection] = {}

    def start(self, worker: int) -> None:
        """Start the process of a worker."""
        mine, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_serve, args=(self._options[worker], theirs), name=f"vlbench-worker-{worker}", daemon=True
        )
        process.start()
        theirs.close()
        self._processes[worker], self._pipes[worker] = process, mine

    def send(self, worker: int, batches: Sequence[Batch]) -> None:
        """Give a worker its lease; a dead one is found by ``receive``."""
        self._tell(worker, batches)

    def go_on(self, worker: int) -> None:
        """Let a worker compute its next batch; a dead one is found by ``receive``."""
        self._tell(worker, None)

    def _tell(self, worker: int, word: Sequence[Batch] | None) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self._pipes[worker].send(word)

    def receive(self, seconds: float) -> Sequence[tuple[int, Message]]:
        """Return one message of each worker that has one."""
        ready = wait(list(self._pipes.values()), seconds)
        return [(worker, self._read(worker)) for worker, pipe in list(self._pipes.items()) if pipe in ready]

    def _read(self, worker: int) -> Message:
        try:
            message: Message = self._pipes[worker].recv()
        except (EOFError, OSError):
            self._pipes.pop(worker).close()
            process = self._processes.pop(worker)
            process.join(CLOSING_SECONDS)
            ending = _ending(process.exitcode)
            if process.is_alive():
                # The device is wanted by its successor.
                process.kill()
                process.join(CLOSING_SECONDS)
                ending = "closed its pipe and did not end"
            return Died(f"worker {worker} on {self._options[worker].load.device} {ending}")
        return message

    def close(self) -> None:
        """Kill the processes: they hold nothing that is not with the driver."""
        for pipe in self._pipes.values():
            pipe.close()
        for process in self._processes.values():
            process.kill()
            process.join(CLOSING_SECONDS)
        self._pipes.clear()
        self._processes.clear()


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
