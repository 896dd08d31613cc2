"""What a stack's pipeline does at this moment, asked through its public interfaces. For the command line.

Numbers that cannot be had are None, and `problem` says why: a service may be down, which is worth showing too.
"""

import json
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from local.kql import KqlFailed, run_kql

_PATIENCE_SECONDS = 5.0
_PAGE = 1000
_LAG_QUERY = "PipelineRuns_CL | where WindowStart > ago(5m) | summarize Lag = percentile(LagMs, 95)"


@dataclass
class PipelineNumbers:
    """One look at the pipeline; times in seconds."""

    nodes: int | None = None
    silent: int | None = None
    sample_age: float | None = None
    """Since the newest envelope of any node was received."""
    published: int | None = None
    """By this machine's agent since it started."""
    spooled: int | None = None
    received: int | None = None
    """Envelopes the function app has done with, ever."""
    windows: int | None = None
    """Rows of closed windows in Log Analytics."""
    anomalies: int | None = None
    dead_letters: int | None = None
    lag: float | None = None
    """95th percentile over five minutes, from Event Hubs to stored."""
    problem: str | None = None


class Pipeline:
    """The pipeline of one stack, known by its clients' environment and its agent's status file."""

    def __init__(self, environment: Mapping[str, str], agent_status: Path) -> None:
        self._environment = environment
        self._agent_status = agent_status
        # No proxy: everything is on this machine.
        self._open = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(
                context=ssl.create_default_context(cafile=environment["SSL_CERT_FILE"]),
            ),
        ).open

    def look(self) -> PipelineNumbers:
        """Ask everybody, once."""
        numbers = PipelineNumbers()
        for ask in (self._ask_agent, self._ask_nodes, self._ask_host, self._ask_tables, self._ask_lag):
            try:
                ask(numbers)
            except (OSError, ValueError, KeyError, KqlFailed) as error:
                numbers.problem = numbers.problem or f"{ask.__name__.removeprefix('_ask_')}: {error}"
        return numbers

    def windows_since(self, start: datetime) -> int:
        """How many windows that began after `start` a KQL query finds. Raises KqlFailed."""
        query = f"NodeMetrics() | where WindowStart >= datetime({start.isoformat()}) | count"
        return int(self._kql(query))

    def _ask_agent(self, numbers: PipelineNumbers) -> None:
        try:
            status = json.loads(self._agent_status.read_text())
        except FileNotFoundError:
            return  # a stack without an agent
        numbers.published, numbers.spooled = status["published"], status["spooled"]

    def _ask_nodes(self, numbers: PipelineNumbers) -> None:
        environment = self._environment
        nodes = self._get(f"{environment['FUNCTIONS_URL']}/api/nodes?limit={_PAGE}", environment["FUNCTIONS_KEY"])[
            "nodes"
        ]
        numbers.nodes = len(nodes)
        numbers.silent = sum(node["status"] == "silent" for node in nodes)
        if nodes:
            newest = max(datetime.fromisoformat(node["receivedTime"]) for node in nodes)
            numbers.sample_age = max(0.0, (datetime.now(UTC) - newest).total_seconds())

    def _ask_host(self, numbers: PipelineNumbers) -> None:
        environment = self._environment
        status = self._get(f"{environment['FUNCTIONS_URL']}/admin/host/status", environment["FUNCTIONS_MASTER_KEY"])
        last = [partition["checkpointed_sequence_number"] for partition in status["partitions"]]
        numbers.received = sum(number + 1 for number in last if number is not None)

    def _ask_tables(self, numbers: PipelineNumbers) -> None:
        rows = self._get(f"{self._environment['LOG_ANALYTICS_URL']}/status")["tables"]
        numbers.windows = rows["NodeMetrics_CL"]
        numbers.anomalies = rows["NodeAnomalies_CL"]
        numbers.dead_letters = rows["DeadLetters_CL"]

    def _ask_lag(self, numbers: PipelineNumbers) -> None:
        lag = self._kql(_LAG_QUERY)
        numbers.lag = None if lag is None else lag / 1000

    def _get(self, url: str, key: str | None = None) -> Any:
        request = urllib.request.Request(url, headers={"x-functions-key": key} if key else {})
        with self._open(request, timeout=_PATIENCE_SECONDS) as response:
            return json.load(response)

    def _kql(self, query: str) -> Any:
        """The only value of the answer."""
        environment = self._environment
        answer = run_kql(
            query,
            endpoint=environment["LOG_ANALYTICS_URL"],
            workspace_id=environment["LOG_ANALYTICS_WORKSPACE_ID"],
            token=environment["LOG_ANALYTICS_TOKEN"],
            ca_bundle=Path(environment["SSL_CERT_FILE"]),
            timespan=timedelta(days=2),
        )
        return answer.rows[0][0]


def received_since(numbers: PipelineNumbers, start: datetime) -> bool:
    """Whether some node's envelope was received after `start`."""
    if numbers.sample_age is None:
        return False
    return datetime.now(UTC) - timedelta(seconds=numbers.sample_age) >= start
