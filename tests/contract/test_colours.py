"""The contract suite passes on a plain model without torch weights, as an author would use it."""

from __future__ import annotations

from tests.support.colours import Colours
from vlbench.testing import AdapterContract


class TestColours(AdapterContract):
    def make_adapter(self) -> Colours:
        return Colours()
