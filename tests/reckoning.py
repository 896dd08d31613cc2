"""What must come out of a partition's log, reckoned in the plainest way: dicts and lists, one envelope at a time.

Shares no code with functions.core; tests compare the two.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, field

import orjson

from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS
from telemetry.envelope import IDENTITIES, Envelope

MINUTE = 60_000
OPEN_MINUTES = 3


@dataclass
class Window:
    """All values that were said of one node and minute."""

    samples: int = 0
    node: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    devices: dict[tuple[str, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    """(class, device, metric) -> values."""


@dataclass
class Reckoning:
    """What becomes of each event of a log, and the windows that come of the stored ones."""

    stored: set[int] = field(default_factory=set)
    duplicates: set[int] = field(default_factory=set)
    dead: set[int] = field(default_factory=set)
    windows: dict[tuple[str, str, int], Window] = field(default_factory=lambda: defaultdict(Window))


def reckon(log: list[Envelope | None]) -> Reckoning:
    """Goes through a log once, in order; None is an event that is no envelope."""
    result = Reckoning()
    seen: set[tuple[str, str, str, int]] = set()
    newest: dict[tuple[str, str], int] = {}
    for index, said in enumerate(log):
        if said is None:
            result.dead.add(index)
            continue
        node = (said.cluster, said.node)
        name = (*node, said.instance, said.seq)
        if name in seen:
            result.duplicates.add(index)
        elif said.time[0] // MINUTE <= newest.get(node, -OPEN_MINUTES - 1) - OPEN_MINUTES:
            result.dead.add(index)
        else:
            seen.add(name)
            newest[node] = max(newest.get(node, -1), said.time[-1] // MINUTE)
            result.stored.add(index)
            _add(result.windows, said)
    return result


def _add(windows: dict[tuple[str, str, int], Window], said: Envelope) -> None:
    for position, time in enumerate(said.time):
        window = windows[said.cluster, said.node, time // MINUTE]
        window.samples += 1
        for key, column in said.metrics.items():
            if column[position] is not None:
                window.node[key].append(column[position])
        for name, block in said.devices.items():
            for device_number, device in enumerate(block[IDENTITIES[name]]):
                for key, columns in block.items():
                    if key != IDENTITIES[name] and columns[device_number][position] is not None:
                        window.devices[name, device, key].append(columns[device_number][position])


def mean(values):
    return math.fsum(values) / len(values) if values else None


def difference(row, window):
    """The first column in which a row of NodeMetrics_CL differs from the window it tells of, or None."""
    expected = {"Revision": window.samples}
    precision = {"Revision": 0}

    def expect(column, metric, number):
        digits = metric.digits if metric.digits is not None else 0 if metric.unit.startswith("By") else 2
        expected[column], precision[column] = number, 0.5000001 * 10**-digits

    for metric in NODE_METRICS:
        values = window.node.get(metric.key, [])
        expect(f"{metric.column}Avg", metric, mean(values))
        expect(f"{metric.column}Max", metric, max(values, default=None))
        if metric.keeps_minimum:
            expect(f"{metric.column}Min", metric, min(values, default=None))
    for device_class in DEVICE_CLASSES:
        said = {device for name, device, _ in window.devices if name == device_class.key}
        if device_class.optional and (device_class.column in row) != bool(said):
            return f"{device_class.column} is {row.get(device_class.column)}, though {len(said)} have values"
        told = {device["Device"]: device for device in row.get(device_class.column, [])}
        if len(told) != len(row.get(device_class.column, [])):
            return f"{device_class.column} names a device twice"
        if set(told) != said:
            return f"{device_class.column} tells of {sorted(told)}, not of {sorted(said)}"
        for device in said:
            for metric in device_class.metrics:
                column = f"{device_class.column}.{device}.{metric.column}"
                expect(column, metric, mean(window.devices.get((device_class.key, device, metric.key), [])))
                row = {**row, column: told.get(device, {}).get(device_class.field(metric))}
        for metric in device_class.metrics:
            per_device = [window.devices.get((device_class.key, device, metric.key), []) for device in sorted(said)]
            if metric.total == "sum":
                means = [mean(values) for values in per_device if values]
                expect(f"{metric.column}Avg", metric, math.fsum(means) if means else None)
            elif metric.total == "max":
                expect(f"{metric.column}Max", metric, max((max(v) for v in per_device if v), default=None))
    for column, number in expected.items():
        found = row[column]
        if number is None or found is None:
            if number is not found:
                return f"{column} is {found}, not {number}"
        elif abs(found - number) > precision[column] + 1e-9 * abs(number):
            return f"{column} is {found}, not {number}"
    return None


def deduplicated(rows):
    """(cluster, node, window start) -> the row of the highest revision, as the saved KQL function reads them."""
    best = {}
    for row in rows:
        key = row["Cluster"], row["Node"], row["WindowStart"]
        if key not in best or row["Revision"] > best[key]["Revision"]:
            best[key] = row
    return best


def rows_of(sink, table):
    return [orjson.loads(row) for row in sink.tables[table]]
