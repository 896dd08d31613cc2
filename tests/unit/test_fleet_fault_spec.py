"""Fault specifications: what they mean, and that everything wrong with them is told at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.fleet.fault_spec import parse_faults
from local.fleet.faults import CpuRunaway, DeploymentWave
from local.fleet.pools import node_name, pool_of
from telemetry.errors import SettingsError


def problems_of(*specs, nodes=10):
    with pytest.raises(SettingsError) as error:
        parse_faults(specs, nodes)
    return error.value.problems


def test_a_specification_says_what_where_when_how_long_and_how_much():
    (fault,) = parse_faults(["cpu_runaway:node=3,after=120,duration=600,magnitude=1.5"], 10)

    assert fault == CpuRunaway((3,), 120.0, 600.0, 1.5)


def test_what_is_left_out_has_the_faults_own_default():
    (fault,) = parse_faults(["cpu_runaway:node=3"], 10)

    assert fault == CpuRunaway((3,), 0.0, 900.0, 0.8)


@pytest.mark.parametrize(
    ("selector", "nodes"),
    [
        ("node=0", (0,)),
        ("node=2-4", (2, 3, 4)),
        ("node=8+1+1+3-4", (1, 3, 4, 8)),
        ("node=all", tuple(range(10))),
        (f"node={node_name(7)}", (7,)),
        ("pool=system", tuple(index for index in range(10) if pool_of(index).name == "system")),
    ],
)
def test_nodes_are_selected_by_index_range_list_name_pool_or_all(selector, nodes):
    assert parse_faults([f"io_stall:{selector}"], 10)[0].nodes == nodes


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400)])
def test_times_have_units(text, seconds):
    (fault,) = parse_faults([f"io_stall:node=1,after={text},duration={text}"], 10)

    assert (fault.after, fault.duration) == (seconds, seconds)


def test_an_event_happens_to_all_nodes_unless_told_otherwise():
    assert parse_faults(["deployment_wave"], 3) == [DeploymentWave((0, 1, 2), 0.0, 900.0, 1.0)]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("cpu_runawya:node=1", "did you mean cpu_runaway?"),
        ("meteor", "there are cpu_runaway, memory_leak"),
        ("", "no fault is called ''"),
        ("io_stall", "node is missing: say node=3"),
        ("io_stall:", "node is missing"),
        ("io_stall:node=10", "node must be 0-9 in a fleet of 10, got 10"),
        ("io_stall:node=5-3", "write 3-5"),
        ("io_stall:node=1+", "node must be like 3, 0-4"),
        ("io_stall:node=-1", "node must be like 3, 0-4"),
        ("io_stall:node=aks-user-1", "or the name of a node"),
        ("io_stall:pool=gpu", "pool must be one that the fleet has (system, user, spot), got 'gpu'"),
        ("io_stall:node=1,pool=user", "give one of them"),
        ("io_stall:node=1,node=2", "node is given twice"),
        ("io_stall:node=1,until=5", "no key is called 'until'; keys are node, pool, after, duration, magnitude"),
        ("io_stall:node=1,after", "'after' must be KEY=VALUE"),
        ("io_stall:node=1,after=", "must be KEY=VALUE"),
        ("io_stall:node=1,after=-5", "after must be 0 to 30d"),
        ("io_stall:node=1,after=31d", "after must be 0 to 30d"),
        ("io_stall:node=1,duration=0", "duration must be more than 0 to 30d"),
        ("io_stall:node=1,duration=nan", "duration must be"),
        ("io_stall:node=1,duration=5w", "like 90s, 10m, 2h, 1d, got '5w'"),
        ("io_stall:node=1,magnitude=1.1", "magnitude must be 0.01 to 1 (how far disks stop answering"),
        ("io_stall:node=1,magnitude=inf", "magnitude must be"),
        ("io_stall:node=1,magnitude=much", "got 'much'"),
    ],
)
def test_a_wrong_specification_is_explained(spec, told):
    (problem,) = problems_of(spec)

    assert problem.startswith(f"--fault {spec}: ")
    assert told in problem


def test_every_problem_of_every_specification_is_told_at_once():
    problems = problems_of("io_stall:node=99,after=x,magnitude=9", "cpu_runaway:node=1", "meteor:node=1")

    assert len(problems) == 4
    assert [problem.split(":")[0] for problem in problems] == ["--fault io_stall"] * 3 + ["--fault meteor"]


@given(st.text(max_size=60))
def test_no_text_makes_anything_but_a_fault_or_an_explanation(text):
    for spec in (text, f"cpu_runaway:{text}", f"cpu_runaway:node={text}", f"cpu_runaway:node=1,after={text}"):
        try:
            parse_faults([spec], 5)
        except SettingsError as error:
            assert error.problems
