"""Trainings that die on the way, in this process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Iterator


class Killed(BaseException):
    """Not an ``Exception``: nothing that is trained may catch it, as nothing catches SIGKILL."""


@contextlib.contextmanager
def killed_in_step(step: int) -> Iterator[None]:
    """Kill what is trained within the block at the end of ``step``, before that is logged or saved."""
    from vlbench.train.trainer import _Log

    whole = _Log.on_step_end

    def dying(self: _Log, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == step:
            raise Killed
        whole(self, args, state, control, **kwargs)

    with contextlib.suppress(Killed), mock.patch.object(_Log, "on_step_end", dying):
        yield
        raise AssertionError(f"the training ended without step {step}")
