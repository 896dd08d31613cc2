"""Pods and metrics of plug-ins: devices that most nodes have none of, and that come and go all the time."""

import random

import orjson
import pytest

from functions.adapters.memory import MemoryDeadLetters, MemoryRowSink, MemoryStateStore
from functions.core.device_columns import MAX_COLUMN_BYTES
from functions.core.ingest import Ingest
from functions.core.snapshot import snapshot
from functions.core.watch import Watch
from telemetry.catalogue import DEVICE_CLASSES
from telemetry.envelope import encode
from telemetry.errors import RejectReason
from telemetry.rules import MAX_DEVICES, MAX_NAME_BYTES
from telemetry.tables import NODE_METRICS_TABLE
from tests.builders import START, devices, envelope, event
from tests.reckoning import rows_of

MINUTE = 60_000
KEY = ("aks-test", "node-1")
TABLE_ENTITY_BYTES = 1024 * 1024


class Core:
    def __init__(self):
        self.sink, self.letters = MemoryRowSink(), MemoryDeadLetters()
        self.ingest = Ingest(MemoryStateStore(), self.sink, self.letters, Watch())
        self.seq = 0

    def say(self, minute, second=0, number=3, **changes):
        """An envelope of three samples at a moment since START."""
        self.seq += 1
        said = envelope(self.seq, number=number, start=START + minute * MINUTE + second * 1000, **changes)
        return self.ingest.run([event(encode(said), enqueued_ms=said.time[-1] + 1000)])

    def rows(self):
        return rows_of(self.sink, NODE_METRICS_TABLE)

    @property
    def node(self):
        return self.ingest.fleet.nodes[KEY]

    def state(self):
        return self.ingest.fleet.encode(self.node)


@pytest.fixture
def core():
    return Core()


def names(row, column="Pods"):
    return [device["Device"] for device in row[column]]


def test_row_tells_of_pods_and_of_metrics_of_plug_ins(core):
    core.say(0, devices=devices(3, 0.5, pod=("shop/cart", "shop/till"), custom=("queue.length",)))
    core.say(1)

    (row,) = core.rows()
    reading = {"Cpu": 0.5, "Memory": 0, "Receive": 0, "Transmit": 0, "Volume": 0.5, "Storage": 0, "Restarts": 0.5}
    assert row["Pods"] == [{"Device": "shop/cart", **reading}, {"Device": "shop/till", **reading}]
    assert row["Custom"] == [{"Device": "queue.length", "Value": 0.5}]
    assert row["Disks"] == []


def test_row_of_a_node_without_them_has_no_such_columns(core):
    core.say(0, devices=devices(3, disk=("sda",)))
    core.say(1)

    (row,) = core.rows()
    assert names(row, "Disks") == ["sda"]
    assert not {"Pods", "Custom"} & row.keys()


def test_snapshot_shows_pods_and_metrics_of_plug_ins_where_there_are_any(core):
    core.say(0, devices=devices(3, 0.25, disk=("sda",)))
    without = snapshot(core.node)["devices"]

    core.say(1, devices=devices(3, 0.25, disk=("sda",), pod=("shop/cart",), custom=("queue.length",)))
    found = snapshot(core.node)["devices"]

    assert set(without) == {"disk", "filesystem", "network"}
    assert found["pod"]["shop/cart"]["k8s.pod.cpu.usage"] == 0.25
    assert found["custom"] == {"queue.length": {"devops_monitor.custom": 0.25}}


def test_pod_that_ended_is_in_the_row_of_its_last_window_only(core):
    core.say(0, devices=devices(3, pod=("shop/cart", "shop/till")))
    core.say(1, devices=devices(3, pod=("shop/till", "shop/new")))
    assert set(core.node.devices[3]) == {"shop/cart", "shop/till", "shop/new"}
    core.say(2)
    core.say(3)

    assert [sorted(names(row)) if "Pods" in row else None for row in core.rows()] == [
        ["shop/cart", "shop/till"], ["shop/new", "shop/till"], None,
    ]  # fmt: skip


def test_pod_that_ended_is_not_in_the_snapshot(core):
    core.say(0, devices=devices(3, pod=("shop/cart", "shop/till")))
    core.say(0, 30, devices=devices(3, pod=("shop/till",)))

    assert set(snapshot(core.node)["devices"]["pod"]) == {"shop/till"}


def test_readings_a_pod_does_not_have_are_null_and_it_stays(core):
    block = {"pod": ["shop/cart", "shop/till"], "cpu": [[0.1] * 3, [0.2] * 3], "volume": [[None] * 3, [0.3] * 3]}
    core.say(0, devices={"pod": block})
    core.say(1)

    assert [(pod["Device"], pod["Cpu"], pod["Volume"]) for pod in core.rows()[0]["Pods"]] == [
        ("shop/cart", 0.1, None), ("shop/till", 0.2, 0.3),
    ]  # fmt: skip


def test_late_sample_of_a_window_that_was_told_brings_its_pod_into_the_row(core):
    core.say(0, devices=devices(3, pod=("shop/till",)))
    core.say(1, devices=devices(3, pod=("shop/till",)))
    core.say(0, 40, number=1, devices=devices(1, pod=("shop/late",)))

    assert [(row["Revision"], sorted(names(row))) for row in core.rows()] == [
        (3, ["shop/till"]), (4, ["shop/late", "shop/till"]),
    ]  # fmt: skip


def test_as_many_devices_as_an_envelope_may_have_of_every_class_are_taken(core):
    full = {found.key: tuple(f"{found.key}-{index}" for index in range(MAX_DEVICES)) for found in DEVICE_CLASSES}
    core.say(0, devices=devices(3, 0.5, **full))
    report = core.say(1, devices=devices(3, 0.5, **full))

    assert (report.stored, report.rows, report.dead_lettered) == (1, 1, 0)
    (row,) = core.rows()
    assert {len(row[found.column]) for found in DEVICE_CLASSES} == {MAX_DEVICES}


def test_more_pods_than_that_are_a_dead_letter(core):
    core.say(0, devices=devices(3, pod=tuple(f"shop/cart-{index}" for index in range(MAX_DEVICES + 1))))

    (letter,) = core.letters.letters.values()
    assert letter.error.reason is RejectReason.INVALID_FIELD
    assert "at most 256 different names" in letter.error.detail


def test_column_too_long_for_log_analytics_has_the_first_devices_and_the_others_are_whole(core):
    long = tuple(f"shop/{index:03d}-{'x' * 240}" for index in range(MAX_DEVICES))
    core.say(0, devices=devices(3, 0.1234, disk=("sda",), pod=long, custom=("queue.length",)))
    core.say(1)

    (line,) = core.sink.tables[NODE_METRICS_TABLE]
    row = orjson.loads(line)
    size = len(orjson.dumps(row["Pods"]))
    assert MAX_COLUMN_BYTES - 500 < size <= MAX_COLUMN_BYTES < 64 * 1024
    assert names(row) == list(long[: len(row["Pods"])])
    assert names(row, "Disks") == ["sda"] and names(row, "Custom") == ["queue.length"]
    assert row["CpuUtilizationAvg"] == 0.5 and row["DiskBusyMax"] == 0.1234


def test_nodes_whose_pods_change_every_minute_leave_nothing_behind(core):
    for minute in range(60):
        pods = tuple(f"shop/cart-{index}" for index in range(10 * minute, 10 * minute + 200 + minute % 7))
        core.say(minute, devices=devices(3, pod=pods))
        core.say(minute, 30, devices=devices(3, pod=pods))

    (table,) = core.ingest.fleet.tables.values()
    assert len(table.samples) <= 8
    assert len(core.node.devices[3]) <= MAX_DEVICES
    assert [len(row["Pods"]) for row in core.rows()] == [200 + minute % 7 for minute in range(59)]


def names_of_bytes(total):
    """Different names of 255 four-byte characters for every class, nearly `total` bytes together."""
    generator = random.Random(2)
    found = {found.key: [] for found in DEVICE_CLASSES}
    for index in range(total // 1020):
        name = "".join(chr(generator.randrange(0x1F600, 0x1F640)) for _ in range(255))
        found[DEVICE_CLASSES[index % len(found)].key].append(name)
    return {key: tuple(names) for key, names in found.items()}


def test_names_that_are_too_long_together_are_a_dead_letter(core):
    core.say(0, devices=devices(3, **names_of_bytes(MAX_NAME_BYTES)))
    core.say(0, 30, devices=devices(3, **names_of_bytes(MAX_NAME_BYTES + 1020)))

    (letter,) = core.letters.letters.values()
    assert letter.error.reason is RejectReason.TOO_LARGE
    assert "device names of" in letter.error.detail and str(MAX_NAME_BYTES) in letter.error.detail


def test_other_names_in_every_envelope_do_not_add_up(core):
    for seq in range(5):
        renamed = {key: tuple(f"{seq}{name[1:]}" for name in names) for key, names in names_of_bytes(100_000).items()}
        core.say(0, 10 * seq, number=1, devices=devices(1, **renamed))

    assert core.letters.letters == {}
    assert sum(len(name.encode()) for names in core.node.devices for name in names) <= MAX_NAME_BYTES


def test_largest_state_that_envelopes_can_bring_about_fits_into_an_entity(core):
    """As many devices as possible, names and numbers that do not compress."""
    generator = random.Random(1)
    all_names = {
        key: names + tuple(f"short-{index}" for index in range(MAX_DEVICES - len(names)))
        for key, names in names_of_bytes(MAX_NAME_BYTES - 12 * 5 * MAX_DEVICES).items()
    }
    for minute in range(3):
        said = devices(3, **all_names)
        for found in DEVICE_CLASSES:
            for metric in found.metrics:
                said[found.key][metric.key] = [[generator.random() for _ in range(3)] for _ in range(MAX_DEVICES)]
        core.say(minute, devices=said)

    assert core.letters.letters == {}
    assert set(map(len, core.node.devices)) == {MAX_DEVICES}
    assert 500_000 < len(core.state()) < 0.8 * TABLE_ENTITY_BYTES
