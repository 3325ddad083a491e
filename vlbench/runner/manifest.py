"""What a result says about how it was made: signature, identity, environment, cost."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlbench.task import Protocol, Task
    from vlbench.types import Dataset

_PACKAGES = ("vlbench", "torch", "torchvision", "transformers", "open_clip_torch", "pycocoevalcap", "numpy", "pillow")


def signature(
    task: Task[Any], dataset: Dataset[Any], protocol: Protocol, limit: int | None, scored_by: str = ""
) -> str:
    """Return the line that two results must share: never the model, dtype, batch size or seed.

    ``scored_by`` names the scoring model with its fingerprint: it is the instrument, not what is measured.
    """
    parts = [f"{task.name}:{task.version}", f"{dataset.name}:{_escape(dataset.split)}", f"n:{len(dataset.samples)}"]
    parts += [f"{name}:{count}" for name, count in sorted(dataset.counts.items())]
    if limit is not None:
        parts.append(f"limit:{limit}")
    parts += [f"protocol:{protocol.name}", f"prompt:{_escape(protocol.prompt)}"]
    if any(way != capability for capability, way in protocol.routes.items()):
        parts.append(f"template:{_escape(protocol.template)}")
    extra = {**protocol.extra, **task.scoring(), **({"scored_by": scored_by} if scored_by else {})}
    parts += [f"{name}:{_escape(value)}" for name, value in sorted(extra.items())]
    parts.append(f"data:{dataset.fingerprint.removeprefix('sha256:')[:16]}")
    return "|".join(parts)


def _escape(text: str) -> str:
    """Keep a prompt from looking like further fields."""
    return text.replace("\\", "\\\\").replace("|", "\\p").replace("\n", "\\n")


@dataclass
class Counters:
    """What a run did, over all of its tasks.

    ``replayed`` came from the journal and ``cached`` from earlier runs: neither was computed again. ``adapter`` is
    what the adapter itself counted: tokens, attempts. What a scoring model did is counted in.
    """

    batches_computed: int = 0
    batches_replayed: int = 0
    requests_computed: int = 0
    requests_replayed: int = 0
    batches_cached: int = 0
    requests_cached: int = 0
    batches_split: int = 0
    journal_records_dropped: int = 0
    wait_seconds: float = 0.0
    device_seconds: float = 0.0
    wall_seconds: float = 0.0
    adapter: Mapping[str, int] = field(default_factory=dict)

    def plus(self, other: Counters) -> Counters:
        """Return the sums: of the model under test and of one that helps to score."""
        names = [field.name for field in fields(self) if field.name != "adapter"]
        adapter = Counter(self.adapter)
        adapter.update(other.adapter)
        return Counters(**{name: getattr(self, name) + getattr(other, name) for name in names}, adapter=dict(adapter))

    def cost(self, samples: int) -> dict[str, float | int | None]:
        """Return the cost report: seconds, fractions, MiB. Times are those of the whole run, which tasks share."""
        busy = self.wait_seconds + self.device_seconds
        return {
            "wall_seconds": round(self.wall_seconds, 3),
            "samples_per_second": round(samples / self.wall_seconds, 3) if self.wall_seconds else None,
            "data_wait_fraction": round(self.wait_seconds / busy, 4) if busy else 0.0,
            "device_seconds": round(self.device_seconds, 3),
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "peak_device_memory_mib": _peak_device_memory(),
            "batches_computed": self.batches_computed,
            "batches_replayed": self.batches_replayed,
            "requests_computed": self.requests_computed,
            "requests_replayed": self.requests_replayed,
            "batches_cached": self.batches_cached,
            "requests_cached": self.requests_cached,
            "batches_split": self.batches_split,
            "journal_records_dropped": self.journal_records_dropped,
            **self.adapter,
        }


def _peak_device_memory() -> int | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated()) // 2**20


def environment(device: str) -> Mapping[str, Any]:
    """Return package versions, git commit of the working directory, machine and device."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "device": device,
        "packages": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
        "git_commit": _git_commit(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path.cwd(), capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
