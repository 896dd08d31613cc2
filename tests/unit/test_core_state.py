"""A node's state survives as bytes exactly; bytes that are no state are noticed, noted and begun anew."""

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import igzip

from functions.adapters.memory import MemoryDeadLetters, MemoryRowSink, MemoryStateStore
from functions.core.fleet import Fleet
from functions.core.ingest import Ingest
from functions.core.node import MAGIC
from functions.core.policy.deviations import CALM, Course
from functions.core.policy.incidents import Episode, Finding, Kind, begin, end
from functions.core.ports import StoredState
from functions.core.watch import Watch
from telemetry.catalogue import NODE_METRICS
from telemetry.envelope import encode
from tests.builders import START, devices, envelope, event

KEY = ("aks-test", "node-1")


def lived():
    """A fleet whose node has a history: windows, devices, two instances, a resource, a clock, incidents."""
    ingest = Ingest(MemoryStateStore(), MemoryRowSink(), MemoryDeadLetters(), Watch())
    for seq in range(1, 8):
        said = envelope(
            seq,
            start=START + seq * 40_000,
            value=None if seq == 3 else seq / 10,
            instance="0123456789ab" if seq % 3 else "ba9876543210",
            devices=devices(3, seq / 10, disk=("sda", f"sd{seq}"), network=("eth0",)),
            resource={"pool": "pool1", "cpus": 8, "boot_time": 1.5},
        )
        ingest.run([event(encode(said), enqueued_ms=START + 400_000)])
    node = ingest.fleet.nodes[KEY]
    found = Finding("DiskBusy", node.newest - 3, 0.9, 0.0, 0.5, 1.75)
    begin(node.watched, "an id", Kind.UNUSUAL, node.newest, [found], suppressed=True)
    node.watched.episodes = (Episode(node.newest - 900, 12, ("CpuSteal", "DiskBusy")),)
    course = Course(CALM.strong.copy(), CALM.quiet.copy())
    course.strong[2], course.quiet[2] = 0b1101, 3
    node.watched.course = course
    node.silent_since = node.newest - 5
    return ingest.fleet


BLOB = lived().encode(lived().nodes[KEY])


def contents(blob):
    """What the bytes say; gzip adds the time of day."""
    return igzip.decompress(blob[len(MAGIC) :])


def admitted(blob):
    fleet = Fleet()
    fleet.admit({KEY: StoredState(blob, "v1")})
    return fleet, fleet.nodes[KEY]


def test_state_comes_back_from_its_bytes_exactly():
    fleet = lived()
    node = fleet.nodes[KEY]

    other, back = admitted(fleet.encode(node))

    assert other.unreadable == []
    for name in (
        *("devices", "shape", "newest", "last_ms", "received_ms", "silent", "silent_since"),
        *("score", "score_metric", "resource", "clock"),
    ):
        assert getattr(back, name) == getattr(node, name), name
    assert back.replay == node.replay
    assert list(back.replay.seen) == list(node.replay.seen)
    assert (back.watched.minute, back.watched.incident) == (node.watched.minute, node.watched.incident)
    assert back.watched.episodes == node.watched.episodes
    assert np.array_equal(back.watched.course, node.watched.course)
    assert np.array_equal(back.last, node.last, equal_nan=True)
    assert sorted(back.windows) == sorted(node.windows)
    for minute, slot in back.windows.items():
        before, after = fleet.table(node.shape), other.table(back.shape)
        assert after.dump(slot) == before.dump(node.windows[minute])
        assert after.samples[slot] == before.samples[node.windows[minute]]
        assert after.emitted[slot] == before.emitted[node.windows[minute]]
    assert contents(other.encode(back)) == contents(fleet.encode(node))


def test_state_read_back_can_be_written_to():
    fleet, node = admitted(BLOB)

    node.last += 1
    node.watched.course.strong[0] += 1
    end(node.watched)
    fleet.forget([KEY])

    assert fleet.tables == {}


def assert_begun_anew(blob):
    fleet, node = admitted(blob)
    assert len(fleet.unreadable) == 1
    assert "aks-test/node-1" in fleet.unreadable[0] or "this build reads" in fleet.unreadable[0]
    assert (node.windows, node.newest, node.version) == ({}, -1, "v1")
    assert sum(len(table.samples) - len(table._free) for table in fleet.tables.values()) == 0


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 10, 15, 22, 100, len(BLOB) // 2, len(BLOB) - 8, len(BLOB) - 1])
def test_truncated_state_is_begun_anew_and_noted(size):
    assert_begun_anew(BLOB[:size])


@given(position=st.integers(len(MAGIC) + 10, len(BLOB) - 1), bit=st.integers(0, 7))
def test_state_with_a_flipped_bit_is_begun_anew_and_noted_unless_the_bit_means_nothing(position, bit):
    flipped = bytearray(BLOB)
    flipped[position] ^= 1 << bit

    fleet, node = admitted(bytes(flipped))

    if not fleet.unreadable:
        assert contents(fleet.encode(node)) == contents(BLOB)
    else:
        assert_begun_anew(bytes(flipped))


@pytest.mark.parametrize("place", [-1, -5])
def test_state_with_a_wrong_length_or_checksum_is_begun_anew_and_noted(place):
    flipped = bytearray(BLOB)
    flipped[place] ^= 1

    assert_begun_anew(bytes(flipped))


@given(position=st.integers(0, len(MAGIC) + 9), bit=st.integers(0, 7))
def test_flipped_bit_in_the_first_bytes_is_never_an_exception(position, bit):
    """gzip's header has bytes that mean nothing, such as the time."""
    flipped = bytearray(BLOB)
    flipped[position] ^= 1 << bit

    admitted(bytes(flipped))


@pytest.mark.parametrize("blob", [b"DMS\x01" + BLOB[4:], b"", b"{}", b"\x00" * 100, MAGIC, BLOB[4:]])
def test_state_of_another_version_or_of_none_is_begun_anew_and_noted(blob):
    assert_begun_anew(blob)


@given(st.binary(max_size=300))
def test_compressed_rubbish_is_begun_anew_and_noted(rubbish):
    assert_begun_anew(MAGIC + igzip.compress(rubbish, 1))


@given(
    position=st.integers(0, 600), replacement=st.sampled_from([b"-1", b"null", b'"', b"[]", b"9" * 30, b"{", b"\xff"])
)
def test_state_whose_header_says_something_else_is_never_an_exception(position, replacement):
    data = contents(BLOB)
    changed = data[:position] + replacement + data[position + len(replacement) :]

    admitted(MAGIC + igzip.compress(changed, 1))


def test_state_with_a_count_no_array_holds_is_begun_anew_and_noted():
    data = contents(BLOB)
    header = orjson.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])
    header["windows"][0][1] = 2**64 - 1
    changed = orjson.dumps(header)
    rest = data[4 + int.from_bytes(data[:4], "little") :]

    assert_begun_anew(MAGIC + igzip.compress(len(changed).to_bytes(4, "little") + changed + rest, 1))


def rewritten(change):
    """The state as a build with another catalogue would have written it: `change` edits its lists of metrics."""
    data = contents(BLOB)
    length = int.from_bytes(data[:4], "little")
    header = orjson.loads(data[4 : 4 + length])
    change(header["metrics"])
    text = orjson.dumps(header)
    return MAGIC + igzip.compress(len(text).to_bytes(4, "little") + text + data[4 + length :], 1)


def test_numbers_follow_their_metric_when_the_catalogue_was_in_another_order():
    def swap(metrics):
        keys = metrics[""]
        first, second = keys.index("cpu"), keys.index("mem.used")
        keys[first], keys[second] = keys[second], keys[first]

    fleet, node = admitted(rewritten(swap))

    keys = [metric.key for metric in NODE_METRICS]
    _, same = admitted(BLOB)
    assert fleet.unreadable == []
    assert node.last[keys.index("cpu")] == same.last[keys.index("mem.used")]
    assert node.last[keys.index("load.1m")] == same.last[keys.index("load.1m")]
    assert node.replay.seen == same.replay.seen


def test_a_metric_that_the_state_does_not_know_begins_without_values():
    def rename(metrics):
        metrics["disk"][metrics["disk"].index("busy")] = "an_old_name"

    fleet, node = admitted(rewritten(rename))

    table = fleet.table(node.shape)
    busy = [index for index, metric in enumerate(node.shape.metrics()) if metric.key == "busy"]
    others = [index for index, metric in enumerate(node.shape.metrics()) if metric.key == "read"]
    slots = list(node.windows.values())
    assert fleet.unreadable == []
    assert slots
    assert not table.count[np.ix_(slots, busy)].any()
    assert table.count[np.ix_(slots, others)].any()


def test_a_device_class_that_is_gone_is_left_behind():
    def rename(metrics):
        metrics["an_old_class"] = metrics.pop("network")

    fleet, node = admitted(rewritten(rename))

    assert fleet.unreadable == []
    assert node.devices[2] == ()
    assert node.devices[0] == admitted(BLOB)[1].devices[0]
