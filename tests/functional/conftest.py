"""Fixtures any functional test may use: a storage account, and ports to listen on."""

import socket
from collections.abc import Callable, Iterator

import pytest

from local.azurite import Azurite


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """One Azurite per test process, in memory; `.connection_string` is its account. Use names of your own in it."""
    with Azurite.start() as running:
        yield running


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Gives a loopback port that nobody listens on; prefer binding port 0 where a program can say which it got."""

    def find() -> int:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            return int(listener.getsockname()[1])

    return find
