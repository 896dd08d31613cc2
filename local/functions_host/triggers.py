"""The triggers a function can have here, read from its function.json bindings. For the host only."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.functions_host.app_settings import AppSettings
from local.functions_host.errors import BindingError, HostError
from local.functions_host.retry import RetryPolicy
from local.functions_host.timer_schedule import Schedule
from local.functions_host.worker import FunctionMetadata

_ENTITY_PATH = re.compile(r"(?:^|;)\s*EntityPath=([^;]+)", re.IGNORECASE)
_ENDPOINT_HOST = re.compile(r"(?:^|;)\s*Endpoint=[a-z]+://([^/;:]+)", re.IGNORECASE)


@dataclass(frozen=True)
class EventHubTrigger:
    """Events of one event hub; `many` says whether the function takes a batch, `binary` whether it takes bytes."""

    parameter: str
    connection_string: str
    namespace: str
    event_hub: str
    consumer_group: str
    many: bool
    binary: bool


@dataclass(frozen=True)
class HttpTrigger:
    """Requests to a route; no methods means every method."""

    parameter: str
    route: str
    methods: frozenset[str]
    auth_level: str


@dataclass(frozen=True)
class TimerTrigger:
    """Points in time."""

    parameter: str
    schedule: Schedule
    run_on_startup: bool
    use_monitor: bool


type Trigger = EventHubTrigger | HttpTrigger | TimerTrigger


@dataclass(frozen=True)
class Function:
    """A function of the app, ready to be listened for."""

    name: str
    function_id: str
    trigger: Trigger
    retry: RetryPolicy | None
    disabled: bool
    bindings: tuple[Mapping[str, Any], ...]


def read_function(metadata: FunctionMetadata, settings: AppSettings) -> Function:
    """Turn indexed metadata into a function; BindingError or SettingError, naming the function, if it cannot run."""
    disabled = settings.is_disabled(metadata.name)
    try:
        trigger = _trigger(metadata, settings)
    except HostError as error:
        raise type(error)(f"function {metadata.name}: {error}") from error
    return Function(metadata.name, metadata.function_id, trigger, metadata.retry, disabled, metadata.bindings)


def _trigger(metadata: FunctionMetadata, settings: AppSettings) -> Trigger:
    triggers = [binding for binding in metadata.bindings if str(binding["type"]).endswith("Trigger")]
    if len(triggers) != 1:
        raise BindingError(f"expected exactly one trigger, got {[binding['type'] for binding in triggers]}")
    binding = triggers[0]
    for other in metadata.bindings:
        is_http_output = other["type"] == "http" and binding["type"] == "httpTrigger"
        if other is not binding and not is_http_output:
            raise BindingError(
                f"binding {other['name']!r} of type {other['type']!r} is not supported here; "
                "only triggers and the HTTP response are, use an SDK client in the function instead"
            )
    match binding["type"]:
        case "eventHubTrigger":
            return _event_hub_trigger(binding, settings)
        case "httpTrigger":
            return _http_trigger(binding, settings, metadata.name)
        case "timerTrigger":
            return _timer_trigger(binding, settings)
        case other_type:
            raise BindingError(
                f"trigger type {other_type!r} is not supported here; use eventHubTrigger, httpTrigger or timerTrigger"
            )


def _event_hub_trigger(binding: Mapping[str, Any], settings: AppSettings) -> EventHubTrigger:
    connection_string = settings.connection_string(settings.expand(binding["connection"]))
    entity = _ENTITY_PATH.search(connection_string)
    host = _ENDPOINT_HOST.search(connection_string)
    if host is None:
        raise BindingError(
            f"connection {binding['connection']!r} has no Endpoint; "
            "expected Endpoint=sb://HOST;SharedAccessKeyName=...;SharedAccessKey=..."
        )
    data_type = str(binding.get("dataType") or "UNDEFINED").upper()
    if data_type not in {"BINARY", "STRING", "UNDEFINED"}:
        raise BindingError(f"dataType must be binary or string for an event hub trigger, got {data_type!r}")
    return EventHubTrigger(
        parameter=binding["name"],
        connection_string=connection_string,
        # Without the port: a local broker changes it from run to run, and its checkpoints must be found again.
        namespace=host[1],
        event_hub=entity[1] if entity else settings.expand(binding["eventHubName"]),
        consumer_group=settings.expand(binding.get("consumerGroup") or "$Default"),
        many=str(binding.get("cardinality") or "one").lower() == "many",
        binary=data_type == "BINARY",
    )


def _http_trigger(binding: Mapping[str, Any], settings: AppSettings, name: str) -> HttpTrigger:
    auth_level = str(binding.get("authLevel") or "function").lower()
    if auth_level not in {"anonymous", "function", "admin"}:
        raise BindingError(f"authLevel must be anonymous, function or admin, got {auth_level!r}")
    route = binding.get("route")
    return HttpTrigger(
        parameter=binding["name"],
        route=settings.expand(name if route is None else route),
        methods=frozenset(str(method).upper() for method in binding.get("methods") or ()),
        auth_level=auth_level,
    )


def _timer_trigger(binding: Mapping[str, Any], settings: AppSettings) -> TimerTrigger:
    expression = settings.expand(binding["schedule"])
    try:
        schedule = Schedule(expression)
    except ValueError as error:
        raise BindingError(f"schedule is refused: {error}") from error
    return TimerTrigger(
        parameter=binding["name"],
        schedule=schedule,
        run_on_startup=bool(binding.get("runOnStartup", False)),
        # The real host keeps no status of timers that fire more often than once a minute.
        use_monitor=binding.get("useMonitor") is not False and not schedule.is_more_often_than_a_minute,
    )
