"""The function app's settings, from the environment, all problems told at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from telemetry.errors import SettingsError

PUBLIC_QUERY_ENDPOINT = "https://api.loganalytics.io"


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Where node states and dead letters are kept: a connection string, or the service URIs and an identity."""

    connection_string: str | None
    table_uri: str | None
    blob_uri: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """What the function app needs to know; see docs/settings.md."""

    storage: StorageSettings
    logs_endpoint: str
    logs_rule_id: str
    workspace_id: str
    query_endpoint: str
    client_id: str | None
    """Of the user-assigned managed identity; None for the system-assigned one."""
    api_keys: tuple[str, ...]
    silent_after_ms: int


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Reads and checks the settings. Raises SettingsError listing every problem."""
    problems: list[str] = []

    def required(name: str, example: str) -> str:
        value = environment.get(name, "").strip()
        if not value:
            problems.append(f"{name} is not set; it must be like {example}")
        return value

    connection = environment.get("STATE_STORAGE", "").strip() or None
    table_uri = environment.get("STATE_STORAGE__tableServiceUri", "").strip() or None
    blob_uri = environment.get("STATE_STORAGE__blobServiceUri", "").strip() or None
    if (connection is None) == (table_uri is None or blob_uri is None):
        problems.append(
            "set either STATE_STORAGE (a connection string) or both STATE_STORAGE__tableServiceUri and "
            "STATE_STORAGE__blobServiceUri (https://ACCOUNT.table.core.windows.net, https://ACCOUNT.blob...)"
        )
    endpoint = required("LOGS_INGESTION_ENDPOINT", "https://NAME.REGION.ingest.monitor.azure.com")
    if endpoint and not endpoint.startswith("https://"):
        problems.append(f"LOGS_INGESTION_ENDPOINT must begin with https://, got {endpoint!r}")
    rule_id = required("LOGS_DCR_IMMUTABLE_ID", "dcr-0123456789abcdef0123456789abcdef")
    workspace_id = required("LOGS_WORKSPACE_ID", "01234567-89ab-cdef-0123-456789abcdef")
    if workspace_id and not re.fullmatch("[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", workspace_id):
        problems.append(
            "LOGS_WORKSPACE_ID must be the workspace's id (customerId) like 01234567-89ab-cdef-0123-456789abcdef, "
            f"got {workspace_id[:80]!r}"
        )
    query_endpoint = environment.get("LOGS_QUERY_ENDPOINT", "").strip() or PUBLIC_QUERY_ENDPOINT
    if not query_endpoint.startswith("https://"):
        problems.append(f"LOGS_QUERY_ENDPOINT must begin with https://, got {query_endpoint!r}")
    listed = required("HTTP_API_KEYS", "KEY or KEY1,KEY2")
    keys = tuple(key.strip() for key in listed.split(",") if key.strip())
    if listed and not keys:
        problems.append("HTTP_API_KEYS holds commas and no key; it must be like KEY or KEY1,KEY2")
    if any(len(key) < 16 for key in keys):
        problems.append("HTTP_API_KEYS holds a key of less than 16 characters; make one with `openssl rand -hex 24`")
    silent_after = environment.get("SILENT_AFTER_SECONDS", "180").strip()
    if not re.fullmatch("[0-9]{1,5}", silent_after) or not 30 <= int(silent_after) <= 86_400:
        problems.append(f"SILENT_AFTER_SECONDS must be 30-86400, got {silent_after[:40]!r}")
    if problems:
        raise SettingsError(problems)
    return Settings(
        StorageSettings(connection, table_uri, blob_uri),
        endpoint.rstrip("/"),
        rule_id,
        workspace_id,
        query_endpoint.rstrip("/"),
        environment.get("AZURE_CLIENT_ID") or None,
        keys,
        int(silent_after) * 1000,
    )
