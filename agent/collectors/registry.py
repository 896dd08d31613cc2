"""Makes the collectors that the settings ask for. For the command line and the service."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from agent.collectors.collector import Collector
from agent.collectors.cpu import CpuCollector
from agent.collectors.disk import DiskCollector
from agent.collectors.filesystem import FilesystemCollector
from agent.collectors.memory import MemoryCollector
from agent.collectors.network import NetworkCollector
from agent.collectors.pressure import PressureCollector
from agent.sampler import time_limit
from agent.settings import CollectorSettings


def make_collectors(settings: CollectorSettings, sample_interval: float) -> list[Collector]:
    """Gives the enabled collectors in the order of the settings, all reading below `settings.procfs`.

    psutil has one path for the whole process, which is set here.
    """
    psutil.PROCFS_PATH = settings.procfs
    # A dead mount has to be given up well before the collector itself would be.
    mount_limit = time_limit(sample_interval) / 4
    makers: dict[str, Callable[[], Collector]] = {
        "cpu": lambda: CpuCollector(settings.procfs),
        "memory": MemoryCollector,
        "disk": lambda: DiskCollector(settings.disk_exclude),
        "filesystem": lambda: FilesystemCollector(
            settings.procfs, settings.mount_exclude, settings.fs_type_exclude, mount_limit
        ),
        "network": lambda: NetworkCollector(settings.procfs, settings.net_exclude),
        "pressure": lambda: PressureCollector(settings.procfs),
    }
    return [makers[name]() for name in settings.enabled]
