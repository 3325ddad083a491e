"""`openai_api` keeps the contract, over a local server that speaks the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.chat_server import ChatServer
from vlbench.adapter import LoadOptions
from vlbench.adapters.openai_api import OpenAIAPI
from vlbench.testing import AdapterContract

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with ChatServer().running() as running:
        yield running


class TestOpenAIAPI(AdapterContract):
    @pytest.fixture(autouse=True)
    def _server(self, server: ChatServer) -> None:
        self.server = server

    def make_adapter(self) -> OpenAIAPI:
        return OpenAIAPI(LoadOptions(checkpoint="model", arguments={"base_url": self.server.base_url}))
