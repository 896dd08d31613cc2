"""Fixtures of whole-stack tests: one stack per session with an agent, and how to look at it from outside."""

import json
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from local.kql import KqlFailed, run_kql
from local.supervisor import Stack


class Look:
    """The stack as its clients see it."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        context = ssl.create_default_context(cafile=stack.env_for_clients()["SSL_CERT_FILE"])
        self._open = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        ).open

    def get(self, path: str, key: str | None = None) -> Any:
        """The JSON behind a path of the functions host; OSError where there is none."""
        headers = {"x-functions-key": self._stack.host_key if key is None else key}
        request = urllib.request.Request(self._stack.functions_url + path, headers=headers)
        with self._open(request, timeout=10) as response:
            return json.load(response)

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes of the snapshot list."""
        found: list[dict[str, Any]] = self.get("/api/nodes")["nodes"]
        return found

    def kql(self, query: str) -> list[Any]:
        """The rows of a query's answer."""
        environment = self._stack.env_for_clients()
        answer = run_kql(
            query,
            endpoint=environment["LOG_ANALYTICS_URL"],
            workspace_id=environment["LOG_ANALYTICS_WORKSPACE_ID"],
            token=environment["LOG_ANALYTICS_TOKEN"],
            ca_bundle=Path(environment["SSL_CERT_FILE"]),
            timespan=timedelta(days=1),
        )
        return list(answer.rows)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole stack with this machine's agent and faults allowed; use clusters and nodes of your own beside its."""
    with Stack(tmp_path_factory.mktemp("stack"), faults=True, agent=True) as running:
        yield running


@pytest.fixture(scope="session")
def look(stack: Stack) -> Look:
    """The session's stack from outside."""
    return Look(stack)


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """Calls a function until it gives something true, for a bounded time; failures to connect count as not yet."""

    def wait[T](find: Callable[[], T], what: str, seconds: float = 60.0) -> T:
        deadline = time.monotonic() + seconds
        last: object = None
        while time.monotonic() < deadline:
            try:
                if last := find():
                    return last  # type: ignore[return-value]
            except (OSError, LookupError, KqlFailed) as error:
                last = error
            time.sleep(0.1)
        raise AssertionError(f"never saw {what} within {seconds:g} s; last: {last!r}")

    return wait
