"""Rows to Log Analytics through the Logs Ingestion API."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from azure.core.exceptions import AzureError
from azure.monitor.ingestion import LogsIngestionClient

from functions.core.bodies import request_bodies
from telemetry.errors import SinkUnavailable


class LogAnalyticsSink:
    """`functions.core.ports.RowSink`: one stream per table, named Custom-TABLE as Terraform declares them."""

    def __init__(self, client: LogsIngestionClient, rule_id: str) -> None:
        self._client, self._rule_id = client, rule_id

    def write(self, table: str, rows: Sequence[bytes]) -> None:
        """Sends rows in bodies below the service's limit; the SDK repeats what was throttled or failed in passing."""
        for body in request_bodies(rows):
            try:
                self._client.upload(self._rule_id, f"Custom-{table}", BytesIO(body))
            except AzureError as error:
                raise SinkUnavailable(f"Log Analytics did not accept {len(rows)} row(s) of {table}: {error}") from error
