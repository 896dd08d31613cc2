"""Traffic of network interfaces: /proc/1/net/dev."""

from __future__ import annotations

from collections.abc import Iterator

from agent.collector import Host, Reading
from agent.host import procfs
from agent.selection import Selection
from telemetry.catalogue import NETWORK

DEFAULT_EXCLUDE = (
    r"^(lo|(veth|cali|azv|lxc|cni|docker|br-|virbr|flannel|cilium|nodelocaldns|kube-|dummy|ifb|tap|vxlan|"
    r"tunl|ip6tnl|sit|gre|gretap|erspan).*|enP\d+s\d+.*)$"
)
"""Pods' ends and bridges carry what the node's own interface carries too; so does enP...: on Azure the virtual
function of accelerated networking, whose traffic eth0 includes."""

_COLUMNS = (
    ("rx", 0),
    ("rx_packets", 1),
    ("rx_errors", 2),
    ("rx_drops", 3),
    ("tx", 8),
    ("tx_packets", 9),
    ("tx_errors", 10),
    ("tx_drops", 11),
)


class NetworkCollector:
    """Reads what each interface has received and sent.

    psutil reads the network namespace of the reader, which in a pod is the pod's; process 1 of the given proc
    file system has the node's.
    """

    name = "network"
    device_class = NETWORK

    def __init__(self, proc: str, interfaces: Selection) -> None:
        self._proc = proc
        self._interfaces = interfaces

    def collect(self) -> Iterator[Reading]:
        """Yields the counters of every selected interface."""
        for line in self._read().splitlines()[2:]:
            interface, _, rest = line.rpartition(":")
            interface = interface.strip()
            if not self._interfaces.takes(interface):
                continue
            counters = rest.split()
            for key, column in _COLUMNS:
                yield Reading(key, int(counters[column]), interface)

    def _read(self) -> str:
        try:
            content = procfs.read(f"{self._proc}/1/net/dev")
        except (FileNotFoundError, PermissionError):  # no process 1 to be seen: the own namespace is the best there is
            content = procfs.read(f"{self._proc}/net/dev")
        return content.decode(errors="replace")


def make(host: Host) -> NetworkCollector:
    """Makes the collector of this node's network interfaces."""
    return NetworkCollector(host.procfs, host.interfaces)
