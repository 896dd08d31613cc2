"""Reads what the kernel says about the node's network, and not about a pod's. For collectors."""

from __future__ import annotations

from agent.host import procfs


class NetworkNamespace:
    """The network namespace of process 1, which is the node's: /proc/net alone is the reader's.

    A container has a network of its own. Taking that for the node's would be a silent lie, so it is never done there.
    """

    def __init__(self, procfs: str, *, in_container: bool) -> None:
        self._procfs = procfs
        self._in_container = in_container

    def read(self, name: str) -> bytes:
        """Reads a file of /proc/net (`dev`, `sockstat`)."""
        try:
            return procfs.read(f"{self._procfs}/1/net/{name}")
        except (FileNotFoundError, PermissionError) as error:  # process 1 is hidden (hidepid), or the file unknown
            if not self._in_container:
                return procfs.read(f"{self._procfs}/net/{name}")
            advice = "mount the node's /proc at AGENT_PROCFS, without hidepid, or leave this collector out"
            raise type(error)(error.errno, f"{error.strerror}; {advice}", error.filename) from error
