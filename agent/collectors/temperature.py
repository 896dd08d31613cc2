"""The hottest sensor: /sys/class/hwmon and /sys/class/thermal. Virtual machines have none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agent.collector import Host, Reading
from agent.host import procfs

_SENSORS = (
    "class/hwmon/hwmon*/temp*_input",
    "class/hwmon/hwmon*/device/temp*_input",
    "class/thermal/thermal_zone*/temp",
)
LOOK_AGAIN_AFTER = 360
"""Samples: an hour, by default. Sensors come with kernel modules, seldom."""


class TemperatureCollector:
    """Reads the temperature of every sensor and tells the highest."""

    name = "temperature"
    device_class = None

    def __init__(self, sysfs: str = "/sys") -> None:
        self._sysfs = Path(sysfs)
        self._sensors: list[str] = []
        self._samples = 0

    def collect(self) -> Iterator[Reading]:
        """Yields degrees Celsius; nothing without a sensor that works.

        A sensor that is switched off, broken or gone (EIO, ENODATA, nonsense, below zero) is left out.
        """
        if self._samples % LOOK_AGAIN_AFTER == 0:
            # Listed seldom: the directories are long on real machines, and empty on virtual ones.
            self._sensors = [str(path) for pattern in _SENSORS for path in self._sysfs.glob(pattern)]
        self._samples += 1
        degrees = [value for value in map(_degrees, self._sensors) if value is not None]
        if degrees:
            yield Reading("temperature", max(degrees))


def make(host: Host) -> TemperatureCollector:
    """Makes the collector of this node's temperature sensors."""
    return TemperatureCollector(host.sysfs)


def _degrees(sensor: str) -> float | None:
    try:
        value = int(procfs.read(sensor)) / 1000
    except (OSError, ValueError):
        return None
    return value if value >= 0 else None
