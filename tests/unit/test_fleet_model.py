"""The fleet's readings: a function of seed, node and time, believable, and inside the catalogue's bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.fleet.envelope_assembly import SIMULATED_CLASSES
from local.fleet.model import FleetModel
from local.fleet.pools import FILE_MAX, POOLS, node_name, pool_of
from local.fleet.wire_rounding import round_array
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS, round_for_wire

MONDAY = 1_759_708_800_000
DAY = 86_400_000
METRICS = [*NODE_METRICS, *(metric for found in DEVICE_CLASSES for metric in found.metrics)]
READ = [metric for metric in NODE_METRICS if metric.key not in ("uptime", "temperature")]
"""Uptime is the node's life's, and virtual machines have no thermometer."""


def readings(nodes, *, seed=1, first=MONDAY, step=10_000, count=50, fleet=10):
    times = np.tile(first + step * np.arange(count), (len(nodes), 1))
    return FleetModel(fleet, seed, start_ms=MONDAY).readings(nodes, times)


def flat(found):
    """Readings as one mapping: metric key, or class.key, to an array whose first axis is nodes, last is time."""
    devices = {f"{name}.{key}": array for name, of in found.devices.items() for key, array in of.items()}
    return found.metrics | devices


def test_the_same_seed_gives_the_same_samples_whatever_the_interval_of_asking():
    often = flat(readings([3], step=1_000, count=300))
    seldom = flat(readings([3], step=60_000, count=5))

    for key, array in seldom.items():
        np.testing.assert_array_equal(array, often[key][..., ::60], err_msg=key)


def test_a_node_is_the_same_whichever_nodes_are_simulated_beside_it():
    alone = flat(readings([14], fleet=1_000))
    among = flat(readings([1, 2, 14, 31], fleet=40))

    for key, array in alone.items():
        np.testing.assert_array_equal(array[0], among[key][2], err_msg=key)


def test_seeds_and_nodes_and_moments_differ():
    one = flat(readings([1, 2]))
    other = flat(readings([1, 2], seed=2))

    for key in ("cpu", "mem", "load.1m", "disk.write", "network.rx", "filesystem.full"):
        assert not np.array_equal(one[key], other[key]), key
        assert not np.array_equal(one[key][0], one[key][1]), key
        assert len(np.unique(one[key][0])) > 10, key


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    node=st.integers(0, 99_999),
    first=st.integers(0, 2_500_000_000_000),
    step=st.sampled_from([100, 10_000, 3_600_000]),
)
def test_every_value_is_inside_the_bounds_of_its_metric(seed, node, first, step):
    found = readings([node], seed=seed, first=first, step=step, count=40)

    for metric in READ:
        check_bounds(metric, found.metrics[metric.key])
    for device_class in SIMULATED_CLASSES:
        for metric in device_class.metrics:
            check_bounds(metric, found.devices[device_class.key][metric.key])


def check_bounds(metric, array):
    rounded = np.array(round_array(metric, array))
    assert np.isfinite(array).all(), metric.key
    assert (rounded >= 0.0).all() and (rounded <= metric.upper).all(), metric.key


def test_every_metric_of_the_catalogue_is_simulated_and_nothing_else():
    found = readings([1])

    assert set(found.metrics) == {metric.key for metric in READ}
    assert {name: set(of) for name, of in found.devices.items()} == {
        device_class.key: {metric.key for metric in device_class.metrics} for device_class in SIMULATED_CLASSES
    }


@pytest.mark.parametrize("node", [0, 1, 3])
def test_cpu_modes_sum_up_to_the_utilization_and_leave_room_for_waiting(node):
    found = readings([node], step=97_000, count=2_000).metrics

    modes = sum(found[f"cpu.{mode}"] for mode in ("user", "system", "nice", "irq", "steal"))
    np.testing.assert_allclose(modes, found["cpu"], atol=1e-9)
    assert (found["cpu"] + found["cpu.iowait"] <= 1.0 + 1e-9).all()


@pytest.mark.parametrize("node", [0, 1, 3])
def test_memory_sums_up_to_what_the_node_has_in_whole_pages(node):
    found = readings([node], step=97_000, count=2_000).metrics

    total = found["mem.used"] + found["mem.free"] + found["mem.cached"]
    assert (total == pool_of(node).memory).all()
    assert (found["mem.used"] % 4096 == 0).all()
    np.testing.assert_allclose(found["mem"], 1 - found["mem.available"] / pool_of(node).memory, atol=1e-5)


def test_busy_hours_are_busier_than_nights_and_weekends():
    users = [node for node in range(40) if pool_of(node).name == "user"]

    def mean(day, hour):
        found = readings(users, first=MONDAY + day * DAY + hour * 3_600_000, step=60_000, count=60)
        return {key: array.mean() for key, array in flat(found).items()}

    noon, night, sunday = mean(1, 10), mean(1, 3), mean(6, 10)

    for key in ("cpu", "load.15m", "network.rx", "disk.write", "cpu.switches"):
        assert noon[key] > 1.25 * night[key], key
        assert noon[key] > 1.15 * sunday[key], key


def test_load_follows_cpu_and_network_is_correlated_with_it():
    found = flat(readings([1], step=60_000, count=2_880))

    def correlation(key):
        series = found[key][0]
        return np.corrcoef(found["cpu"][0], series[0] if series.ndim == 2 else series)[0, 1]

    assert correlation("load.1m") > 0.8
    assert correlation("network.rx") > 0.6
    assert correlation("cpu.switches") > 0.9


def test_connections_and_open_files_follow_the_work_and_stay_far_below_the_limit():
    found = flat(readings([1, 2, 4], step=60_000, count=2_880))

    for key, least in (("fds", 0.3), ("sockets", 0.5), ("tcp", 0.6), ("tcp.time_wait", 0.5)):
        assert np.corrcoef(found["network.rx"][0, 0], found[key][0])[0, 1] > least, key
        assert (found[key] > 0).all(), key
    np.testing.assert_allclose(found["fds.full"], found["fds"] / FILE_MAX)
    assert (found["fds"] > 2 * found["tcp"]).all() and found["fds.full"].max() < 0.05


def test_nothing_is_killed_and_hardly_a_page_is_missing_while_nothing_is_wrong():
    found = flat(readings([1, 2, 4, 5], step=60_000, count=2_880))

    assert not found["oom"].any()
    assert np.median(found["faults.major"]) == 0.0 and 0.0 < found["faults.major"].max() < 100.0


def test_a_sample_resembles_the_one_before_and_the_longer_load_average_is_the_smoother():
    found = flat(readings([1], first=MONDAY + 10 * 3_600_000, count=1_000))

    def roughness(key):
        series = found[key][0]
        return np.diff(series).std() / series.std()

    assert roughness("cpu") < 1.0
    assert roughness("load.15m") < roughness("load.5m") < roughness("load.1m") < roughness("cpu")


def test_memory_and_filesystems_grow_slowly_and_drop_at_once():
    found = flat(readings([0], step=60_000, count=4 * 1_440))

    for series in (found["mem.used"][0], found["filesystem.used"][0, 0]):
        steps = np.diff(series)
        assert -steps.min() > 2 * steps.max()


def test_heavy_tails_reach_far_beyond_the_median():
    found = flat(readings([1], count=8_640))

    for key in ("disk.write", "disk.read"):
        series = found[key][0].sum(axis=0)
        assert series.max() > 8 * np.median(series), key


def test_the_first_nodes_of_a_fleet_have_all_pools_and_names_as_aks_makes_them():
    assert {pool_of(node).name for node in range(4)} == {pool.name for pool in POOLS}
    assert node_name(0) == "aks-system-28417339-vmss000000"
    assert len({node_name(node) for node in range(5_000)}) == 5_000


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(0, 2.0**50) | st.floats(0, 20_000) | st.floats(0, 1), min_size=1, max_size=30))
def test_rounding_arrays_is_rounding_for_the_wire(values):
    for metric in METRICS:
        rounded = round_array(metric, np.array(values))

        for value, found in zip(values, rounded, strict=True):
            expected = round_for_wire(metric, value)
            assert found == round_for_wire(metric, found)
            assert found == pytest.approx(
                expected, rel=1e-3 if value >= 1000 else 0, abs=1.001 * 10.0 ** -(metric.digits or 0)
            )
            assert type(found) is type(expected) or found == 1000


def test_rounding_makes_whole_numbers_of_large_rates_only():
    rate = next(metric for metric in NODE_METRICS if metric.key == "cpu.switches")

    assert round_array(rate, np.array([[999.94, 1234.5], [98_767.4, 7.0]])) == [[999.9, 1234], [98_770, 7.0]]
    assert [type(value) for value in round_array(rate, np.array([12.34, 12_345.6]))] == [float, int]
