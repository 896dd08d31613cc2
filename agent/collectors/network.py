"""Traffic of network interfaces: /proc/1/net/dev."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.collectors import procfs
from agent.collectors.collector import Reading
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

    def __init__(self, proc: str = "/proc", exclude: str = DEFAULT_EXCLUDE) -> None:
        self._proc = proc
        self._exclude = re.compile(exclude)

    def collect(self) -> Iterator[Reading]:
        """Yields the counters of every interface whose name `exclude` does not match."""
        for line in self._read().splitlines()[2:]:
            interface, _, rest = line.rpartition(":")
            interface = interface.strip()
            if self._exclude.search(interface):
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
