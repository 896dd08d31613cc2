"""The function app's settings: every problem told, all of them at once."""

import pytest

from functions.bindings.settings import Settings, StorageSettings, read_settings
from telemetry.errors import SettingsError

GOOD = {
    "STATE_STORAGE": "UseDevelopmentStorage=true",
    "LOGS_INGESTION_ENDPOINT": "https://dce.westeurope.ingest.monitor.azure.com/",
    "LOGS_DCR_IMMUTABLE_ID": "dcr-0123",
    "LOGS_WORKSPACE_ID": "01234567-89ab-cdef-0123-456789ABCDEF",
    "HTTP_API_KEYS": " first-key-is-long , second-key-is-long ,",
}
IDENTITY = {
    "STATE_STORAGE__tableServiceUri": "https://account.table.core.windows.net",
    "STATE_STORAGE__blobServiceUri": "https://account.blob.core.windows.net",
}


def problems(**changes):
    environment = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(SettingsError) as error:
        read_settings(environment)
    return error.value.problems


def test_good_settings_are_read_and_trimmed():
    assert read_settings(GOOD) == Settings(
        StorageSettings("UseDevelopmentStorage=true", None, None),
        "https://dce.westeurope.ingest.monitor.azure.com",
        "dcr-0123",
        "01234567-89ab-cdef-0123-456789ABCDEF",
        "https://api.loganalytics.io",
        None,
        ("first-key-is-long", "second-key-is-long"),
        180_000,
    )


def test_storage_may_be_two_service_uris_and_an_identity():
    environment = {**GOOD, **IDENTITY, "AZURE_CLIENT_ID": "the-client"}
    del environment["STATE_STORAGE"]

    settings = read_settings(environment)

    assert settings.storage == StorageSettings(None, *IDENTITY.values())
    assert settings.client_id == "the-client"


def test_every_problem_is_told_at_once():
    with pytest.raises(SettingsError) as error:
        read_settings({"SILENT_AFTER_SECONDS": "soon"})

    told = str(error.value)
    names = ["STATE_STORAGE", "LOGS_INGESTION_ENDPOINT", "LOGS_DCR_IMMUTABLE_ID", "LOGS_WORKSPACE_ID"]
    names += ["HTTP_API_KEYS", "SILENT_AFTER"]
    assert len(error.value.problems) == len(names)
    assert all(name in told for name in names)


@pytest.mark.parametrize("workspace", ["my-workspace", "01234567-89ab-cdef-0123-456789ABCDE", "0" * 36])
def test_workspace_that_is_no_guid_is_told_with_what_was_given(workspace):
    (problem,) = problems(LOGS_WORKSPACE_ID=workspace)

    assert "LOGS_WORKSPACE_ID" in problem and repr(workspace) in problem and "customerId" in problem


def test_queries_go_where_they_are_told_to():
    assert read_settings({**GOOD, "LOGS_QUERY_ENDPOINT": "https://api.loganalytics.us/"}).query_endpoint == (
        "https://api.loganalytics.us"
    )
    (problem,) = problems(LOGS_QUERY_ENDPOINT="api.loganalytics.io")
    assert "LOGS_QUERY_ENDPOINT" in problem and "'api.loganalytics.io'" in problem


@pytest.mark.parametrize(
    "name", ["LOGS_INGESTION_ENDPOINT", "LOGS_DCR_IMMUTABLE_ID", "LOGS_WORKSPACE_ID", "HTTP_API_KEYS"]
)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_missing_setting_is_told_with_an_example(name, value):
    (problem,) = problems(**{name: value})

    assert name in problem and "must be like" in problem


@pytest.mark.parametrize(
    "storage",
    [
        {"STATE_STORAGE": None},
        {"STATE_STORAGE": ""},
        {"STATE_STORAGE": None, "STATE_STORAGE__tableServiceUri": "https://account.table.core.windows.net"},
        {"STATE_STORAGE": None, "STATE_STORAGE__blobServiceUri": "https://account.blob.core.windows.net"},
        IDENTITY,
    ],
)
def test_storage_is_a_connection_string_or_both_uris_and_not_both_ways(storage):
    (problem,) = problems(**storage)

    assert "either STATE_STORAGE" in problem


@pytest.mark.parametrize("endpoint", ["http://dce", "dce.westeurope", "HTTPS//dce"])
def test_endpoint_must_be_https(endpoint):
    (problem,) = problems(LOGS_INGESTION_ENDPOINT=endpoint)

    assert endpoint in problem and "https://" in problem


@pytest.mark.parametrize("keys", ["short", "long-enough-to-be-one,short", ",", " , "])
def test_keys_that_can_be_guessed_and_no_keys_are_refused_without_showing_them(keys):
    (problem,) = problems(HTTP_API_KEYS=keys)

    assert "HTTP_API_KEYS" in problem
    assert "short" not in problem


@pytest.mark.parametrize("value", ["29", "86401", "-60", "60.5", "", "1e3", "٣٠", "²", "9" * 5000])
def test_time_until_a_node_is_silent_must_be_in_range(value):
    (problem,) = problems(SILENT_AFTER_SECONDS=value)

    assert "SILENT_AFTER_SECONDS must be 30-86400" in problem
    assert len(problem) < 200


@pytest.mark.parametrize("value", ["30", "86400", " 60 "])
def test_time_until_a_node_is_silent_is_kept_in_milliseconds(value):
    assert read_settings({**GOOD, "SILENT_AFTER_SECONDS": value}).silent_after_ms == int(value) * 1000
