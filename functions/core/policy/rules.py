"""The one table of what is watched: by how much a metric must rise, for how long, and how bad that is.

Pure. The numbers are meant to be signed by whoever is on call, not fitted to data: each says the smallest change that
somebody would want to be told of, and `because` says why. Only rises count: an idle CPU is no incident, and of what is
bad when it falls (free memory) the opposite is watched. What is not in the table is recorded and never alarmed on: a
load average follows the CPU, bytes follow the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from telemetry.tables import FEATURES


class Severity(IntEnum):
    """How bad an incident is; the names are those of Azure Monitor."""

    INFORMATIONAL = 1
    WARNING = 2
    ERROR = 3
    CRITICAL = 4

    @property
    def label(self) -> str:
        """As rows and answers spell it."""
        return self.name.capitalize()


class Persistence(NamedTuple):
    """In how many of how many successive windows a change must be seen; both at most 16."""

    need: int
    of: int


AT_ONCE = Persistence(1, 1)
"""It has happened, and that is all there is to see of it."""
BRIEF = Persistence(3, 5)
"""Something is broken: every minute counts, a single one may be chance."""
STEADY = Persistence(5, 7)
"""Something is different: long enough that it is no hiccup."""
LASTING = Persistence(10, 12)
"""Something is busy, which machines are for: it matters when it does not end."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What about one metric is worth telling."""

    metric: str
    """Of telemetry.tables.FEATURES."""
    least: float
    """The smallest rise above what is usual that matters, in the metric's unit."""
    persistence: Persistence
    severity: Severity
    because: str
    full: float | None = 1.0
    """The highest it can be; None: there is no such value."""
    critical: float | None = None
    """From this value on the incident is critical, whatever the change."""


_WARNING, _ERROR = Severity.WARNING, Severity.ERROR

RULES: tuple[Rule, ...] = (
    Rule("CpuUtilization", 0.2, STEADY, _WARNING, "a fifth of the node's CPUs went to something new"),
    Rule("CpuIowait", 0.1, BRIEF, _WARNING, "CPUs stand idle a tenth of the time because disks do not answer"),
    Rule("CpuSteal", 0.1, BRIEF, _WARNING, "the host gives a tenth of what is paid for to others"),
    Rule("PressureCpuSome", 0.3, STEADY, _WARNING, "work waits for a CPU three tenths of the time"),
    Rule("PressureMemorySome", 0.1, BRIEF, _ERROR, "work waits for memory, killing comes next", critical=0.4),
    Rule("PressureIoSome", 0.2, BRIEF, _ERROR, "work waits for disks a fifth of the time"),
    Rule("ProcessesBlocked", 5.0, BRIEF, _WARNING, "five processes hang in I/O and cannot even be ended", full=None),
    Rule("Processes", 500.0, STEADY, _WARNING, "something forks without end: a pod's limit is about 1,000", full=None),
    Rule("MemoryUtilization", 0.15, STEADY, _WARNING, "a seventh of the memory went to something new", critical=0.95),
    Rule("MajorFaults", 100.0, BRIEF, _WARNING, "programs are read from disk again and again: thrashing", full=None),
    Rule("OomKills", 0.005, AT_ONCE, _ERROR, "the kernel killed a process within the minute", full=None),
    Rule("FileDescriptorUtilization", 0.1, BRIEF, _WARNING, "a tenth of all open files leaked", critical=0.9),
    Rule("TcpTimeWait", 5_000.0, STEADY, _WARNING, "a fifth of the ports to one address wait: they run out", full=None),
    Rule("DiskBusy", 0.4, LASTING, _WARNING, "a disk has two fifths more to do than usual, without end"),
    Rule("FilesystemUtilization", 0.1, BRIEF, _WARNING, "a tenth of a filesystem was filled", critical=0.95),
    Rule("FilesystemInodes", 0.1, BRIEF, _WARNING, "a tenth of all inodes were taken", critical=0.95),
    Rule("NetworkReceiveErrors", 1.0, BRIEF, _ERROR, "a healthy link has no errors", full=None),
    Rule("NetworkTransmitErrors", 1.0, BRIEF, _ERROR, "a healthy link has no errors", full=None),
    Rule("NetworkReceiveDrops", 10.0, BRIEF, _WARNING, "packets come that nobody takes, every 100 ms", full=None),
    Rule("NetworkTransmitDrops", 10.0, BRIEF, _WARNING, "packets are lost before they leave, every 100 ms", full=None),
)

METRICS: tuple[str, ...] = tuple(rule.metric for rule in RULES)
"""What detectors score, in the order of all arrays of this package; positions are written down nowhere."""
COLUMNS = np.array([FEATURES.index(metric) for metric in METRICS], np.intp)
"""Where they are among FEATURES."""
LEAST = np.array([rule.least for rule in RULES])
FULL = np.array([np.inf if rule.full is None else rule.full for rule in RULES])
NEED = np.array([rule.persistence.need for rule in RULES], np.uint8)
SPAN = np.array([rule.persistence.of for rule in RULES], np.uint8)
CRITICAL = np.array([np.inf if rule.critical is None else rule.critical for rule in RULES])
