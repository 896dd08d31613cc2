"""Simulated nodes that do everything a node may do, and say which of what they send must be refused.

For the oracle. A node is a function of (seed, number): it restarts its agent, its clock jumps back and forth, devices
come and go, readings fail, its agent is newer than the receiver, it repeats envelopes long acknowledged, and now and
then something broken goes out under its name.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench.oracle.reckoning import MINUTE_MS
from local.fleet.publishers import Outgoing
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS, Kind, Metric, round_for_wire

CLUSTERS = ("oracle-a", "oracle-b")
SAMPLE_MS = 10_000
_REMEMBERED = 40
"""Repeated envelopes lie at most so far back: a receiver remembers the last 64 of an instance."""
_DEVICE_NAMES = {
    "disk": ("sda", "sdb", "nvme0n1"),
    "filesystem": ("/", "/mnt/data", "/var/lib/kubelet/pods/ä b"),
    "network": ("eth0", "azv1", "azv2"),
    "pod": ("shop/cart-5d8f", "shop/cart-7b21", 'shop/"quoted"', "kube-system/coredns-ä", "data/job-1", "data/job-2"),
    "custom": ("queue.length", "queue.age"),
}


@dataclass(frozen=True)
class Sent:
    """Something a node hands to its publisher."""

    outgoing: Outgoing
    reason: str | None = None
    """Why it must be refused; None when it is good."""
    repeated: bool = False


class SimulatedNode:
    """One node; `cluster` and `name` may be those of no other, the name alone may."""

    def __init__(self, seed: int, number: int, start_ms: int) -> None:
        self.cluster = CLUSTERS[number % len(CLUSTERS)]
        self.name = f"node-{number // len(CLUSTERS):03d}"
        self._random = random.Random(f"{seed}/{number}")
        self._time = start_ms + self._random.randrange(SAMPLE_MS)
        self.newest_ms = 0
        """Time of the newest good sample."""
        self._keys = [metric.key for metric in NODE_METRICS]
        if self._random.random() < 0.3:
            self._random.shuffle(self._keys)
        self._is_newer = self._random.random() < 0.2
        self._memory: deque[Outgoing] = deque(maxlen=_REMEMBERED)
        self._restart()
        self._change_devices()

    def publish(self) -> Iterator[Sent]:
        """What goes out in one publish interval, in order."""
        chance = self._random.random
        self._live_on()
        if chance() < 0.02:
            yield self._poison()
        good = self._envelope()
        self._memory.append(good)
        yield Sent(good)
        if chance() < 0.03:
            yield Sent(self._random.choice(self._memory), repeated=True)

    def _live_on(self) -> None:
        event = self._random.random()
        if event < 0.02:
            self._restart()
        elif event < 0.04:
            self._time -= self._random.randrange(5_000, 100_000)  # corrected by NTP: late samples, most in time
        elif event < 0.045:
            self._time -= self._random.randrange(200_000, 400_000)  # too late, until time has caught up
        elif event < 0.06:
            self._time += self._random.randrange(60_000, 300_000)  # the node was suspended
        elif event < 0.10:
            self._change_devices()

    def _restart(self) -> None:
        self._instance = f"{self._random.getrandbits(48):012x}"
        self._seq = 0

    def _change_devices(self) -> None:
        self._devices = {
            device_class.key: self._random.sample(names, self._random.randint(1 - device_class.optional, len(names)))
            for device_class, names in ((found, _DEVICE_NAMES[found.key]) for found in DEVICE_CLASSES)
        }

    def _envelope(self) -> Outgoing:
        self._seq += 1
        count = 3 if self._random.random() < 0.9 else self._random.randint(1, 12)
        document = self._document(count)
        self.newest_ms = max(self.newest_ms, document["time"][-1])
        return self._outgoing(self._pack(document))

    def _document(self, count: int) -> dict[str, Any]:
        times = [self._time + index * SAMPLE_MS for index in range(count)]
        self._time = times[-1] + SAMPLE_MS
        by_key = {metric.key: metric for metric in NODE_METRICS}
        values = {key: self._series(by_key[key], count) for key in self._keys}
        if self._random.random() < 0.1:
            del values[self._random.choice(self._keys)]
        columns: dict[str, list[Any]] = dict(values)
        devices = {name: names for name, names in self._devices.items() if names}
        for device_class in DEVICE_CLASSES:
            if device_class.key in devices:
                for metric in device_class.metrics:
                    key = f"{device_class.key}.{metric.key}"
                    columns[key] = [self._series(metric, count) for _ in devices[device_class.key]]
        if self._is_newer:
            columns |= {"future": [0.5] * count, "gpu.busy": [[0.1] * count]}
            devices["gpu"] = ["gpu0"]
        document: dict[str, Any] = {
            "version": 1,
            "cluster": self.cluster,
            "node": self.name,
            "instance": self._instance,
            "seq": self._seq,
            "devices": devices,
            "time": times,
            "keys": list(columns),
            "values": list(columns.values()),
        }
        if self._seq % 20 == 1:
            document["resource"] = {"pool": f"pool-{self.name}", "cpus": 8}
        return document

    def _series(self, metric: Metric, count: int) -> list[float | None]:
        """Readings; a rate has none at the first sample of a process, and any reading may fail."""
        typical = {"1": 1.0, "By": 2e10, "By/s": 1e8, "Cel": 90.0}.get(metric.unit, 5e4)
        found: list[float | None] = [
            round_for_wire(metric, self._random.random() ** 3 * typical) if self._random.random() > 0.003 else None
            for _ in range(count)
        ]
        if self._seq == 1 and metric.kind is Kind.RATE:
            found[0] = None
        return found

    def _pack(self, document: dict[str, Any]) -> bytes:
        plain = json.dumps(document, separators=(",", ":")).encode()
        return plain if self._random.random() < 0.1 else gzip.compress(plain, 6, mtime=0)

    def _outgoing(self, body: bytes) -> Outgoing:
        return Outgoing(self.cluster, self.name, self._instance, self._seq, body)

    def _poison(self) -> Sent:
        """Something broken, under the number that the next good envelope will have."""
        before = self._time
        self._seq += 1
        document = self._document(3)
        reason, breaking = self._random.choice(_POISONS)
        body = breaking(document)
        sent = Sent(self._outgoing(body), reason)
        self._time = before
        self._seq -= 1
        return sent


def closing_envelope(cluster: str, node: str, time_ms: int) -> Outgoing:
    """One sample so far ahead of everything a node has said that it closes all its windows."""
    instance, seq = "c105ed000000", 1
    document = {
        "version": 1,
        "cluster": cluster,
        "node": node,
        "instance": instance,
        "seq": seq,
        "devices": {},
        "time": [time_ms],
        "keys": ["cpu"],
        "values": [[0.25]],
    }
    return Outgoing(cluster, node, instance, seq, json.dumps(document).encode())


CLOSING_AHEAD_MS = 4 * MINUTE_MS


def _plain(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def _with(**changes: object) -> Callable[[dict[str, Any]], bytes]:
    return lambda document: _plain({**document, **changes})


def _first_value(value: object) -> Callable[[dict[str, Any]], bytes]:
    def breaking(document: dict[str, Any]) -> bytes:
        document["values"][0][0] = value
        return _plain(document)

    return breaking


def _ragged(document: dict[str, Any]) -> bytes:
    document["values"][0].append(0.5)
    return _plain(document)


def _time_moved(milliseconds: int) -> Callable[[dict[str, Any]], bytes]:
    return lambda document: _plain({**document, "time": [time + milliseconds for time in document["time"]]})


_DAY_MS = 86_400_000
_POISONS: tuple[tuple[str, Callable[[dict[str, Any]], bytes]], ...] = (
    ("not_json", lambda document: _plain(document)[:-20]),
    ("not_json", lambda document: b"\xff\xfe" + _plain(document)),
    ("bad_compression", lambda document: gzip.compress(_plain(document), mtime=0)[:-9]),
    ("unsupported_version", _with(version=99)),
    ("invalid_field", _with(node="../../etc/passwd")),
    ("invalid_field", _with(seq=-1)),
    ("empty", _with(time=[], keys=[], values=[], devices={})),
    ("duplicate_key", lambda document: b'{"seq":1,' + _plain(document)[1:]),
    ("ragged", _ragged),
    ("not_a_number", _first_value("0.5")),
    ("out_of_range", _first_value(-1)),
    (
        "time_not_increasing",
        lambda document: _plain({**document, "time": [*document["time"][:-1], document["time"][0]]}),
    ),
    ("time_too_old", _time_moved(-30 * _DAY_MS)),
    ("time_in_future", _time_moved(30 * _DAY_MS)),
)
