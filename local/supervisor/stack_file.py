"""What a running stack tells about itself: `stack.json` in its data directory, keys included.

`stack` writes it, the command line reads it.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from local.supervisor.child import Child
from local.supervisor.data_directory import DataDirectory, StackError, write_whole
from local.supervisor.endpoints import Endpoints
from local.supervisor.instance_lock import InstanceLock
from local.supervisor.programs import PORTS


class StackFile:
    """Written by the supervisor at every change, removed when the stack stops."""

    def __init__(self, data: DataDirectory, endpoints: Endpoints, started: datetime) -> None:
        self._data = data
        self._endpoints = endpoints
        self._started = started

    def write(self, children: Mapping[str, Child]) -> None:
        """Tell how things are now."""
        endpoints = self._endpoints
        write_whole(
            self._data.stack_file,
            {
                "supervisor_pid": os.getpid(),
                "started": self._started.isoformat(timespec="milliseconds"),
                "urls": {
                    "nodes": f"{endpoints.functions_url}/api/nodes",
                    "health": f"{endpoints.functions_url}/api/health",
                    "openapi": f"{endpoints.functions_url}/api/openapi.json",
                    "log_analytics": endpoints.log_analytics_url,
                    "metrics": endpoints.agent_url and f"{endpoints.agent_url}/metrics",
                    "faults": dict(endpoints.faults_urls),
                },
                "processes": {
                    name: {
                        "state": child.state.value,
                        "pid": child.pid,
                        "restarts": child.restarts,
                        "ports": {port: endpoints.ports[port] for port in PORTS[name] if port in endpoints.served},
                        "log": str(child.program.log),
                    }
                    for name, child in children.items()
                },
                "environment": endpoints.for_clients(),
            },
        )

    def remove(self) -> None:
        """Tell that nothing runs any more."""
        self._data.stack_file.unlink(missing_ok=True)


@dataclass(frozen=True)
class ProcessFacts:
    """One program of a running stack, as seen from another process."""

    name: str
    state: str
    pid: int | None
    restarts: int
    ports: Mapping[str, int]
    log: Path


@dataclass(frozen=True)
class RunningStack:
    """A running stack as seen from another process."""

    supervisor_pid: int
    started: datetime
    urls: Mapping[str, Any]
    processes: Mapping[str, ProcessFacts]
    environment: Mapping[str, str]


def find_running(data: DataDirectory) -> RunningStack:
    """The stack that runs on a data directory; StackError, with what to do, where none does."""
    none = StackError(f"no local stack runs on {data.root}; start one with `make run` or `python -m local up`")
    if InstanceLock(data.root).holder() is None:
        raise none
    try:
        document = json.loads(data.stack_file.read_text())
    except FileNotFoundError:
        raise StackError(f"the local stack on {data.root} is just starting or stopping; try again") from None
    return RunningStack(
        document["supervisor_pid"],
        datetime.fromisoformat(document["started"]),
        document["urls"],
        {
            name: ProcessFacts(name, p["state"], p["pid"], p["restarts"], p["ports"], Path(p["log"]))
            for name, p in document["processes"].items()
        },
        document["environment"],
    )
