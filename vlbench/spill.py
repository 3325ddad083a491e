"""Large arrays in temporary files that are mapped into memory, so that the system may put their pages out of it."""

from __future__ import annotations

import math
import os
import tempfile
from typing import TYPE_CHECKING

import numpy as np

from vlbench.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

IN_MEMORY = 1 << 26
"""Bytes up to which an array is an ordinary one."""


def scratch(shape: tuple[int, ...]) -> Floats:
    """Return a float32 array of ``shape`` to be filled, mapped from a file without a name if it is large.

    The file is gone with the array. Raises ``DataError`` where the temporary folder has no room for it.
    """
    size = 4 * math.prod(shape)
    if size <= IN_MEMORY:
        return np.empty(shape, dtype=np.float32)
    try:
        with tempfile.TemporaryFile(prefix="vlbench-") as file:
            # Room is claimed at once: a full disk would otherwise end the process at some later store into memory.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            mapped = np.memmap(file, dtype=np.float32, mode="r+", shape=shape)
    except OSError as error:
        raise DataError(
            f"{tempfile.gettempdir()} has no room for {size / 2**30:.1f} GiB of embeddings ({error.strerror});"
            " set TMPDIR to a folder that has"
        ) from error
    return mapped.view(np.ndarray)


class Spill:
    """Takes vectors one by one and gives each back as a view into a block of ``scratch``."""

    def __init__(self, block: int = IN_MEMORY // 4) -> None:
        """Start empty; ``block`` is how many numbers the first block holds, which stays in memory by default."""
        self._size = block
        self._block: Floats = np.empty(0, dtype=np.float32)
        self._used = 0

    def keep(self, vector: npt.NDArray[np.floating]) -> Floats:
        """Return a read-only copy of ``vector`` (d,) in float32."""
        if self._used + vector.size > self._block.size:
            # Blocks grow, so that a billion numbers are not thousands of files.
            self._size = max(self._size, vector.size, min(2 * self._block.size, 1 << 28))
            self._block, self._used = scratch((self._size,)), 0
        view = self._block[self._used : self._used + vector.size]
        view[:] = vector
        view.flags.writeable = False
        self._used += vector.size
        return view
