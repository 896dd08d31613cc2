"""Which loopback ports the programs of a stack listen on. For the supervisor only.

Free ports are taken from below the range the kernel gives to clients: there, a client that tries a port whose server
is down can be connected to itself, and keep the server from coming back.
"""

import random
import socket
from collections.abc import Collection, Mapping
from typing import Literal

from local.supervisor.data_directory import StackError

type PortChoice = Literal["preferred", "fixed", "free"]

WELL_KNOWN: Mapping[str, int] = {
    "event-hubs": 5672,
    "event-hubs-faults": 5673,
    "blob": 10000,
    "queue": 10001,
    "table": 10002,
    "log-analytics": 7443,
    "functions": 7071,
    "agent": 9464,
}
"""The ports people expect: those of Azurite, Core Tools, AMQP, and OpenTelemetry's Prometheus exporters."""

_FREE = range(20_000, 32_000)
_ATTEMPTS = 200


def choose_ports(choice: PortChoice, remembered: Mapping[str, int]) -> dict[str, int]:
    """A port for every name of WELL_KNOWN.

    `fixed` takes the well-known ones or raises StackError; `preferred` takes them where they are free; `free` avoids
    them. Both of these prefer the remembered ones.
    """
    chosen: dict[str, int] = {}
    for name, well_known in WELL_KNOWN.items():
        wanted = [well_known] if choice == "fixed" else [remembered.get(name)]
        if choice == "preferred":
            wanted.append(well_known)
        found = next((port for port in wanted if port and port not in chosen.values() and is_free(port)), None)
        if found is None and choice == "fixed":
            raise StackError(f"port {well_known} ({name}) is taken; end what listens there, or leave --fixed-ports out")
        chosen[name] = found or free_port(chosen.values())
    return chosen


def free_port(taken: Collection[int] = ()) -> int:
    """A loopback port nobody listens on, none of `taken`."""
    for _ in range(_ATTEMPTS):
        port = random.choice(_FREE)
        if port not in taken and is_free(port):
            return port
    raise StackError(f"found no free port from {_FREE.start} to {_FREE.stop - 1} in {_ATTEMPTS} attempts")


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now; one left behind by a server that ended counts as free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
