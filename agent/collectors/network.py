"""Traffic of network interfaces: /proc/1/net/dev."""

from __future__ import annotations

from collections.abc import Iterator

from agent.collector import Host, Reading
from agent.host.network_namespace import NetworkNamespace
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
_FIELDS = 16


class NetworkCollector:
    """Reads what each interface has received and sent. psutil knows the network namespace of the reader only."""

    name = "network"
    device_class = NETWORK

    def __init__(self, namespace: NetworkNamespace, interfaces: Selection) -> None:
        self._namespace = namespace
        self._interfaces = interfaces

    def collect(self) -> Iterator[Reading]:
        """Yields the counters of every selected interface."""
        lines = self._namespace.read("dev").decode(errors="replace").splitlines()
        if len(lines) < 2:
            raise ValueError(f"net/dev must begin with two lines of headings, got {lines!r:.80}")
        for line in lines[2:]:
            interface, _, rest = line.rpartition(":")
            interface = interface.strip()
            if not self._interfaces.takes(interface):
                continue
            counters = rest.split()
            if len(counters) < _FIELDS:
                raise ValueError(f"a line of net/dev must have {_FIELDS} numbers, got {line!r:.120}")
            for key, column in _COLUMNS:
                yield Reading(key, int(counters[column]), interface)


def make(host: Host) -> NetworkCollector:
    """Makes the collector of this node's network interfaces."""
    return NetworkCollector(NetworkNamespace(host.procfs, in_container=host.in_container), host.interfaces)
