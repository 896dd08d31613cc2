"""Faults move what they claim, when and where they are asked to, and nothing else."""

import numpy as np
import pytest

from local.fleet.envelope_assembly import SIMULATED_CLASSES
from local.fleet.fault_spec import parse_faults
from local.fleet.faults import FAULTS, Label
from local.fleet.model import FleetModel
from local.fleet.pools import node_name
from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS

START = 1_759_708_800_000 + 9 * 3_600_000
AFTER = 3_600
KEYS = {metric.key for metric in NODE_METRICS} | {
    f"{found.key}.{metric.key}" for found in DEVICE_CLASSES for metric in found.metrics
}

# Fault, how it is asked for, seconds into it, and by how much a metric must have moved there: (metric, low, high).
VISIBLE = [
    ("cpu_runaway", "duration=600", (60, 600), [("cpu", 0.35, 1), ("cpu.user", 0.3, 1), ("load.1m", 8, 20)]),
    ("memory_leak", "duration=1h", (3000, 3600), [("mem", 0.1, 0.3), ("mem.used", 9e9, 2e10), ("mem.free", -2e10, 0)]),
    ("memory_leak", "magnitude=0.4,duration=2h", (2000, 2900), [("faults.major", 0, 500)]),
    ("fd_leak", "duration=2h", (6900, 7200), [("fds.full", 0.45, 0.5), ("fds", 3e5, 3.6e5)]),
    ("disk_filling_fast", "duration=20m", (1000, 1200), [("filesystem.full", 0.25, 0.4), ("disk.write", 3e7, 2e8)]),
    ("disk_filling_slowly", "duration=2d", (170_000, 172_800), [("filesystem.full", 0.19, 0.2)]),
    ("packet_loss", "", (10, 900), [("network.rx_drops", 50, 1e6), ("network.rx", -1e8, -1)]),
    ("io_stall", "", (10, 300), [("disk.busy", 0.4, 1), ("psi.io", 0.4, 1), ("procs.blocked", 1, 99)]),
    ("noisy_neighbour", "", (10, 1200), [("cpu.steal", 0.15, 0.4), ("psi.cpu", 0.1, 1), ("load.1m", 0.5, 20)]),
    ("deployment_wave", "node=1", (20, 40), [("network.rx", 4e7, 1e8), ("disk.write", 2e7, 1e8)]),
    ("nightly_backup", "", (30, 1800), [("disk.read", 2e7, 9e7), ("network.tx", 3e7, 9e7)]),
]


def flat(found):
    devices = {f"{name}.{key}": array for name, of in found.devices.items() for key, array in of.items()}
    return found.metrics | devices


def clean_and_faulty(name, extra, seconds, *, nodes=(1, 4), seed=1, hit="node=1"):
    """Readings of nodes without and with the fault, at seconds from its begin."""
    where = "" if "node=" in extra else hit
    given = ",".join(part for part in (where, f"after={AFTER}", extra) if part)
    faults = parse_faults([f"{name}:{given}"], 10)
    times = np.tile(START + (AFTER + np.array(seconds)) * 1000, (len(nodes), 1)).astype(np.int64)
    clean = FleetModel(10, seed, start_ms=START).readings(nodes, times)
    faulty = FleetModel(10, seed, start_ms=START, faults=faults).readings(nodes, times)
    return flat(clean), flat(faulty)


@pytest.mark.parametrize(("name", "extra", "during", "moves"), VISIBLE, ids=[row[0] for row in VISIBLE])
@pytest.mark.parametrize("seed", [1, 77])
def test_fault_visibly_moves_the_metrics_it_claims(name, extra, during, moves, seed):
    clean, faulty = clean_and_faulty(name, extra, np.linspace(*during, 20), seed=seed)

    for key, low, high in moves:
        change = faulty[key][0] - clean[key][0]
        worst = change if change.ndim == 1 else change[np.abs(change).max(axis=1).argmax()]
        assert key in FAULTS[name].affects
        assert low <= np.median(worst) <= high, key


@pytest.mark.parametrize("name", FAULTS)
def test_fault_moves_nothing_it_does_not_claim_and_claims_nothing_that_does_not_exist(name):
    kind = FAULTS[name]
    seconds = np.linspace(-600, kind.default_duration, 300)

    clean, faulty = clean_and_faulty(name, "", seconds, nodes=(1, 4))
    spot_clean, spot_faulty = clean_and_faulty(name, "", seconds, nodes=(3,), hit="node=3")

    moved = {key for key in clean if not np.array_equal(clean[key], faulty[key])}
    moved |= {key for key in spot_clean if not np.array_equal(spot_clean[key], spot_faulty[key])}
    assert moved <= kind.affects <= KEYS


@pytest.mark.parametrize("name", FAULTS)
def test_fault_leaves_other_nodes_and_the_time_before_it_alone(name):
    duration = FAULTS[name].default_duration

    clean, faulty = clean_and_faulty(name, "", np.linspace(-600, duration, 200))
    before_clean, before_faulty = clean_and_faulty(name, "", np.linspace(-3_600, 0, 200))

    for key in clean:
        np.testing.assert_array_equal(clean[key][1], faulty[key][1], err_msg=key)
        np.testing.assert_array_equal(before_clean[key], before_faulty[key], err_msg=key)


@pytest.mark.parametrize("name", sorted(set(FAULTS) - {"deployment_wave"}))
def test_nothing_is_left_of_a_fault_some_time_after_it(name):
    over = FAULTS[name].default_duration + 1_000

    clean, faulty = clean_and_faulty(name, "", np.linspace(over, over + 3_600, 100))

    for key in clean:
        np.testing.assert_array_equal(clean[key], faulty[key], err_msg=key)


def test_only_the_root_filesystem_fills_and_it_never_is_more_than_full():
    clean, faulty = clean_and_faulty("disk_filling_fast", "magnitude=0.1,duration=1h", np.linspace(0, 3_599, 300))

    full = faulty["filesystem.full"][0]
    assert full[0].max() == 1.0
    np.testing.assert_array_equal(full[1:], clean["filesystem.full"][0][1:])
    assert (faulty["disk.write"][0, 1:] == clean["disk.write"][0, 1:]).all()


def test_a_leak_is_killed_when_memory_runs_out_and_begins_again():
    _, faulty = clean_and_faulty("memory_leak", "magnitude=1,duration=2h", np.linspace(0, 7_199, 700))

    used = faulty["mem"][0]
    assert used.max() > 0.8
    assert np.diff(used).min() < -0.25


@pytest.mark.parametrize("interval", [10, 60])
def test_each_kill_is_counted_once_when_the_leak_drops_whatever_the_interval(interval):
    (leak,) = parse_faults(["memory_leak:node=1,magnitude=1,duration=2h"], 10)
    model = FleetModel(10, 1, start_ms=START, faults=[leak], sample_interval=interval, publish_interval=interval)
    found = model.readings([1], np.array([START + 1000 * np.arange(0, 10_000, interval)])).metrics

    kills = found["oom"][0] * interval
    dropped = 1 + np.flatnonzero(np.diff(found["mem"][0]) < -0.25)
    *dropped, ended = dropped.tolist()
    assert len(dropped) == 3 and ended * interval == 7_200  # when the fault ends, somebody stops the program
    assert np.flatnonzero(kills).tolist() == dropped
    np.testing.assert_allclose(kills[dropped], 1.0)
    assert (found["mem"][0, np.array(dropped) - 1] > 0.9).all()
    assert (found["faults.major"][0, np.array(dropped) - 1] > 100.0).all()


def test_leaked_files_reach_the_limit_and_stay_there_until_the_program_is_ended():
    clean, faulty = clean_and_faulty("fd_leak", "duration=5h", np.linspace(0, 5 * 3_600, 501))

    full = faulty["fds.full"][0]
    assert (np.diff(full) >= 0).mean() > 0.9 or full.max() == 1.0
    assert full[:300].max() < 0.9 and (full[400:500] == 1.0).all()
    assert full[-1] == clean["fds.full"][0, -1]


def test_a_deployment_wave_passes_over_the_nodes_one_after_the_other_and_leaves_images():
    faults = parse_faults(["deployment_wave:node=1+4+5,duration=1h"], 10)
    times = np.tile(START + 10_000 * np.arange(700), (3, 1))
    clean = FleetModel(10, 1, start_ms=START).readings([1, 4, 5], times)
    wave = FleetModel(10, 1, start_ms=START, faults=faults).readings([1, 4, 5], times)

    pulled = wave.devices["network"]["rx"][:, 0] - clean.devices["network"]["rx"][:, 0]
    begins = [int(np.flatnonzero(node > 1e7)[0]) for node in pulled]
    images = (wave.devices["filesystem"]["full"] - clean.devices["filesystem"]["full"])[:, 0]

    assert begins == sorted(begins) and begins[0] <= 1 and 300 < begins[2] < 360
    assert (images[:, 0] == 0).all()
    np.testing.assert_allclose(images[:, -1], 0.006, atol=1e-9)


def test_a_backup_comes_every_night():
    day = 86_400

    def reading(second):
        clean, faulty = clean_and_faulty("nightly_backup", "", [second])
        return float((faulty["disk.read"][0] - clean["disk.read"][0]).sum())

    assert reading(-day + 600) == 0.0
    assert reading(600) > 3e7 and reading(day + 600) > 3e7 and reading(5 * day + 600) > 3e7
    assert reading(day + 3_600) == 0.0


def test_faults_add_up_on_one_node():
    specs = ["cpu_runaway:node=1", "packet_loss:node=1"]
    times = np.array([[START + 300_000]])
    both = flat(FleetModel(4, 1, start_ms=START, faults=parse_faults(specs, 4)).readings([1], times))
    clean = flat(FleetModel(4, 1, start_ms=START).readings([1], times))

    assert both["cpu"][0, 0] > clean["cpu"][0, 0] + 0.2
    assert both["network.rx_drops"].sum() > clean["network.rx_drops"].sum() + 10


@pytest.mark.parametrize("end", [0, 1])
def test_readings_stay_in_bounds_when_every_fault_strikes_twice_at_its_weakest_or_strongest(end):
    specs = [
        f"{name}:node=0-3,duration=1h,magnitude={kind.magnitude_range[end]:.6f}" for name, kind in FAULTS.items()
    ] * 2
    model = FleetModel(4, 1, start_ms=START, faults=parse_faults(specs, 4))

    for node in range(4):
        found = model.readings([node], np.array([START + 20_000 * np.arange(200)]))

        upper = {metric.key: metric.upper for metric in NODE_METRICS}
        for key, array in found.metrics.items():
            assert (array >= -1e-9).all() and (array <= upper[key]).all(), key
        for device_class in SIMULATED_CLASSES:
            for metric in device_class.metrics:
                array = found.devices[device_class.key][metric.key]
                assert (array >= -1e-9).all() and (array <= metric.upper).all(), metric.key


def test_labels_are_the_ground_truth_per_node_and_window():
    specs = ["cpu_runaway:node=3+5,after=120,duration=600", "nightly_backup:node=1,after=1h"]
    model = FleetModel(10, 1, start_ms=START, faults=parse_faults(specs, 10))

    labels = model.labels(START + 2 * 86_400_000)

    assert labels[:2] == [
        Label(node_name(node), "cpu_runaway", True, START + 120_000, START + 720_000) for node in (3, 5)
    ]
    assert [(label.fault, label.is_fault) for label in labels[2:]] == [("nightly_backup", False)] * 2
    assert labels[3].start_ms - labels[2].start_ms == 86_400_000
    assert model.labels(START + 60_000) == []


def test_a_wave_labels_each_node_for_its_own_turn():
    model = FleetModel(10, 1, start_ms=START, faults=parse_faults(["deployment_wave:node=0-2,duration=750"], 10))

    labels = model.labels(START + 3_600_000)

    assert [(label.start_ms - START) // 1000 for label in labels] == [0, 300, 600]
    assert {label.end_ms - label.start_ms for label in labels} == {150_000}


def test_active_faults_are_named_while_they_last():
    specs = ["io_stall:node=1,after=100,duration=50", "io_stall:node=2,after=100,duration=50", "node_gone:node=3"]
    model = FleetModel(10, 1, start_ms=START, faults=parse_faults(specs, 10))

    assert model.active_faults(START) == ["node_gone"]
    assert model.active_faults(START + 100_000) == ["io_stall", "node_gone"]
    assert model.active_faults(START + 150_000) == ["node_gone"]
    assert model.active_faults(START + 600_000) == []


def test_a_wave_and_a_backup_are_active_from_the_first_node_to_the_last():
    specs = ["deployment_wave:node=0-2,after=100,duration=750", "nightly_backup:after=1h"]
    model = FleetModel(10, 1, start_ms=START, faults=parse_faults(specs, 10))
    wave = ["deployment_wave"]

    assert [model.active_faults(START + second * 1000) for second in (99, 100, 300, 849, 850)] == [
        *([], wave, wave, wave, [])
    ]
    assert model.active_faults(START + 86_400_000 + 3_600_000) == ["nightly_backup"]
    assert model.active_faults(START + 86_400_000 + 5_400_000) == []
