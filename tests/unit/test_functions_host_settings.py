"""Settings, host.json and bindings: what is taken, and that everything else is refused with a usable message."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local.functions_host.app_settings import AppSettings
from local.functions_host.errors import BindingError, HostJsonError, SettingError
from local.functions_host.host_json import EventHubOptions, HostJson, read_host_json
from local.functions_host.time_span import parse_time_span
from local.functions_host.triggers import EventHubTrigger, HttpTrigger, TimerTrigger, read_function
from local.functions_host.worker import FunctionMetadata

CONNECTION = "Endpoint=sb://space.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=k"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00:05", 5), ("01:02:03", 3723), ("2.00:00:01", 172801), ("00:05", 300), ("00:00:00.5", 0.5)],
)
def test_time_span_is_read_as_dotnet_does(text: str, seconds: float) -> None:
    assert parse_time_span(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "5s", "00:60:00", "24:00:00", "00:00:60", "-00:00:01", "1:2:3:4"])
def test_malformed_time_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time span|hours must be"):
        parse_time_span(text)


def test_placeholders_are_replaced_by_settings() -> None:
    assert AppSettings({"HUB": "telemetry", "N": "1"}).expand("a-%HUB%-%N%") == "a-telemetry-1"


@pytest.mark.parametrize("environment", [{}, {"HUB": ""}])
def test_missing_placeholder_is_refused_by_name(environment: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="'%HUB%' does not resolve to a value; set HUB"):
        AppSettings(environment).expand("%HUB%")


def test_connection_is_found_with_and_without_the_azure_webjobs_prefix() -> None:
    assert AppSettings({"EVENTHUB": "a", "AzureWebJobsEVENTHUB": "b"}).connection_string("EVENTHUB") == "a"
    assert AppSettings({"AzureWebJobsEVENTHUB": "b"}).connection_string("EVENTHUB") == "b"


def test_identity_based_connection_is_refused_with_the_reason() -> None:
    settings = AppSettings({"EVENTHUB__fullyQualifiedNamespace": "space.servicebus.windows.net"})

    with pytest.raises(SettingError, match=r"EVENTHUB__fullyQualifiedNamespace: identity-based connections need Azure"):
        settings.connection_string("EVENTHUB")


@pytest.mark.parametrize(("value", "disabled"), [("true", True), ("True", True), ("1", True), ("false", False)])
def test_function_is_disabled_by_its_setting(value: str, disabled: bool) -> None:
    settings = AppSettings({"AzureWebJobs.ingest.Disabled": value})

    assert settings.is_disabled("ingest") is disabled
    assert settings.is_disabled("other") is False


def read(tmp_path: Path, document: object, **overrides: str) -> HostJson:
    path = tmp_path / "host.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_host_json(path, overrides)


def problems(tmp_path: Path, document: object, **overrides: str) -> tuple[str, ...]:
    with pytest.raises(HostJsonError) as caught:
        read(tmp_path, document, **overrides)
    return caught.value.problems


def test_defaults_are_those_of_the_real_host(tmp_path: Path) -> None:
    configuration = read(tmp_path, {"version": "2.0"})

    assert configuration.function_timeout == 1800
    assert configuration.event_hubs == EventHubOptions(100, 1, 60.0, 1, 300, "-1")
    assert configuration.http.route_prefix == "api"
    assert configuration.log_level == logging.INFO


def test_the_host_json_of_this_repository_is_taken() -> None:
    configuration = read_host_json(Path(__file__).parents[2] / "host.json", {})

    assert configuration.event_hubs.max_event_batch_size >= 1


def test_settings_override_the_file_without_regard_to_case(tmp_path: Path) -> None:
    document = {"version": "2.0", "extensions": {"eventHubs": {"maxEventBatchSize": 7}}}

    configuration = read(
        tmp_path,
        document,
        EXTENSIONS__eventhubs__MAXEVENTBATCHSIZE="9",
        functionTimeout="-1",
        logging__logLevel__default="Debug",
    )

    assert configuration.event_hubs.max_event_batch_size == 9
    assert configuration.function_timeout is None
    assert configuration.log_level == logging.DEBUG


@pytest.mark.parametrize(
    ("offset", "position"),
    [
        ({"type": "fromStart"}, "-1"),
        ({"type": "fromend"}, "@latest"),
        ({"type": "fromEnqueuedTime", "enqueuedTimeUtc": "2026-01-31T00:00:00Z"}, datetime(2026, 1, 31, tzinfo=UTC)),
        ({"type": "fromEnqueuedTime", "enqueuedTimeUtc": "2026-01-31T00:00:00"}, datetime(2026, 1, 31, tzinfo=UTC)),
    ],
)
def test_initial_offset_becomes_a_starting_position(tmp_path: Path, offset: object, position: object) -> None:
    document = {"version": "2.0", "extensions": {"eventHubs": {"initialOffsetOptions": offset}}}

    assert read(tmp_path, document).event_hubs.starting_position == position


@pytest.mark.parametrize(
    ("hubs", "problem"),
    [
        ({"maxEventBatchSize": 0}, "extensions.eventHubs.maxEventBatchSize must be a whole number 1-"),
        ({"maxEventBatchSize": True}, "extensions.eventHubs.maxEventBatchSize must be a whole number"),
        ({"maxEventBatchSize": "many"}, "got 'many'"),
        ({"batchCheckpointFrequency": 0}, "extensions.eventHubs.batchCheckpointFrequency must be"),
        ({"prefetchCount": -1}, "extensions.eventHubs.prefetchCount must be"),
        ({"maxWaitTime": "soon"}, "extensions.eventHubs.maxWaitTime is malformed"),
        ({"maxWaitTime": 5}, "extensions.eventHubs.maxWaitTime is malformed"),
        ({"maxWaitTime": "00:11:00"}, "extensions.eventHubs.maxWaitTime must be at most 600 s"),
        ({"initialOffsetOptions": {"type": "fromMiddle"}}, "initialOffsetOptions.type must be one of fromStart"),
        ({"initialOffsetOptions": {"type": "fromEnqueuedTime"}}, "enqueuedTimeUtc must be an ISO 8601 time"),
        ({"initialOffsetOptions": {"enqueuedTimeUtc": "2026-01-31"}}, "enqueuedTimeUtc contradicts type fromStart"),
        ({"initialOffsetOptions": "fromStart"}, "initialOffsetOptions must be an object"),
        ({"maxBatchSize": 10}, "extensions.eventHubs.maxBatchSize is unknown"),
    ],
)
def test_event_hub_option_the_real_host_would_not_take_is_refused(
    tmp_path: Path, hubs: dict[str, Any], problem: str
) -> None:
    (found,) = problems(tmp_path, {"version": "2.0", "extensions": {"eventHubs": hubs}})

    assert problem in found


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "version must be one of 2.0, got ''"),
        ({"version": 2.0}, "version must be a string, got 2.0"),
        ({"version": "2.0", "functionTimeout": "00:00:00"}, "functionTimeout must be longer than 0 s"),
        ({"version": "2.0", "functionTimeout": 5}, "functionTimeout must be a string"),
        ({"version": "2.0", "extension": {}}, "extension is unknown"),
        ({"version": "2.0", "extensions": {"eventHub": {}}}, "extensions.eventHub is unknown"),
        ({"version": "2.0", "extensions": []}, "extensions must be an object"),
        ({"version": "2.0", "extensions": {"http": {"customHeaders": {"X": 1}}}}, "customHeaders.X must be a string"),
        ({"version": "2.0", "logging": {"logLevel": {"default": "Loud"}}}, "logLevel.default must be one of"),
        ([], "must hold a JSON object, got list"),
        ("{", "is no JSON"),
    ],
)
def test_malformed_host_json_is_refused(tmp_path: Path, document: object, problem: str) -> None:
    found = problems(tmp_path, document)

    assert any(problem in line for line in found), found


def test_override_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    document = {"version": "2.0", "extensions": {"eventHubs": {"maxEventBatchSize": 10}}}

    (found,) = problems(tmp_path, document, extensions__eventHubs__minEventBatchSize="11")

    assert found == "extensions.eventHubs.minEventBatchSize (11) must not exceed maxEventBatchSize (10)"


def metadata(*bindings: dict[str, Any], name: str = "function") -> FunctionMetadata:
    return FunctionMetadata(name, "id", bindings, None)


EVENT_HUB = {"type": "eventHubTrigger", "name": "events", "eventHubName": "%HUB%", "connection": "EH"}
HTTP = {"type": "httpTrigger", "name": "req"}
TIMER = {"type": "timerTrigger", "name": "timer", "schedule": "0 */5 * * * *"}
SETTINGS = AppSettings({"EH": CONNECTION, "HUB": "telemetry"})


def test_event_hub_trigger_is_read_with_its_defaults() -> None:
    function = read_function(metadata(EVENT_HUB), SETTINGS)

    assert function.trigger == EventHubTrigger(
        parameter="events",
        connection_string=CONNECTION,
        namespace="space.servicebus.windows.net",
        event_hub="telemetry",
        consumer_group="$Default",
        many=False,
        binary=False,
    )


def test_entity_path_of_the_connection_beats_the_event_hub_name() -> None:
    settings = AppSettings({"EH": f"{CONNECTION};EntityPath=other", "HUB": "telemetry"})

    trigger = read_function(metadata(EVENT_HUB), settings).trigger

    assert isinstance(trigger, EventHubTrigger)
    assert trigger.event_hub == "other"


def test_port_of_a_local_broker_is_no_part_of_the_namespace() -> None:
    settings = AppSettings({"EH": "Endpoint=sb://localhost:5673;SharedAccessKey=k", "HUB": "telemetry"})

    trigger = read_function(metadata(EVENT_HUB), settings).trigger

    assert isinstance(trigger, EventHubTrigger)
    assert trigger.namespace == "localhost"


def test_http_trigger_without_route_is_served_under_its_name() -> None:
    trigger = read_function(metadata(HTTP, {"type": "http", "name": "$return"}, name="snapshot"), SETTINGS).trigger

    assert trigger == HttpTrigger("req", "snapshot", frozenset(), "function")


def test_timer_more_often_than_once_a_minute_has_no_monitor() -> None:
    seldom = read_function(metadata(TIMER), SETTINGS).trigger
    often = read_function(metadata({**TIMER, "schedule": "*/30 * * * * *"}), SETTINGS).trigger

    assert isinstance(seldom, TimerTrigger)
    assert isinstance(often, TimerTrigger)
    assert (seldom.use_monitor, often.use_monitor) == (True, False)


@pytest.mark.parametrize(
    ("bindings", "problem"),
    [
        ([], "function function: expected exactly one trigger"),
        ([HTTP, TIMER], "expected exactly one trigger"),
        ([{"type": "blobTrigger", "name": "b"}], "trigger type 'blobTrigger' is not supported here"),
        ([TIMER, {"type": "queue", "name": "out"}], "binding 'out' of type 'queue' is not supported here"),
        ([{**EVENT_HUB, "dataType": "STREAM"}], "dataType must be binary or string"),
        ([{**HTTP, "authLevel": "USER"}], "authLevel must be anonymous, function or admin, got 'user'"),
        ([{**TIMER, "schedule": "@daily"}], "schedule is refused: expected an NCRONTAB expression"),
    ],
)
def test_binding_that_cannot_be_honoured_is_refused(bindings: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(BindingError, match=problem):
        read_function(metadata(*bindings), SETTINGS)


def test_connection_string_without_endpoint_is_refused() -> None:
    with pytest.raises(BindingError, match="connection 'EH' has no Endpoint"):
        read_function(metadata(EVENT_HUB), AppSettings({"EH": "nonsense", "HUB": "telemetry"}))
