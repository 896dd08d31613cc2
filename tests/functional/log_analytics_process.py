"""Starts the Log Analytics stand-in as the supervisor does, on a small schema of its own. Tests only."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from azure.core.credentials import AccessToken

from local.certificates import Certificates, ensure_certificates

TOKEN = "local-token"
WORKSPACE = "11111111-2222-3333-4444-555555555555"
RULE = "dcr-0123"
STREAM = "Custom-Things_CL"

COLUMNS = {
    "TimeGenerated": "datetime",
    "Node": "string",
    "Revision": "long",
    "Ratio": "real",
    "Ok": "boolean",
    "Bag": "dynamic",
}


@dataclass
class Service:
    """A running stand-in."""

    process: subprocess.Popen[bytes]
    url: str
    certificates: Certificates

    @property
    def ingestion_url(self) -> str:
        return f"{self.url}/dataCollectionRules/{RULE}/streams/{STREAM}?api-version=2023-01-01"


class StaticToken:
    """A synchronous credential of azure.core that always has the token."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token = token

    def get_token(self, *scopes: str, **_: object) -> AccessToken:
        return AccessToken(self.token, int(time.time()) + 3600)


@contextmanager
def running_service(folder: Path, *flags: str) -> Iterator[Service]:
    """Start the service on a folder, wait until it is ready, and stop it by SIGTERM if it still runs."""
    certificates = ensure_certificates(folder / "certificates")
    _write_schema(folder)
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    command = [
        sys.executable, "-m", "local.log_analytics",
        "--data", folder / "data",
        "--tables", folder / "tables.json",
        "--dcr", folder / "dcr.json",
        "--functions", folder / "functions",
        "--certificate", certificates.certificate,
        "--private-key", certificates.private_key,
        "--token", TOKEN,
        "--workspace-id", WORKSPACE,
        "--ready-file", ready,
        "--threads", "1",
        *flags,
    ]  # fmt: skip
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline, "the service did not get ready within 60 s"
            time.sleep(0.02)
        announced = json.loads(ready.read_text())
        assert announced["pid"] == process.pid
        yield Service(process, f"https://127.0.0.1:{announced['port']}", certificates)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stderr.close()


def _write_schema(folder: Path) -> None:
    flow = {"streams": [STREAM], "destinations": ["w"], "transformKql": "source", "outputStream": STREAM}
    columns = [{"name": name, "type": kind} for name, kind in COLUMNS.items()]
    rule = {"immutableId": RULE, "streamDeclarations": {STREAM: {"columns": columns}}, "dataFlows": [flow]}
    (folder / "tables.json").write_text(json.dumps({"tables": {"Things_CL": COLUMNS}}))
    (folder / "dcr.json").write_text(json.dumps({"properties": rule}))
    (folder / "functions").mkdir(exist_ok=True)
    (folder / "functions" / "Things.kql").write_text("Things_CL | summarize arg_max(Revision, *) by Node")
