"""Ingest on in-memory ports: what becomes of envelopes, windows and rows, one behaviour at a time."""

import pytest

from functions.adapters.memory import (
    MemoryDeadLetters,
    MemoryMaintenanceCalendar,
    MemoryRowSink,
    MemoryStateStore,
    Moment,
)
from functions.core import replay
from functions.core.ingest import BatchReport, Ingest
from functions.core.sweep import Sweep
from functions.core.watch import Watch
from telemetry.envelope import encode
from telemetry.errors import RejectReason, SinkUnavailable, StateConflict, StoreUnavailable
from telemetry.tables import DEAD_LETTERS_TABLE, NODE_ANOMALIES_TABLE, NODE_METRICS_TABLE, TABLES
from tests.builders import START, devices, envelope, event, metrics
from tests.reckoning import deduplicated, rows_of

MINUTE = 60_000
OTHER_INSTANCE = "ba9876543210"


class Core:
    """An ingest and its ports; `say` is an agent's publishing and the core's run in one."""

    def __init__(self):
        self.store, self.sink, self.letters = MemoryStateStore(), MemoryRowSink(), MemoryDeadLetters()
        self.ingest = self.another_ingest()

    def another_ingest(self):
        return Ingest(self.store, self.sink, self.letters, Watch())

    def say(self, *said):
        return self.ingest.run([event(one if isinstance(one, bytes) else encode(one)) for one in said])

    def rows(self, table=NODE_METRICS_TABLE):
        return rows_of(self.sink, table)

    def told(self):
        """(minute since START, revision) of every row, in order."""
        return [(self.minute(row), row["Revision"]) for row in self.rows()]

    def minute(self, row):
        return int(row["WindowStart"][14:16]) - START // MINUTE % 60

    def reasons(self):
        return [letter.error.reason for letter in self.letters.letters.values()]

    def sweep(self):
        return Sweep(self.store, self.sink, MemoryMaintenanceCalendar(), silent_after_ms=60_000).run(START + 10**9)


@pytest.fixture
def core():
    return Core()


def at(minute, seq, **changes):
    """An envelope of three samples in a minute since START; it may lie in the past of its arrival."""
    return envelope(seq, start=START + minute * MINUTE, **changes)


def test_empty_batch_is_nothing(core):
    assert core.ingest.run([]) == BatchReport(0, 0, 0, 0, 0)


def test_window_is_told_when_a_later_one_opens_and_not_before(core):
    assert core.say(at(0, 1)).rows == 0

    report = core.say(at(1, 2))

    assert (report.stored, report.rows, report.touched) == (1, 1, (("aks-test", "node-1"),))
    assert core.told() == [(0, 3)]


def test_row_has_the_columns_of_its_table(core):
    core.say(at(0, 1, devices=devices(3, disk=("sda",), pod=("shop/cart",), custom=("queue",))), at(1, 2), b"rubbish")

    for table in (NODE_METRICS_TABLE, DEAD_LETTERS_TABLE):
        assert set(core.rows(table)[0]) == {column.name for column in TABLES[table]}


def test_window_without_new_samples_is_not_told_again(core):
    core.say(at(0, 1), at(1, 2))
    core.say(envelope(3, start=START + MINUTE + 30_000))
    core.say(at(1, 2))

    assert core.told() == [(0, 3)]


def test_poison_envelope_is_dead_lettered_and_its_neighbours_are_stored(core):
    poison = encode(at(0, 2, value=7.0))

    report = core.say(at(0, 1), poison, b"\xff", b'{"version":1}', at(0, 3), at(1, 4))

    assert (report.received, report.stored, report.duplicates, report.dead_lettered) == (6, 3, 0, 3)
    assert core.reasons() == [RejectReason.OUT_OF_RANGE, RejectReason.NOT_JSON, RejectReason.INVALID_FIELD]
    assert core.told() == [(0, 6)]
    assert core.rows()[0]["CpuUtilizationAvg"] == 0.5
    row = core.rows(DEAD_LETTERS_TABLE)[0]
    letter = next(iter(core.letters.letters.values()))
    assert letter.event.raw == poison
    assert (row["Reason"], row["SizeBytes"]) == ("out_of_range", len(poison))
    assert row["BlobName"].endswith(f"/telemetry/0/{row['SequenceNumber']}")


def test_poison_of_a_known_kind_does_not_touch_its_neighbours(core):
    core.say(at(0, 1))

    core.say(at(0, 2, value=0.1), at(0, 3, value=-1), at(0, 4, value=0.9), at(1, 5))

    assert core.told() == [(0, 9)]
    assert (core.rows()[0]["CpuUtilizationAvg"], core.rows()[0]["CpuUtilizationMax"]) == (0.5, 0.9)


def test_dead_letters_alone_commit_no_state(core):
    core.say(b"rubbish")

    assert core.store.keys == []


class TestDuplicates:
    def test_envelope_that_comes_again_is_counted_once(self, core):
        core.say(at(0, 1))

        report = core.say(at(0, 1), at(0, 1))

        assert (report.stored, report.duplicates) == (0, 2)
        core.say(at(1, 2))
        assert core.told() == [(0, 3)]

    def test_envelope_given_twice_in_one_batch_is_counted_once(self, core):
        report = core.say(at(0, 1), at(0, 1))

        assert (report.stored, report.duplicates) == (1, 1)

    def test_gaps_in_the_numbers_are_stored_and_may_be_filled_later(self, core):
        assert core.say(at(0, 1), at(0, 50)).stored == 2
        assert core.say(at(0, 20), at(0, 2)).stored == 2
        assert core.say(at(0, 20), at(0, 2), at(0, 1), at(0, 50)).duplicates == 4

    def test_numbers_out_of_order_are_told_apart_within_64(self, core):
        order = [64, 1, 63, 2, *range(3, 63)]

        assert core.say(*(at(0, seq, number=1) for seq in order)).stored == 64
        assert core.say(*(at(0, seq, number=1) for seq in range(1, 65))).duplicates == 64

    def test_number_more_than_64_behind_counts_as_seen(self, core):
        core.say(at(0, 65))

        assert core.say(at(0, 1)).duplicates == 1
        assert core.say(at(0, 2)).stored == 1

    def test_restarted_agent_counts_from_one_again(self, core):
        core.say(at(0, 1), at(0, 2))

        report = core.say(at(0, 1, instance=OTHER_INSTANCE))

        assert report.stored == 1

    def test_two_instances_may_be_interleaved(self, core):
        said = [at(0, seq, instance=name) for seq in (1, 2, 3) for name in ("0" * 12, OTHER_INSTANCE)]

        assert core.say(*said).stored == 6
        assert core.say(*said).duplicates == 6

    def test_instances_heard_longest_ago_are_forgotten_beyond_32(self, core):
        names = [f"{number:012x}" for number in range(replay.MAX_INSTANCES + 1)]
        core.say(*(at(0, 1, instance=name) for name in names[:-1]))
        core.say(at(0, 2, instance=names[0]))

        core.say(at(0, 1, instance=names[-1]))

        seen = core.ingest.fleet.nodes["aks-test", "node-1"].replay.seen
        assert len(seen) == replay.MAX_INSTANCES
        assert names[1] not in seen
        assert names[0] in seen

    def test_node_that_changes_clusters_is_another_node(self, core):
        core.say(at(0, 1))

        assert core.say(at(0, 1, cluster="aks-other")).stored == 1
        assert core.store.keys == [("aks-test", "node-1"), ("aks-other", "node-1")]


class TestTime:
    def test_late_samples_reopen_a_window_and_its_row_gets_a_higher_revision(self, core):
        core.say(at(0, 1, value=0.2), at(1, 2))

        core.say(at(0, 3, value=0.8))

        assert core.told() == [(0, 3), (0, 6)]
        best = deduplicated(core.rows())
        assert [row["CpuUtilizationAvg"] for row in best.values()] == [0.5]

    def test_samples_of_the_second_minute_before_the_newest_are_taken_those_of_the_third_are_not(self, core):
        core.say(at(3, 1))

        report = core.say(at(1, 2), at(0, 3))

        assert (report.stored, report.dead_lettered) == (1, 1)
        assert core.reasons() == [RejectReason.LATE]

    def test_what_is_too_late_says_by_how_much_and_is_no_duplicate_when_it_comes_again(self, core):
        core.say(at(10, 1))

        core.say(at(0, 2))
        report = core.say(at(0, 2))

        letter = next(iter(core.letters.letters.values()))
        assert letter.error.reason is RejectReason.LATE
        assert "600 s before the node's newest minute" in letter.error.detail
        assert report.dead_lettered == 1

    def test_duplicate_that_is_too_late_is_a_duplicate(self, core):
        core.say(at(0, 1), at(10, 2))

        assert core.say(at(0, 1)).duplicates == 1

    def test_clock_step_forward_closes_what_it_passes(self, core):
        core.say(at(0, 1), at(1, 2))

        core.say(at(9, 3))

        assert core.told() == [(0, 3), (1, 3)]

    def test_clock_step_back_is_dead_lettered_until_time_has_caught_up(self, core):
        core.say(at(10, 1))

        reports = [core.say(at(minute, minute + 2)) for minute in (2, 5, 7, 8, 9)]

        assert [report.stored for report in reports] == [0, 0, 0, 1, 1]

    def test_samples_on_both_sides_of_a_minute_go_to_their_own_windows(self, core):
        core.say(envelope(1, start=START + 55_000, number=3))

        core.say(at(2, 2))

        assert core.told() == [(0, 1), (1, 2)]

    def test_late_samples_are_not_shown_as_the_newest(self, core):
        core.say(at(1, 1, value=0.9))

        core.say(at(0, 2, value=0.1))

        node = core.ingest.fleet.nodes["aks-test", "node-1"]
        assert (node.last[0], node.last_ms) == (0.9, START + MINUTE + 20_000)

    def test_old_windows_are_let_go(self, core):
        for minute in range(10):
            core.say(at(minute, minute + 1))

        assert len(core.ingest.fleet.nodes["aks-test", "node-1"].windows) == 3


class TestNumbers:
    def test_null_is_no_value(self, core):
        column = [0.2, None, 0.4]

        core.say(at(0, 1, metrics={"cpu": column, "mem": [None] * 3}), at(1, 2))

        row = core.rows()[0]
        assert (row["Revision"], row["CpuUtilizationAvg"], row["CpuUtilizationMax"]) == (3, 0.3, 0.4)
        assert (row["MemoryUtilizationAvg"], row["MemoryUtilizationMax"]) == (None, None)

    def test_metric_the_agent_does_not_send_is_null(self, core):
        core.say(at(0, 1, metrics={"mem": [0.5] * 3}), at(1, 2))

        assert (core.rows()[0]["CpuUtilizationAvg"], core.rows()[0]["MemoryUtilizationAvg"]) == (None, 0.5)

    def test_minimum_is_kept_where_low_values_are_the_interesting_ones(self, core):
        core.say(at(0, 1, metrics={"mem.free": [3000, 1000, 2000]}), at(1, 2))

        row = core.rows()[0]
        assert [row[f"MemoryFree{statistic}"] for statistic in ("Min", "Avg", "Max")] == [1000, 2000, 3000]

    def test_order_of_metrics_in_the_envelope_does_not_matter(self, core):
        backwards = dict(reversed(list({**metrics(3), "cpu": [0.1] * 3, "mem": [0.9] * 3}.items())))

        core.say(at(0, 1, metrics=backwards), at(1, 2))

        row = core.rows()[0]
        assert (row["CpuUtilizationAvg"], row["MemoryUtilizationAvg"]) == (0.1, 0.9)


class TestDevices:
    def disks(self, core):
        return [{device["Device"]: device["Read"] for device in row["Disks"]} for row in core.rows()]

    def test_device_that_comes_within_a_window_has_its_own_mean(self, core):
        core.say(at(0, 1, devices=devices(3, 0.4, disk=("sda",))))
        core.say(at(0, 2, devices=devices(3, 0.8, disk=("sda", "sdb"))))

        core.say(at(1, 3, devices=devices(3, 0.8, disk=("sda", "sdb"))))

        assert self.disks(core) == [{"sda": 1.0, "sdb": 1.0}]  # bytes a second are whole numbers
        assert core.rows()[0]["DiskBusyMax"] == 0.8

    def test_device_that_goes_stays_in_the_windows_that_have_values_of_it(self, core):
        core.say(at(0, 1, devices=devices(3, 1.0, disk=("sda", "sdb"))))
        for minute in range(1, 6):
            core.say(at(minute, minute + 1, devices=devices(3, 1.0, disk=("sda",))))

        assert self.disks(core)[0] == {"sda": 1.0, "sdb": 1.0}
        assert self.disks(core)[-1] == {"sda": 1.0}

    def test_window_that_was_told_is_not_told_again_because_devices_change(self, core):
        core.say(at(0, 1, devices=devices(3, disk=("sda",))), at(1, 2, devices=devices(3, disk=("sda",))))

        core.say(at(1, 3, devices=devices(3, disk=("sda", "sdb"))))

        assert core.told() == [(0, 3)]

    def test_devices_in_another_order_keep_their_numbers(self, core):
        first = {"disk": {"device": ["sda", "sdb"], "read": [[10] * 3, [20] * 3]}}
        second = {"disk": {"device": ["sdb", "sda"], "read": [[20] * 3, [10] * 3]}}

        core.say(at(0, 1, devices=first), at(0, 2, devices=second), at(1, 3, devices=first))

        assert self.disks(core) == [{"sda": 10, "sdb": 20}]
        assert core.rows()[0]["DiskReadAvg"] == 30

    def test_value_of_a_device_that_goes_within_its_first_batch_is_kept(self, core):
        core.say(at(0, 1, devices={"disk": {"device": ["sda"], "read": [[None] * 3]}}))

        core.say(at(0, 2, devices={"disk": {"device": ["sda"], "read": [[5] * 3]}}), at(0, 3), at(1, 4))

        assert self.disks(core)[0] == {"sda": 5}

    def test_new_names_in_every_envelope_do_not_grow_without_bound(self, core):
        for seq in range(1, 8):
            names = tuple(f"veth{seq}-{index}" for index in range(100))
            core.say(at(0, seq, number=1, devices={"network": {"interface": list(names), "rx": [[1]] * 100}}))

        node = core.ingest.fleet.nodes["aks-test", "node-1"]
        assert len(node.devices[2]) == 256
        assert node.devices[2][0] == "veth7-0"

    def test_window_tables_of_shapes_nobody_has_any_more_are_let_go(self, core):
        for seq in range(1, 30):
            core.say(at(seq, seq, devices=devices(3, disk=tuple(f"sd{index}" for index in range(seq)))))

        assert len(core.ingest.fleet.tables) == 1


class TestFailures:
    @pytest.mark.parametrize("moment", Moment)
    @pytest.mark.parametrize(
        ("port", "operation", "error"),
        [
            ("store", "load", StoreUnavailable),
            ("store", "commit", StoreUnavailable),
            ("sink", "write", SinkUnavailable),
            ("letters", "put", SinkUnavailable),
        ],
    )
    def test_batch_that_failed_is_stored_once_when_it_is_run_again(self, core, port, operation, error, moment):
        batch = [event(encode(said)) for said in (at(0, 1), at(0, 2, node="node-2"), at(1, 3))]
        batch.append(event(b"rubbish"))
        getattr(core, port).faults.fail(operation, moment)

        with pytest.raises(error):
            core.ingest.run(batch)
        report = core.ingest.run(batch)

        assert report.received == report.stored + report.duplicates + report.dead_lettered == 4
        assert len(core.letters.letters) == 1
        core.say(at(2, 4), at(2, 3, node="node-2"))
        best = deduplicated(core.rows())
        assert sorted((row["Node"], core.minute(row), row["Revision"]) for row in best.values()) == [
            ("node-1", 0, 3), ("node-1", 1, 3), ("node-2", 0, 3),
        ]  # fmt: skip

    def test_worker_with_an_old_cache_cannot_overwrite_what_another_committed(self, core):
        core.say(at(0, 1))
        stale = core.another_ingest()
        stale.run([event(encode(at(0, 1)))])
        core.say(at(0, 2))

        with pytest.raises(StateConflict):
            stale.run([event(encode(at(0, 3)))])
        report = stale.run([event(encode(at(0, 3)))])

        assert report.stored == 1
        with pytest.raises(StateConflict):
            core.say(at(1, 4))
        core.say(at(1, 4))
        assert core.told()[-1] == (0, 9)

    def test_nothing_of_a_failed_batch_stays_in_memory(self, core):
        core.store.faults.fail("commit")

        with pytest.raises(StoreUnavailable):
            core.say(at(0, 1, devices=devices(3, disk=("sda",))), at(1, 2))

        assert core.ingest.fleet.nodes == {}
        assert core.ingest.fleet.tables == {}

    def test_new_worker_goes_on_where_the_old_one_stopped(self, core):
        core.say(at(0, 1, devices=devices(3, 0.2, disk=("sda",))))
        core.ingest = core.another_ingest()

        core.say(at(0, 2, value=0.7), at(1, 3))

        assert core.told() == [(0, 6)]
        assert core.rows()[0]["CpuUtilizationAvg"] == 0.6


class TestSweep:
    def test_silent_node_has_its_last_window_told_and_is_marked(self, core):
        core.say(at(0, 1))

        assert core.sweep() == [("aks-test", "node-1")]
        assert core.told() == [(0, 3)]
        assert [row["Kind"] for row in core.rows(NODE_ANOMALIES_TABLE)] == ["silent"]
        assert core.sweep() == []

    def test_node_that_speaks_again_is_live_and_its_window_is_told_again(self, core):
        core.say(at(0, 1))
        core.sweep()

        with pytest.raises(StateConflict):
            core.say(at(0, 2))
        core.say(at(0, 2), at(1, 3))

        assert core.told() == [(0, 3), (0, 6)]
        assert not core.ingest.fleet.nodes["aks-test", "node-1"].silent
