"""What a stack runs: every program with its command line, environment, and what it needs first. For `stack` only.

The names are those of `python -m local restart NAME` and `logs NAME`.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.supervisor.data_directory import DataDirectory
from local.supervisor.endpoints import EVENT_HUB, HOST, PARTITIONS, REPOSITORY, RULE, SAVED_FUNCTIONS, TABLES, Endpoints

EVENT_HUBS, AZURITE, LOG_ANALYTICS, FUNCTIONS, AGENT = "event-hubs", "azurite", "log-analytics", "functions", "agent"

PORTS: Mapping[str, tuple[str, ...]] = {
    EVENT_HUBS: ("event-hubs", "event-hubs-faults"),
    AZURITE: ("blob", "queue", "table"),
    LOG_ANALYTICS: ("log-analytics",),
    FUNCTIONS: ("functions",),
    AGENT: ("agent",),
}
"""Which ports each program listens on."""

AGENT_DEFAULTS = {
    "AGENT_CLUSTER": "local",
    "AGENT_SAMPLE_INTERVAL": "2",
    "AGENT_PUBLISH_INTERVAL": "2",
    "AGENT_PUBLISH_SPREAD": "0",
}
"""Livelier than on a cluster: a person watches. The environment may say otherwise."""

_NOT_INHERITED = ("EVENTHUB", "STATE_STORAGE", "AzureWebJobs", "LOGS_", "AZURE_", "IDENTITY_", "MSI_", "HTTP_API_KEYS")
"""Settings that could lead a local program to somebody's cloud."""


@dataclass(frozen=True)
class Program:
    """How to run one program. `arguments` and `environment` are asked at every start: ports may have changed."""

    name: str
    arguments: Callable[[], Sequence[str]]
    environment: Callable[[], Mapping[str, str]]
    ready_file: Path
    """Written by the program once it serves."""
    log: Path
    after: tuple[str, ...] = ()
    """Programs that must have been ready once before this one starts."""
    ready_seconds: float = 90.0
    stop_seconds: float = 12.0


def make_programs(data: DataDirectory, endpoints: Endpoints, *, agent: bool) -> list[Program]:
    """The programs of a stack, in the order they are started."""

    def program(
        name: str,
        arguments: Callable[[], Sequence[str]],
        environment: Callable[[], Mapping[str, str]] = lambda: {},
        after: tuple[str, ...] = (),
        ready_file: Path | None = None,
    ) -> Program:
        return Program(
            name=name,
            arguments=lambda: [sys.executable, "-m", *arguments()],
            environment=lambda: {**inherited(os.environ), **environment()},
            ready_file=ready_file or data.ready / f"{name}.json",
            log=data.log(name),
            after=after,
        )

    def serving(module: str, name: str) -> list[str]:
        return [module, "--ready-file", str(data.ready / f"{name}.json")]

    def event_hubs() -> list[str]:
        faults = ["--faults-port", str(endpoints.ports["event-hubs-faults"])] if endpoints.faults else []
        return [
            *serving("local.event_hubs", EVENT_HUBS),
            *("--host", HOST, "--port", str(endpoints.ports["event-hubs"])),
            *("--data", str(data.program(EVENT_HUBS)), "--hub", f"{EVENT_HUB}:{PARTITIONS}"),
            *(f"--key={endpoints.keys.event_hubs}", *faults),  # a key may begin with a dash
        ]

    def azurite() -> list[str]:
        ports = [part for name in PORTS[AZURITE] for part in (f"--{name}-port", str(endpoints.ports[name]))]
        return [*serving("local.azurite", AZURITE), "--data", str(data.program(AZURITE)), *ports]

    def log_analytics() -> list[str]:
        return [
            *serving("local.log_analytics", LOG_ANALYTICS),
            *("--host", HOST, "--port", str(endpoints.ports["log-analytics"])),
            *("--data", str(data.program(LOG_ANALYTICS))),
            *("--tables", str(TABLES), "--dcr", str(RULE), "--functions", str(SAVED_FUNCTIONS)),
            *("--certificate", str(endpoints.certificates.certificate)),
            *("--private-key", str(endpoints.certificates.private_key)),
            *(f"--token={endpoints.keys.log_analytics}", "--workspace-id", endpoints.keys.workspace_id),
            *(["--faults"] if endpoints.faults else []),
        ]

    def functions() -> list[str]:
        return [
            *serving("local.functions_host", FUNCTIONS),
            *("--app", str(REPOSITORY), "--host", HOST, "--port", str(endpoints.ports["functions"])),
        ]

    def agent_environment() -> dict[str, str]:
        tuned = {name: os.environ.get(name) or value for name, value in AGENT_DEFAULTS.items()}
        return {
            **tuned,
            "AGENT_SPOOL_DIR": str(data.program(AGENT) / "spool"),
            "AGENT_STATUS_FILE": str(data.program(AGENT) / "status.json"),
            "AGENT_HTTP_LISTEN": f"{HOST}:{endpoints.ports['agent']}",
            "EVENTHUB_CONNECTION_STRING": endpoints.event_hubs,
            "EVENTHUB_NAME": EVENT_HUB,
        }

    services = (EVENT_HUBS, AZURITE, LOG_ANALYTICS)
    programs = [
        program(EVENT_HUBS, event_hubs),
        program(AZURITE, azurite),
        program(LOG_ANALYTICS, log_analytics),
        program(FUNCTIONS, functions, endpoints.for_function_app, after=services),
    ]
    if agent:
        status_file = data.program(AGENT) / "status.json"
        programs.append(
            program(AGENT, lambda: ["agent"], agent_environment, after=(FUNCTIONS,), ready_file=status_file)
        )
    return programs


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what would lead a program out of this machine; logs come unbuffered."""
    kept = {name: value for name, value in environment.items() if not name.startswith(_NOT_INHERITED)}
    return kept | {"PYTHONUNBUFFERED": "1"}
