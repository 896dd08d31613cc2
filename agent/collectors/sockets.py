"""Sockets of the node's own network namespace: /proc/1/net/sockstat and sockstat6."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.collector import Host, Reading
from agent.host.network_namespace import NetworkNamespace

_SOCKETS = re.compile(rb"^sockets: used (\d+)$", re.MULTILINE)
_TCP = re.compile(rb"^TCP: inuse (\d+) .*\btw (\d+) ", re.MULTILINE)
_TCP6 = re.compile(rb"^TCP6: inuse (\d+)$", re.MULTILINE)


class SocketsCollector:
    """Reads how many sockets there are, and how many of them are TCP's."""

    name = "sockets"
    device_class = None

    def __init__(self, namespace: NetworkNamespace) -> None:
        self._namespace = namespace
        self._ipv6 = True

    def collect(self) -> Iterator[Reading]:
        """Yields the counts; TCP's are those of IPv4 and IPv6 together, as servers serve both with sockets of IPv6."""
        content = self._namespace.read("sockstat")
        sockets, tcp = _SOCKETS.search(content), _TCP.search(content)
        if sockets is None or tcp is None:
            raise ValueError(f"sockstat must have lines 'sockets: used' and 'TCP: inuse ... tw', got {content[:60]!r}")
        yield Reading("sockets", int(sockets[1]))
        yield Reading("tcp", int(tcp[1]) + self._tcp6())
        yield Reading("tcp.time_wait", int(tcp[2]))

    def _tcp6(self) -> int:
        if not self._ipv6:
            return 0
        try:
            found = _TCP6.search(self._namespace.read("sockstat6"))
        except FileNotFoundError:  # IPv6 was switched off at boot; it stays so
            self._ipv6 = False
            return 0
        return int(found[1]) if found else 0


def make(host: Host) -> SocketsCollector:
    """Makes the collector of this node's sockets."""
    return SocketsCollector(NetworkNamespace(host.procfs, in_container=host.in_container))
