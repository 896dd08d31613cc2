"""What was stored, read back from Log Analytics with KQL."""

from __future__ import annotations

from datetime import datetime

from azure.core.exceptions import AzureError
from azure.monitor.query import LogsQueryClient, LogsQueryPartialResult

from functions.core.ports import Columns
from telemetry.errors import HistoryUnavailable


class LogAnalyticsHistory:
    """`functions.core.ports.History` on one workspace."""

    def __init__(self, client: LogsQueryClient, workspace_id: str) -> None:
        self._client, self._workspace_id = client, workspace_id

    def query(self, kql: str, since: datetime, until: datetime) -> Columns:
        """Asks the workspace; see `History.query`."""
        try:
            result = self._client.query_workspace(self._workspace_id, kql, timespan=(since, until))
        except AzureError as error:
            raise HistoryUnavailable(f"Log Analytics did not answer a query: {error}") from error
        if isinstance(result, LogsQueryPartialResult):
            reason = result.partial_error.message if result.partial_error else "a part is missing"
            raise HistoryUnavailable(f"Log Analytics answered a part of a query only, ask for less: {reason}")
        table = result.tables[0]
        if not table.rows:
            return {name: [] for name in table.columns}
        return {name: list(values) for name, values in zip(table.columns, zip(*table.rows, strict=True), strict=True)}
