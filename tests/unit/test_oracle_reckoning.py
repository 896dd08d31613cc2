"""The oracle's reckoning, against numbers worked out by hand."""

import gzip
import json

import pytest

from bench.oracle.reckoning import EnvelopeId, Logged, Place, Reckoning, WindowKey, row_of

MINUTE = 29_833_333
START = MINUTE * 60_000


def logged(sequence, seq, times, *, cpu=None, disks=None, zipped=False, **changes):
    keys, values = ["cpu"], [cpu or [0.5] * len(times)]
    devices = {}
    if disks:
        devices["disk"] = list(disks)
        keys.append("disk.read")
        values.append(list(disks.values()))
    document = {
        "version": 1,
        "cluster": "c",
        "node": "n",
        "instance": "aaaaaaaa",
        "seq": seq,
        "devices": devices,
        "time": [START + second * 1000 for second in times],
        "keys": keys,
        "values": values,
        **changes,
    }
    raw = json.dumps(document).encode()
    return Logged(Place("0", sequence), gzip.compress(raw) if zipped else raw)


def window(reckoning, minute=0):
    return reckoning.windows[WindowKey("c", "n", MINUTE + minute)]


@pytest.mark.parametrize("zipped", [False, True])
def test_samples_are_counted_in_the_minute_of_their_own_time(zipped):
    log = [logged(0, 1, [0, 30, 59.999, 60], cpu=[0.1, 0.2, 0.6, 0.9], zipped=zipped)]

    reckoning = Reckoning({}).take_all(log)

    first, second = row_of(window(reckoning)), row_of(window(reckoning, 1))
    assert (first.revision, second.revision) == (3, 1)
    assert first.numbers["CpuUtilizationAvg"] == pytest.approx(0.3)
    assert first.numbers["CpuUtilizationMax"] == 0.6
    assert second.numbers["CpuUtilizationAvg"] == 0.9
    assert first.numbers["MemoryUtilizationAvg"] is None


def test_what_could_not_be_read_does_not_count_towards_the_mean():
    log = [logged(0, 1, [0, 10, 20], cpu=[None, 0.2, 0.4])]

    row = row_of(window(Reckoning({}).take_all(log)))

    assert row.revision == 3
    assert row.numbers["CpuUtilizationAvg"] == pytest.approx(0.3)


def test_a_total_is_the_sum_of_the_devices_means_whenever_each_was_there():
    log = [
        logged(0, 1, [0, 10], disks={"sda": [100, 300]}),
        logged(1, 2, [20, 30], disks={"sda": [200, 200], "sdb": [10, None]}),
    ]

    row = row_of(window(Reckoning({}).take_all(log)))

    assert row.numbers["DiskReadAvg"] == 200 + 10
    assert row.devices["Disks"] == {"sda": {"Read": 200}, "sdb": {"Read": 10}}
    assert row.numbers["DiskBusyMax"] is None


def test_a_device_nothing_could_be_read_of_is_not_expected():
    log = [logged(0, 1, [0], disks={"sda": [None]})]

    row = row_of(window(Reckoning({}).take_all(log)))

    assert row.devices["Disks"] == {}
    assert row.numbers["DiskReadAvg"] is None


def test_an_envelope_that_comes_again_is_a_duplicate_even_with_other_bytes():
    log = [logged(0, 1, [0]), logged(1, 1, [0], zipped=True), logged(2, 1, [0], instance="bbbbbbbb")]

    reckoning = Reckoning({}).take_all(log)

    assert reckoning.duplicates == 1
    assert reckoning.stored == {EnvelopeId("c", "n", "aaaaaaaa", 1), EnvelopeId("c", "n", "bbbbbbbb", 1)}
    assert window(reckoning).samples == 2


def test_an_envelope_before_the_two_minutes_that_stay_open_is_late_every_time_it_comes():
    log = [logged(0, 1, [180]), logged(1, 2, [60]), logged(2, 3, [59]), logged(3, 3, [59])]

    reckoning = Reckoning({}).take_all(log)

    assert reckoning.dead_letters == {Place("0", 2): "late", Place("0", 3): "late"}
    assert reckoning.duplicates == 0
    assert set(reckoning.closed()) == {WindowKey("c", "n", MINUTE + 1)}


def test_poison_is_dead_lettered_for_the_reason_it_was_made_for_and_does_not_use_up_its_number():
    poison = Logged(Place("0", 0), b"{")
    log = [poison, logged(1, 1, [0])]

    reckoning = Reckoning({b"{": "not_json"}).take_all(log)

    assert reckoning.dead_letters == {Place("0", 0): "not_json"}
    assert len(reckoning.stored) == 1


def test_nodes_of_the_same_name_in_two_clusters_are_two():
    log = [logged(0, 1, [0]), logged(1, 1, [0], cluster="d")]

    reckoning = Reckoning({}).take_all(log)

    assert len(reckoning.windows) == 2
    assert reckoning.duplicates == 0
