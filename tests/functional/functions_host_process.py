"""Starts the functions host and the Event Hubs broker as processes of their own, for the functions host's tests."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from azure.eventhub import EventData, EventHubProducerClient

from tests.eventually import PATIENCE_SECONDS, eventually

APP = Path(__file__).with_name("functions_host_app")
REPOSITORY = APP.parents[2]
MASTER_KEY, HOST_KEY = "the-master-key", "a-host-key"
EVENT_HUB_FUNCTIONS = ("retried", "lossy", "limited", "single")
TIMER_FUNCTIONS = ("timed", "at_startup")


class Child:
    """A program of ours that writes a ready file; stopped by its own pid."""

    def __init__(self, arguments: Iterable[str], environment: Mapping[str, str], directory: Path) -> None:
        self._ready_file = directory / "ready.json"
        self._log_file = directory / "stderr.log"
        self._ready_file.unlink(missing_ok=True)
        with self._log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments, "--ready-file", str(self._ready_file)],
                cwd=REPOSITORY,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **environment},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def ready(self) -> Mapping[str, Any]:
        """What the ready file says, once it is there."""

        def look() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self._log_file.read_text()}"
            return self._ready_file.exists()

        eventually(look, f"{self._ready_file}; log: {self._log_file.read_text()}")
        return json.loads(self._ready_file.read_text())

    def log(self) -> list[dict[str, Any]]:
        """The lines logged so far; every one of them is JSON."""
        return [json.loads(line) for line in self._log_file.read_text().splitlines()]

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()


class Broker(Child):
    """Our Event Hubs broker on the data of a directory; every hub has one partition unless told otherwise."""

    def __init__(self, directory: Path, hubs: Iterable[str], port: int = 0) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        arguments = ["local.event_hubs", "--port", str(port), "--data", str(directory / "data")]
        for hub in hubs:
            arguments += ["--hub", hub if ":" in hub else f"{hub}:1"]
        super().__init__(arguments, {}, directory)
        self.port = int(self.ready()["port"])
        self.connection_string = connection_string(self.port)
        self._producers: dict[str, EventHubProducerClient] = {}
        self._open = contextlib.ExitStack()

    def send(self, hub: str, *bodies: Mapping[str, object], key: str = "node-1") -> None:
        """Send events with JSON bodies in one batch, all with the same partition key."""
        events = [EventData(json.dumps(body)) for body in bodies]
        for event in events:
            event.properties = {"kind": "test"}
        if hub not in self._producers:  # a new one costs a second, so each is kept
            client = EventHubProducerClient.from_connection_string(self.connection_string, eventhub_name=hub)
            self._producers[hub] = self._open.enter_context(client)
        self._producers[hub].send_batch(events, partition_key=key)

    def kill(self) -> None:
        """SIGKILL; our own clients go first, because the SDK leaks the socket of a connection that broke."""
        self._open.close()
        super().kill()


def connection_string(port: int) -> str:
    """What a local broker on that port is reached by."""
    return (
        f"Endpoint=sb://localhost:{port};SharedAccessKeyName=RootManageSharedAccessKey;"
        "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
    )


class Host(Child):
    """The functions host with the sample app; `only` names the triggered functions that are not switched off."""

    def __init__(self, directory: Path, only: Iterable[str], **settings: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._records = directory / "records.jsonl"
        self._records.touch()
        off = {*EVENT_HUB_FUNCTIONS, *TIMER_FUNCTIONS, "switched_off"} - set(only)
        self.settings = {
            "LOCAL_FUNCTIONS_MASTER_KEY": MASTER_KEY,
            "LOCAL_FUNCTIONS_HOST_KEY": HOST_KEY,
            "AzureWebJobsStorage": "unused",
            "EVENTHUB": connection_string(1),
            "HUB": "telemetry",
            "SCHEDULE": "* * * * * *",
            "RECORDS": str(self._records),
            **{f"AzureWebJobs.{name}.Disabled": "true" for name in off},
            **settings,
        }
        super().__init__(["local.functions_host", "--app", str(APP)], self.settings, directory)
        self.url = ""

    def started(self) -> Self:
        """Wait until the host is ready."""
        self.url = f"http://127.0.0.1:{self.ready()['port']}"
        return self

    def records(self, function: str) -> list[dict[str, Any]]:
        """What a function has recorded, in order."""
        lines = [json.loads(line) for line in self._records.read_text().splitlines()]
        return [line for line in lines if line["function"] == function]

    def bodies(self, function: str) -> list[dict[str, Any]]:
        """The event bodies a function was given, repetitions included."""
        return [body for record in self.records(function) for body in record["bodies"]]

    def status(self) -> dict[str, Any]:
        """The status document."""
        response = requests.get(f"{self.url}/admin/host/status", headers={"x-functions-key": MASTER_KEY}, timeout=10)
        assert response.status_code == 200
        document: dict[str, Any] = response.json()
        return document

    def partition(self, function: str, partition: str = "0") -> dict[str, Any]:
        """The status of one partition of a function's event hub; empty while it is not known."""
        found = [p for p in self.status()["partitions"] if p["function"] == function and p["partition"] == partition]
        return found[0] if found else {}
