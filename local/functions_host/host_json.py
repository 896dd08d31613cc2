"""host.json: what the host takes from it, and the refusal of everything it cannot honour. For the host only."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from local.functions_host.configuration_section import Section
from local.functions_host.errors import HostJsonError
from local.functions_host.json_logs import LOG_LEVELS

OVERRIDE_PREFIX = "AzureFunctionsJobHost__"
_MAX_INT32 = 2**31 - 1
_MAX_WAIT_SECONDS = 600.0  # the extension's documented longest wait for a batch
_DEFAULT_TIMEOUT_SECONDS = 1800.0


@dataclass(frozen=True)
class EventHubOptions:
    """The `extensions.eventHubs` section; defaults are those of extension 6.x.

    `starting_position` is where a partition without checkpoint starts: "-1" (first event), "@latest", or a time.
    """

    max_event_batch_size: int = 100
    min_event_batch_size: int = 1
    max_wait_seconds: float = 60.0
    batch_checkpoint_frequency: int = 1
    prefetch_count: int = 300
    starting_position: str | datetime = "-1"


@dataclass(frozen=True)
class HttpOptions:
    """The `extensions.http` section."""

    route_prefix: str = "api"
    custom_headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HostJson:
    """What the host needs from host.json; `function_timeout` is None where it is unlimited (-1)."""

    function_timeout: float | None
    event_hubs: EventHubOptions
    http: HttpOptions
    log_level: int


def read_host_json(path: Path, overrides: Mapping[str, str]) -> HostJson:
    """Read and check the file; `overrides` are environment values keyed `a__b__c`, which win over the file."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise HostJsonError([f"{path} does not exist; a function app's directory holds a host.json"]) from error
    except ValueError as error:
        raise HostJsonError([f"{path} is no JSON: {error}"]) from error
    if not isinstance(document, dict):
        raise HostJsonError([f"{path} must hold a JSON object, got {type(document).__name__}"])
    for name, value in overrides.items():
        _override(document, name.split("__"), value)
    problems: list[str] = []
    configuration = _host(Section(document, "", problems))
    if problems:
        raise HostJsonError(sorted(problems))
    return configuration


def _override(document: dict[str, object], path: list[str], value: str) -> None:
    """Set a nested value, matching existing keys without case."""
    name = next((key for key in document if key.lower() == path[0].lower()), path[0])
    if len(path) == 1:
        document[name] = value
        return
    nested = document.get(name)
    if not isinstance(nested, dict):
        nested = document[name] = {}
    _override(nested, path[1:], value)


def _host(root: Section) -> HostJson:
    root.choice("version", "", ["2.0"])
    extensions = root.section("extensions")
    configuration = HostJson(
        function_timeout=_function_timeout(root),
        event_hubs=_event_hubs(extensions.section("eventHubs")),
        http=_http(extensions.section("http")),
        log_level=_log_level(root.section("logging")),
    )
    extensions.without_effect("queues", "blobs", "serviceBus", "durableTask", "cosmosDB", "sendGrid", "signalR")
    extensions.close()
    root.without_effect(
        "$schema", "extensionBundle", "aggregator", "concurrency", "healthMonitor", "managedDependency",
        "singleton", "watchDirectories", "watchFiles", "telemetryMode",
    )  # fmt: skip
    root.close()
    return configuration


def _function_timeout(root: Section) -> float | None:
    if root.text("functionTimeout", "") == "-1":
        return None
    timeout = root.seconds("functionTimeout", _DEFAULT_TIMEOUT_SECONDS)
    if timeout <= 0:
        root.problem("functionTimeout", "must be longer than 0 s; use -1 for no limit")
    return timeout


def _event_hubs(section: Section) -> EventHubOptions:
    default = EventHubOptions()
    options = EventHubOptions(
        max_event_batch_size=section.integer("maxEventBatchSize", default.max_event_batch_size, 1, _MAX_INT32),
        min_event_batch_size=section.integer("minEventBatchSize", default.min_event_batch_size, 1, _MAX_INT32),
        max_wait_seconds=section.seconds("maxWaitTime", default.max_wait_seconds, _MAX_WAIT_SECONDS),
        batch_checkpoint_frequency=section.integer("batchCheckpointFrequency", 1, 1, _MAX_INT32),
        prefetch_count=section.integer("prefetchCount", default.prefetch_count, 0, _MAX_INT32),
        starting_position=_starting_position(section.section("initialOffsetOptions")),
    )
    if options.min_event_batch_size > options.max_event_batch_size:
        section.problem(
            "minEventBatchSize",
            f"({options.min_event_batch_size}) must not exceed maxEventBatchSize ({options.max_event_batch_size})",
        )
    section.without_effect(
        "targetUnprocessedEventThreshold", "transportType", "webProxy", "customEndpointAddress",
        "loadBalancingUpdateInterval", "partitionOwnershipExpirationInterval", "trackLastEnqueuedEventProperties",
        "clientRetryOptions",
    )  # fmt: skip
    section.close()
    return options


def _starting_position(section: Section) -> str | datetime:
    kind = section.choice("type", "fromStart", ["fromStart", "fromEnd", "fromEnqueuedTime"])
    text = section.text("enqueuedTimeUtc", "")
    section.close()
    if kind != "fromEnqueuedTime":
        if text:
            section.problem("enqueuedTimeUtc", f"contradicts type {kind}; it belongs to fromEnqueuedTime")
        return "-1" if kind == "fromStart" else "@latest"
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        section.problem("enqueuedTimeUtc", f"must be an ISO 8601 time such as 2026-01-31T00:00:00Z, got {text!r}")
        return "-1"
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _http(section: Section) -> HttpOptions:
    options = HttpOptions(
        route_prefix=section.text("routePrefix", "api").strip("/"),
        custom_headers=section.texts("customHeaders"),
    )
    section.without_effect("maxOutstandingRequests", "maxConcurrentRequests", "dynamicThrottlesEnabled", "hsts")
    section.close()
    return options


def _log_level(section: Section) -> int:
    levels = section.texts("logLevel")
    for name, level in levels.items():
        if level.lower() not in LOG_LEVELS:
            section.problem(f"logLevel.{name}", f"must be one of {', '.join(LOG_LEVELS)}, got {level!r}")
    section.without_effect("applicationInsights", "fileLoggingMode", "console")
    section.close()
    by_name = {name.lower(): level.lower() for name, level in levels.items()}
    return LOG_LEVELS.get(by_name.get("default", "information"), logging.INFO)
