"""What node_exporter is told so that it does the agent's work, and how it is scraped. For the agent's benchmark."""

from __future__ import annotations

import re

from agent.collectors.disk import DEFAULT_EXCLUDE as DISK_EXCLUDE
from agent.collectors.filesystem import DEFAULT_MOUNT_EXCLUDE
from agent.collectors.network import DEFAULT_EXCLUDE as NETWORK_EXCLUDE

COLLECTORS = (
    *("cpu", "loadavg", "stat", "meminfo", "vmstat", "diskstats", "filesystem", "netdev", "pressure"),
    *("filefd", "sockstat", "hwmon", "thermal_zone", "time", "uname"),
)
"""What reads what the agent's built-in collectors read, no more: cpu is cpu, loadavg and stat; memory is meminfo and
vmstat; system is stat, time and uname."""

NO_DISK_TYPES = (
    r"^(autofs|bdev|binfmt_misc|bpf|cgroup2?|configfs|cpuset|debugfs|devpts|devtmpfs|efivarfs|fusectl|hugetlbfs|mqueue|"
    r"nsfs|overlay|pipefs|proc|procfs|pstore|ramfs|rpc_pipefs|securityfs|selinuxfs|sockfs|sysfs|tmpfs|tracefs)$"
)
"""The agent looks at file systems on disks only, so node_exporter is spared the others: its own default, and tmpfs."""


def flags(*, exclude_nothing: bool) -> list[str]:
    """The agent's own patterns, or none.

    Without metrics about node_exporter itself, which it would be slower with.
    """
    mounts, disks, interfaces = DEFAULT_MOUNT_EXCLUDE, DISK_EXCLUDE, NETWORK_EXCLUDE
    if exclude_nothing:
        mounts = disks = interfaces = "^$"
    return [
        "--web.disable-exporter-metrics",
        "--collector.disable-defaults",
        *(f"--collector.{name}" for name in COLLECTORS),
        f"--collector.filesystem.mount-points-exclude={mounts}",
        f"--collector.filesystem.fs-types-exclude={NO_DISK_TYPES}",
        f"--collector.diskstats.device-exclude={disks}",
        f"--collector.netdev.device-exclude={interfaces}",
    ]


def devices_in(exposition: str) -> dict[str, int]:
    """How many devices of each of our classes a scrape of node_exporter shows; bind mounts count once, as ours do."""
    series = {
        "disk": "node_disk_reads_completed_total",
        "filesystem": "node_filesystem_size_bytes",
        "network": "node_network_receive_bytes_total",
    }
    return {
        name: len(set(re.findall(rf'^{metric}{{.*?device="([^"]*)"', exposition, re.MULTILINE)))
        for name, metric in series.items()
    }
