"""The programs that are measured and those they need, each a process of its own. For the agent's benchmark."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import urlopen

from bench.agent.cloud import free_host, issue_certificates

HUB = "telemetry"
REPOSITORY = Path(__file__).parents[2]
_READY_SECONDS = 30.0
_STOP_SECONDS = 10.0

TRUST_OUR_AUTHORITY = """\
import os
import certifi
certifi.where = lambda: os.environ["SSL_CERT_FILE"]
"""
"""The SDK takes its root certificates from certifi and from nowhere else; this makes it trust the local stand-ins.
As `sitecustomize`, so that the agent itself is started as it ships."""


class Unmeasurable(Exception):
    """Something that the benchmark needs is missing or does not work."""


class Program:
    """A running program with its output in a file; ends with the block it was opened in."""

    def __init__(self, name: str, folder: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = folder / f"{name}.log"
        self.started_ms = time.time() * 1000
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                arguments,
                cwd=REPOSITORY,
                env={"PATH": os.environ["PATH"], **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def await_[T](self, look: Callable[[], T], what: str, seconds: float = _READY_SECONDS, every: float = 0.01) -> T:
        """The first true value of `look`. Raises Unmeasurable when the program ends before, or time does."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := look():
                return found
            if self._process.poll() is not None:
                raise Unmeasurable(f"{self.name} ended with {self._process.returncode} before {what}: {self.tail()}")
            time.sleep(every)
        raise Unmeasurable(f"{self.name}: {what} did not happen within {seconds:g} s: {self.tail()}")

    def tail(self) -> str:
        """The end of what the program has said."""
        return self.log.read_text(errors="replace")[-1500:]


class Broker(Program):
    """Our Event Hubs broker with one event hub of one partition, so that its log is in the order of publishing."""

    def __init__(self, folder: Path) -> None:
        ready = folder / "broker.json"
        module = [sys.executable, "-m", "local.event_hubs", "--port", "0", "--faults-port", "0"]
        arguments = [*module, "--data", str(folder / "events"), "--hub", f"{HUB}:1", "--ready-file", str(ready)]
        super().__init__("broker", folder, arguments, {})
        ports = _ready(self, ready)
        self.port, self._control_port = ports["port"], ports["faults_port"]

    def envelopes(self) -> int:
        """How many envelopes it has acknowledged."""
        with urlopen(f"http://127.0.0.1:{self._control_port}/status", timeout=10) as answer:
            status = json.load(answer)
        return int(status["hubs"][HUB]["partitions"]["0"]["last_sequence_number"]) + 1

    @property
    def connection_string(self) -> str:
        """For reading what was published; without TLS."""
        return connection_string(f"127.0.0.1:{self.port}", "UseDevelopmentEmulator=true;")


class Cloud(Program):
    """Event Hubs by TLS, and Entra: see `bench.agent.cloud`."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self.host = free_host()
        certificates = issue_certificates(folder, self.host)
        self._bundle = str(certificates.bundle)
        self._federated_token = folder / "federated-token"
        self._federated_token.write_text("the service account's token\n")
        ready = folder / "cloud.json"
        module = [sys.executable, "-m", "bench.agent.cloud", "--host", self.host, "--broker-port", str(broker.port)]
        files = ["--certificate", str(certificates.certificate), "--private-key", str(certificates.private_key)]
        files += ["--federated-token-file", str(self._federated_token), "--ready-file", str(ready)]
        super().__init__("cloud", folder, [*module, *files], {})
        self._authority = f"https://{self.host}:{_ready(self, ready)['entra_port']}"

    def by_key(self) -> dict[str, str]:
        """The agent's settings for publishing with a connection string."""
        return {"EVENTHUB_CONNECTION_STRING": connection_string(self.host), "SSL_CERT_FILE": self._bundle}

    def by_identity(self) -> dict[str, str]:
        """The agent's settings for publishing with a workload identity: what AKS's webhook puts into a pod."""
        return {
            "EVENTHUB_FULLY_QUALIFIED_NAMESPACE": self.host,
            "AZURE_AUTHORITY_HOST": self._authority,
            "AZURE_TENANT_ID": "00000000-0000-0000-0000-000000000001",
            "AZURE_CLIENT_ID": "00000000-0000-0000-0000-000000000002",
            "AZURE_FEDERATED_TOKEN_FILE": str(self._federated_token),
            "SSL_CERT_FILE": self._bundle,
        }

    def tokens_issued(self) -> int:
        """How many tokens the agent has been given for its federated one."""
        return self.log.read_text().count("token issued")


class Agent(Program):
    """The agent as it ships, publishing, with /metrics served."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], *, module: str = "agent", name: str = "agent"
    ) -> None:
        self.http_port = free_port()
        site = folder / "site"
        site.mkdir(parents=True, exist_ok=True)
        (site / "sitecustomize.py").write_text(TRUST_OUR_AUTHORITY)
        super().__init__(
            name,
            folder,
            [sys.executable, "-m", module],
            {
                "PYTHONPATH": f"{site}{os.pathsep}{REPOSITORY}",
                "AGENT_CLUSTER": "bench",
                "AGENT_NODE": "bench",
                "AGENT_SPOOL_DIR": str(folder / f"{name}-spool"),
                "AGENT_HTTP_LISTEN": f"127.0.0.1:{self.http_port}",
                "EVENTHUB_NAME": HUB,
                **environment,
            },
        )


class NodeExporter(Program):
    """Debian's node_exporter."""

    def __init__(self, folder: Path, flags: Sequence[str]) -> None:
        self.http_port = free_port()
        super().__init__(
            "node_exporter", folder, [executable(), f"--web.listen-address=127.0.0.1:{self.http_port}", *flags], {}
        )
        self.await_(lambda: accepts(self.http_port), "its port is open")


def executable() -> str:
    """The path of node_exporter. Raises Unmeasurable."""
    found = shutil.which("prometheus-node-exporter")
    if found is None:
        raise Unmeasurable(
            "there is no prometheus-node-exporter; apt-get install --no-install-recommends prometheus-node-exporter"
        )
    return found


def connection_string(endpoint: str, more: str = "") -> str:
    """For an endpoint that takes any key."""
    return (
        f"Endpoint=sb://{endpoint}/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;{more}"
    )


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Whether somebody listens on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _ready(program: Program, file: Path) -> dict[str, Any]:
    ready: dict[str, Any] = json.loads(
        program.await_(lambda: file.read_text() if file.exists() else "", "it was ready")
    )
    return ready
