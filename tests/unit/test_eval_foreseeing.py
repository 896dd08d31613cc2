"""Predictive alerts of simulated levels: which node, which level, when; silence about the others."""

from pathlib import Path

import numpy as np
import pytest

from bench.eval.foreseeing import MINUTES, TIMER_AFTER, Foreseeing
from bench.eval.minute_features import LEVELS, START_MS, SimulatedNodes
from functions.core.forecast.exhaustion_watch import GRACE_S
from local.fleet.fault_spec import parse_faults
from telemetry.tables import FEATURES

FIRST = START_MS // 60_000
HOURS = 60
DAYS = 3


def levels_with(node, level, growing):
    """Four days of two nodes that are 30 % full, but that one level grows to its limit after the third."""
    levels = 0.3 + 0.002 * np.random.default_rng(1).random((DAYS * 24 * HOURS + growing, 2, len(LEVELS)))
    levels[-growing:, node, level] += np.linspace(0.0, 0.7, growing)
    return levels.clip(0.0, 1.0)


def told(levels, parts=1):
    foreseeing = Foreseeing(range(levels.shape[1]))
    size = len(levels) // parts
    return [one for part in range(parts) for one in foreseeing.feed(FIRST + part * size, levels[part * size :][:size])]


@pytest.mark.parametrize("level", [0, 1, 2, 5])
def test_growth_to_the_limit_is_told_once_of_its_node_hours_before(level):
    growing = 12 * HOURS

    (one,) = told(levels_with(1, level, growing))

    assert (one.node, one.kind, one.metric) == (1, "exhaustion", LEVELS[level])
    before_limit = FIRST + DAYS * 24 * HOURS + growing - one.minute
    assert 4 * HOURS <= before_limit <= 12 * HOURS
    assert (one.minute + 1 - TIMER_AFTER - FIRST) % MINUTES == 0


def test_parts_of_a_stretch_tell_what_the_whole_does():
    levels = levels_with(0, 2, 12 * HOURS)

    assert told(levels, parts=3) == told(levels)


def test_the_forecasts_are_asked_when_the_function_apps_timer_asks_them():
    binding = (Path(__file__).parents[2] / "functions" / "bindings" / "forecast.py").read_text()

    assert f'schedule="0 {TIMER_AFTER}-59/{MINUTES} * * * *"' in binding
    assert TIMER_AFTER * 60 >= GRACE_S  # or the newest point would be looked at a quarter of an hour later


def test_what_stays_tells_nothing_nor_does_what_is_missing():
    levels = levels_with(0, 2, 12 * HOURS)
    levels[:, 0, 2] = np.nan

    assert told(levels) == []
    assert told(np.full_like(levels, np.nan)) == []


def test_a_last_point_that_is_not_whole_is_left_out_and_a_stretch_that_begins_within_one_is_refused():
    levels = levels_with(0, 2, 12 * HOURS)

    assert told(levels[: MINUTES - 1]) == []
    with pytest.raises(ValueError, match="must begin a point of 15 minutes"):
        list(Foreseeing(range(2)).feed(FIRST + 1, levels))


def test_levels_are_those_of_the_windows_and_of_each_filesystem_by_itself():
    faults = parse_faults(["disk_filling_fast:node=1"], 3)

    made = SimulatedNodes(3, 9, range(3), faults).minutes(0, 20)

    of = {name: made.features[:, :, FEATURES.index(name)] for name in set(LEVELS)}
    np.testing.assert_allclose(made.levels[:, :, 0], of["MemoryUtilization"])
    np.testing.assert_allclose(made.levels[:, :, 1], of["FileDescriptorUtilization"])
    full = made.levels[:, :, [place for place, name in enumerate(LEVELS) if name == "FilesystemUtilization"]]
    # a window has the highest sample of any, a level the mean of each
    assert (np.abs(np.nanmax(full, axis=2) - of["FilesystemUtilization"]) < 0.02).all()
    assert np.isnan(full).all(axis=0).sum(axis=1).tolist() == [1, 0, 0]  # the first node has two filesystems
    assert full[-1, 1, 0] - full[0, 1, 0] > 0.1
    assert np.abs(full[-1, 1, 1:] - full[0, 1, 1:]).max() < 0.01
