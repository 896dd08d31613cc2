"""The envelopes of a simulated fleet: what agents would publish, in order, valid, the same every time."""

from collections import Counter, defaultdict
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.fleet.envelope_assembly import SIMULATED_CLASSES
from local.fleet.fault_spec import parse_faults
from local.fleet.model import FleetModel
from local.fleet.pools import node_name
from telemetry.catalogue import NODE_METRICS, Kind
from telemetry.envelope import decode, encode
from telemetry.validation import validate

START = 1_790_000_000_000


def fleet(nodes=10, seed=1, faults=(), **options):
    return FleetModel(nodes, seed, start_ms=START, faults=parse_faults(faults, nodes), **options)


def by_node(model, minutes):
    found = defaultdict(list)
    for due in model.envelopes(START + round(minutes * 60_000)):
        found[due.envelope.node].append(due)
    return found


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    nodes=st.integers(1, 12),
    intervals=st.sampled_from([(10, 30), (1, 1), (0.5, 5), (60, 60), (15, 300)]),
)
def test_every_envelope_is_valid_and_survives_the_wire(seed, nodes, intervals):
    model = fleet(nodes, seed, sample_interval=intervals[0], publish_interval=intervals[1])

    for due in islice(model.envelopes(), 3 * nodes):
        raw = encode(due.envelope)
        validate(raw, due.at_ms)
        assert decode(raw) == due.envelope


def test_samples_of_a_node_follow_each_other_at_the_sample_interval_across_envelopes():
    for published in by_node(fleet(), 5).values():
        times = [time for due in published for time in due.envelope.time]

        assert {after - before for before, after in pairwise(times)} == {10_000}
        assert START <= times[0] < START + 10_000


def test_an_envelope_is_published_with_its_last_sample_in_order_of_time():
    dues = list(fleet(20).envelopes(START + 300_000))

    assert all(due.at_ms == due.envelope.time[-1] for due in dues)
    assert all(before.at_ms <= after.at_ms for before, after in pairwise(dues))
    assert dues[0].at_ms > START and START + 290_000 < dues[-1].at_ms <= START + 300_000


def test_publishing_is_spread_evenly_over_the_interval():
    dues = fleet(300).envelopes(START + 60_000)

    per_second = Counter((due.at_ms - START - 1) // 1000 for due in dues)

    assert len(per_second) == 60
    assert max(per_second.values()) <= 12


def test_envelopes_are_numbered_without_a_gap_and_the_first_and_every_twentieth_carry_the_resource():
    for node, published in by_node(fleet(4), 22).items():
        envelopes = [due.envelope for due in published]

        assert [envelope.seq for envelope in envelopes] == list(range(1, len(envelopes) + 1))
        assert [envelope.seq for envelope in envelopes if envelope.resource is not None] == [1, 21, 41]
        assert envelopes[0].resource["hostname"] == node
        assert len({envelope.instance for envelope in envelopes}) == 1


def test_the_first_sample_of_an_agent_has_no_rates_and_later_ones_have():
    model = fleet(1, sample_interval=1.0, publish_interval=60.0)
    first, second = (due.envelope for due in islice(model.envelopes(), 2))
    rates = {metric.key for metric in NODE_METRICS if metric.kind is Kind.RATE}

    for key, column in first.metrics.items():
        assert (column[0] is None) == (key in rates), key
        assert None not in column[1:]
    for found in SIMULATED_CLASSES:
        for metric in found.metrics:
            for row in first.devices[found.key][metric.key]:
                assert (row[0] is None) == (metric.kind is Kind.RATE), metric.key
    assert not any(None in column for column in second.metrics.values())


def test_a_first_envelope_of_a_single_sample_leaves_rates_out():
    first, second = (due.envelope for due in islice(fleet(1, sample_interval=5, publish_interval=5).envelopes(), 2))

    assert "cpu" in first.metrics and "cpu.switches" not in first.metrics
    assert set(first.devices["disk"]) == {"device"}
    assert set(second.metrics) == {metric.key for metric in NODE_METRICS} - {"temperature"}


def test_uptime_counts_from_the_boot_whatever_the_clock_says():
    published = by_node(fleet(1, faults=["clock_step:node=0,after=120,duration=180,magnitude=90"]), 10)[node_name(0)]
    boot = published[0].envelope.resource["boot_time"]

    for due in published:
        shift_ms = due.envelope.time[-1] - due.at_ms
        since_boot = [(time - shift_ms) // 1000 - boot for time in due.envelope.time]
        assert due.envelope.metrics["uptime"] == since_boot


def test_iterating_again_gives_the_same_bytes():
    model = fleet()

    assert list(model.encoded(START + 90_000)) == list(model.encoded(START + 90_000))


def test_a_small_fleet_is_the_beginning_of_a_large_one():
    small, large = by_node(fleet(4), 2), by_node(fleet(20), 2)

    assert all(small[node] == large[node] for node in small)


def test_a_later_start_is_another_agent_process():
    def instance(start):
        return next(FleetModel(1, 1, start_ms=start).envelopes()).envelope.instance

    assert instance(START) == instance(START)
    assert instance(START) != instance(START + 1)


def test_a_node_that_is_gone_sends_nothing_and_comes_back_as_another_instance():
    published = by_node(fleet(2, faults=["node_gone:node=1,after=100,duration=300"]), 12)
    gone, other = published[node_name(1)], published[node_name(0)]
    before = [due for due in gone if due.at_ms < START + 100_000]
    after = [due for due in gone if due.at_ms >= START + 400_000]

    assert len(before) + len(after) == len(gone) and before and after
    assert len(other) == 24
    assert {due.envelope.instance for due in before}.isdisjoint({due.envelope.instance for due in after})
    assert [due.envelope.seq for due in after] == list(range(1, len(after) + 1))
    assert after[0].envelope.time[0] >= START + 400_000
    assert after[0].envelope.resource["boot_time"] == (START + 400_000) // 1000
    assert after[0].envelope.metrics["uptime"][0] < 10 < 600 < before[-1].envelope.metrics["uptime"][0]
    for due in gone:
        validate(encode(due.envelope), due.at_ms)


def test_a_fleet_that_is_gone_altogether_goes_on_when_it_is_back():
    model = fleet(3, faults=["node_gone:node=all,after=0,duration=10m"])

    first = next(model.envelopes())

    assert START + 600_000 <= first.at_ms < START + 631_000
    assert list(model.envelopes(START + 500_000)) == []


@pytest.mark.parametrize("step", [90, -90])
def test_a_clock_step_shifts_whole_envelopes_of_its_node_and_ends(step):
    model = fleet(2, faults=[f"clock_step:node=0,after=120,duration=180,magnitude={step}"])
    published = by_node(model, 10)

    shifts = {
        node: [(due.at_ms - START, (due.envelope.time[-1] - due.at_ms) / 1000) for due in dues]
        for node, dues in published.items()
    }

    assert {shift for _, shift in shifts[node_name(1)]} == {0.0}
    for at, shift in shifts[node_name(0)]:
        assert shift == (step if 120_000 <= at < 300_000 else 0.0)
    for due in published[node_name(0)]:
        assert all(before < after for before, after in pairwise(due.envelope.time))
        validate(encode(due.envelope), due.at_ms)
