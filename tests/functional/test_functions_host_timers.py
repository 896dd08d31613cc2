"""Timers and stored keys of the functions host, with their blobs in Azurite."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient
from functions_host_process import MASTER_KEY, Host

from local.azurite import Azurite
from tests.eventually import eventually

YEARLY = "0 0 0 1 1 *"
EVERY_SECOND = "* * * * * *"


@pytest.fixture
def host_id(tmp_path: Path) -> str:
    return tmp_path.name.replace("_", "-")[-30:].strip("-").lower()


def start_host(directory: Path, azurite: Azurite, host_id: str, *only: str, **settings: str) -> Host:
    return Host(
        directory,
        only=only,
        AzureWebJobsStorage=azurite.connection_string,
        AzureFunctionsWebHost__hostid=host_id,
        **settings,
    )


def status_blob(azurite: Azurite, host_id: str, function: str = "timed") -> dict[str, datetime] | None:
    with ContainerClient.from_connection_string(azurite.connection_string, "azure-webjobs-hosts") as container:
        try:
            text = container.download_blob(f"timers/{host_id}/Host.Functions.{function}/status").readall()
        except ResourceNotFoundError:
            return None
        return {name: datetime.fromisoformat(time) for name, time in json.loads(text).items()}


def plant_status(azurite: Azurite, host_id: str, content: bytes) -> None:
    with ContainerClient.from_connection_string(azurite.connection_string, "azure-webjobs-hosts") as container:
        if not container.exists():
            container.create_container()
        container.upload_blob(f"timers/{host_id}/Host.Functions.timed/status", content, overwrite=True)


def test_timer_fires_when_due_and_never_twice_at_once(tmp_path: Path, azurite: Azurite, host_id: str) -> None:
    with start_host(tmp_path, azurite, host_id, "timed", SCHEDULE=EVERY_SECOND, TIMER_SLEEP="1.5") as host:
        host.started()
        eventually(lambda: len(host.records("timed_end")) == 2, "two runs")

    starts = [record["time"] for record in host.records("timed")]
    ends = [record["time"] for record in host.records("timed_end")]
    assert starts[1] >= ends[0]
    assert [record["past_due"] for record in host.records("timed")][:2] == [False, False]
    assert status_blob(azurite, host_id) is None  # more often than once a minute: the real host keeps no status either


def test_missed_run_is_made_up_for_once_and_marked_past_due(tmp_path: Path, azurite: Azurite, host_id: str) -> None:
    now = datetime.now(UTC)
    schedule = f"0 {now.minute} {now.hour} * * *"  # this minute, every day
    due = now.replace(second=0, microsecond=0)
    last = due - timedelta(days=1)
    stored = {"Last": last.isoformat(), "Next": due.isoformat(), "LastUpdated": last.isoformat()}
    plant_status(azurite, host_id, json.dumps(stored).encode())

    with start_host(tmp_path, azurite, host_id, "timed", SCHEDULE=schedule) as host:
        host.started()
        eventually(lambda: host.records("timed_end"), "the run")
        blob = eventually(
            lambda: (found := status_blob(azurite, host_id)) and found["Last"] >= due and found, "the new status"
        )

    runs = host.records("timed")
    assert [run["past_due"] for run in runs] == [True]
    assert datetime.fromisoformat(runs[0]["status"]["Next"]) == due
    assert blob["Next"] == due + timedelta(days=1)


def test_timer_without_history_waits_for_its_time_and_notes_it(tmp_path: Path, azurite: Azurite, host_id: str) -> None:
    with start_host(tmp_path, azurite, host_id, "timed", SCHEDULE=YEARLY) as host:
        host.started()
        blob = eventually(lambda: status_blob(azurite, host_id), "the first status")
        exit_code = host.stop()

    assert exit_code == 0
    assert host.records("timed") == []
    assert (blob["Next"].month, blob["Next"].day, blob["Next"].hour) == (1, 1, 0)


def test_unreadable_status_counts_as_no_history(tmp_path: Path, azurite: Azurite, host_id: str) -> None:
    plant_status(azurite, host_id, b"{torn")

    with start_host(tmp_path, azurite, host_id, "timed", SCHEDULE=YEARLY) as host:
        host.started()
        eventually(lambda: status_blob(azurite, host_id), "a readable status")

    assert host.records("timed") == []


def test_timer_that_runs_on_startup_runs_at_once(tmp_path: Path, azurite: Azurite, host_id: str) -> None:
    with start_host(tmp_path, azurite, host_id, "at_startup") as host:
        host.started()
        runs = eventually(lambda: host.records("at_startup"), "the run")

    assert [run["past_due"] for run in runs] == [False]


def test_keys_are_made_once_and_kept_in_the_secrets_blob(tmp_path: Path, azurite: Azurite, host_id: str) -> None:
    from_storage = {"LOCAL_FUNCTIONS_MASTER_KEY": "", "LOCAL_FUNCTIONS_HOST_KEY": ""}

    def statuses(host: Host, *keys: str) -> list[int]:
        return [
            requests.get(f"{host.url}/api/admins", headers={"x-functions-key": key}, timeout=10).status_code
            for key in keys
        ]

    with start_host(tmp_path, azurite, host_id, **from_storage) as host:
        host.started()
        with ContainerClient.from_connection_string(azurite.connection_string, "azure-webjobs-secrets") as container:
            secrets = json.loads(container.download_blob(f"{host_id}/host.json").readall())
        master, function_key = secrets["masterKey"]["value"], secrets["functionKeys"][0]["value"]
        first = statuses(host, master, function_key, MASTER_KEY)
    with start_host(tmp_path, azurite, host_id, **from_storage) as host:
        host.started()
        second = statuses(host, master, function_key)

    assert first == [200, 401, 401]
    assert second == [200, 401]
