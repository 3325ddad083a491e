"""What results cost, as a table: one row a result. Costs depend on the machine and are never ranked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlbench.leaderboard.columns import MISSING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlbench.result import Result

HEADINGS = ("model", "task", "samples/s", "waited", "device s", "wall s", "MiB", "device MiB", "cached", "batch", "on")


def cost_table(results: Sequence[Result]) -> str:
    """Return lines with the headings first: seconds, MiB, and shares in percent.

    ``waited`` is the share of the time of batches that went into waiting for data, ``cached`` that of requests whose
    answers came from earlier runs. Times are those of the whole run, which its tasks share.
    """
    rows = [HEADINGS, *(_row(result) for result in results)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(HEADINGS))]
    lines = []
    for row in rows:
        cells = (
            cell.ljust(width) if n < 2 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip() + "\n")
    return "".join(lines)


def _row(result: Result) -> tuple[str, ...]:
    cost = result.cost

    def number(name: str, digits: int) -> str:
        value = cost.get(name)
        return MISSING if value is None else f"{value:.{digits}f}"

    waited = cost.get("data_wait_fraction")
    parts = [cost.get(f"requests_{kind}") or 0 for kind in ("computed", "replayed", "cached")]
    return (
        result.model.name,
        result.task.name,
        number("samples_per_second", 1),
        MISSING if waited is None else f"{100 * waited:.0f}%",
        number("device_seconds", 1),
        number("wall_seconds", 1),
        number("peak_memory_mib", 0),
        number("peak_device_memory_mib", 0),
        f"{100 * parts[2] / sum(parts):.0f}%" if sum(parts) else MISSING,
        str(result.settings.get("batch_size", MISSING)),
        f"{result.environment.get('device', MISSING)} {result.model.dtype}",
    )
