"""Starts the agent and the Event Hubs broker as processes of their own, for the agent's tests."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from azure.eventhub.aio import EventHubConsumerClient

from telemetry.envelope import Envelope, decode
from telemetry.validation import validate
from tests.eventually import PATIENCE_SECONDS, eventually

REPOSITORY = Path(__file__).parents[2]


class Program:
    """A process of ours with its outputs in files; stopped by its own pid.

    `within` is a command that does something and then becomes the command it is given.
    """

    def __init__(
        self, directory: Path, arguments: list[str], environment: dict[str, str], within: Sequence[str] = ()
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.out, self.err = directory / "stdout", directory / "stderr"
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(
                [*within, sys.executable, "-m", *arguments],
                cwd=REPOSITORY,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **environment},
                stdout=out,
                stderr=err,
            )

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class BrokerProcess:
    """The broker; every start listens on the same port and keeps its events.

    `hub` and `key` may be changed before it is started again; without a key every token passes.
    """

    def __init__(self, directory: Path, hub: str = "telemetry", key: str | None = None) -> None:
        self.directory, self.hub, self.key = directory, hub, key
        self.port = 0
        self.start()

    def start(self) -> None:
        ready = self.directory / "ready.json"
        ready.unlink(missing_ok=True)
        arguments = ["--port", str(self.port), "--data", str(self.directory / "data"), "--hub", f"{self.hub}:4"]
        arguments += ["--faults-port", "0", "--ready-file", str(ready), *(["--key", self.key] if self.key else [])]
        self.program = Program(self.directory, ["local.event_hubs", *arguments], {})
        told = json.loads(eventually(lambda: ready.exists() and ready.read_text(), "a ready broker"))
        self.port, self._faults_url = told["port"], f"http://127.0.0.1:{told['faults_port']}/faults"

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.program.stop(number)

    def set_faults(self, **faults: float) -> None:
        """Replaces all faults; without any the broker works."""
        urllib.request.urlopen(self._faults_url, json.dumps(faults).encode(), timeout=10).close()

    def injected(self) -> dict[str, int]:
        """What the broker has done wrong on purpose, by kind."""
        with urllib.request.urlopen(self._faults_url, timeout=10) as response:
            return json.loads(response.read())["injected"]

    @property
    def connection_string(self) -> str:
        return (
            f"Endpoint=sb://127.0.0.1:{self.port};SharedAccessKeyName=RootManageSharedAccessKey;"
            f"SharedAccessKey={self.key or 'SAS_KEY_VALUE'};UseDevelopmentEmulator=true;"
        )

    def envelopes(self, enough: Callable[[list[Envelope]], bool]) -> list[Envelope]:
        """All valid envelopes in the hub, in order, as soon as there are enough. An invalid one fails the test."""
        return asyncio.run(self._envelopes(enough))

    async def _envelopes(self, enough: Callable[[list[Envelope]], bool]) -> list[Envelope]:
        found: list[Envelope] = []
        done = asyncio.Event()

        async def on_events(context, events):
            for event in events:
                raw = b"".join(event.body)
                validate(raw, int(event.enqueued_time.timestamp() * 1000))
                found.append(decode(raw))
            if enough(found):
                done.set()

        client = EventHubConsumerClient.from_connection_string(
            self.connection_string, "$Default", eventhub_name="telemetry", load_balancing_interval=0.1
        )
        task = asyncio.create_task(client.receive_batch(on_events, starting_position="-1", max_wait_time=0.1))
        try:
            await asyncio.wait_for(done.wait(), PATIENCE_SECONDS)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.close()
        return found


class AgentProcess(Program):
    """The agent with short intervals; its spool and status file are in `directory`."""

    def __init__(self, directory: Path, *arguments: str, within: Sequence[str] = (), **environment: str) -> None:
        self.spool = directory / "spool"
        self.status_file = directory / "status.json"
        super().__init__(
            directory,
            ["agent", *arguments],
            {
                "AGENT_NODE": "node-1",
                "AGENT_SAMPLE_INTERVAL": "0.2",
                "AGENT_PUBLISH_INTERVAL": "0.6",
                "AGENT_SPOOL_DIR": str(self.spool),
                "AGENT_STATUS_FILE": str(self.status_file),
                **environment,
            },
            within,
        )

    def status(self) -> dict:
        return json.loads(self.status_file.read_text()) if self.status_file.exists() else {}

    def wait_for_status(self, is_it: Callable[[dict], bool], what: str) -> dict:
        return eventually(lambda: (found := self.status()) and is_it(found) and found, what)

    def spooled(self) -> list[Envelope]:
        return [decode(path.read_bytes()) for path in sorted(self.spool.glob("*.envelope"))]

    def log(self) -> list[dict]:
        return [json.loads(line) for line in self.err.read_text().splitlines()]

    def events(self) -> list[str]:
        return [line["event"] for line in self.log()]
