"""Samples become envelopes that receivers accept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.envelopes import EnvelopeBuilder, Identity, printable
from agent.sampler import Sample
from telemetry.envelope import Envelope, decode, encode
from telemetry.rules import MAX_DEVICES
from telemetry.validation import validate

START = 1_792_000_000_000
IDENTITY = Identity("dev", "node-1", "0123456789ab")


def builder_of(samples: int = 3, publish_interval: float = 30.0) -> EnvelopeBuilder:
    return EnvelopeBuilder(
        IDENTITY, lambda: {"cpus": 2}, samples_per_envelope=samples, publish_interval=publish_interval
    )


def sample(number: int, devices=None, **metrics) -> Sample:
    return Sample(START + number * 10_000, {"load.1m": float(number), **metrics}, devices or {})


def build(samples: list[Sample], builder: EnvelopeBuilder | None = None) -> list[Envelope]:
    builder = builder or builder_of()
    envelopes = [envelope for each in samples for envelope in builder.add(each)]
    last = builder.flush()
    return [*envelopes, last] if last else envelopes


def test_an_envelope_is_given_when_it_is_full_and_numbered_without_a_gap():
    builder = builder_of(samples=3)

    given = [[envelope.seq for envelope in builder.add(sample(number))] for number in range(7)]

    assert given == [[], [], [1], [], [], [2], []]
    assert builder.seq == 2
    rest = builder.flush()
    assert rest is not None and (rest.seq, rest.time) == (3, [START + 60_000])
    assert builder.flush() is None


def test_what_one_sample_lacks_is_null_and_what_all_lack_is_left_out():
    (envelope,) = build([sample(0), sample(1, **{"cpu.switches": 5.0})])

    assert envelope.metrics == {"load.1m": [0.0, 1.0], "cpu.switches": [None, 5.0]}


def test_metrics_come_in_the_catalogues_order():
    (envelope,) = build([Sample(START, {"psi.cpu": 0.1, "cpu": 0.5, "load.1m": 1.0})])

    assert list(envelope.metrics) == ["cpu", "load.1m", "psi.cpu"]


def test_devices_that_come_and_go_have_null_where_they_were_not():
    (envelope,) = build(
        [
            sample(0, {"disk": {"sda": {"read": 1}}}),
            sample(1, {"disk": {"sda": {"read": 2}, "sdb": {"read": 20, "busy": 0.5}}}),
            sample(2, {"disk": {"sdb": {"read": 30, "busy": 0.25}}}),
        ]
    )

    assert envelope.devices == {
        "disk": {
            "device": ["sda", "sdb"],
            "read": [[1, 2, None], [None, 20, 30]],
            "busy": [[None, None, None], [None, 0.5, 0.25]],
        }
    }


def test_the_nodes_constants_are_in_the_first_and_every_twentieth_envelope():
    envelopes = build([sample(number) for number in range(45)], builder_of(samples=1))

    assert [envelope.seq for envelope in envelopes if envelope.resource] == [1, 21, 41]


def test_samples_that_span_more_than_a_publish_interval_are_not_in_one_envelope():
    envelopes = build([sample(0), sample(1), sample(50), sample(51)])

    assert [envelope.time for envelope in envelopes] == [
        [START, START + 10_000],
        [START + 500_000, START + 510_000],
    ]


@pytest.mark.parametrize("step", [0, 1, 60_000, 3_600_000])
def test_time_that_does_not_go_forward_ends_an_envelope(step):
    envelopes = build([sample(1), Sample(START + 10_000 - step, {"load.1m": 1.0})])

    assert [len(envelope.time) for envelope in envelopes] == [1, 1]
    assert [envelope.seq for envelope in envelopes] == [1, 2]


def test_a_node_with_very_many_devices_fits_a_message():
    devices = {"network": {f"eth{n}": dict.fromkeys(("rx", "tx", "rx_packets"), 123456.0) for n in range(250)}}

    envelopes = build([Sample(START + n, {}, devices) for n in range(600)], builder_of(600, 30))

    assert sum(len(envelope.time) for envelope in envelopes) == 600
    assert all(len(encode(envelope)) < 1024 * 1024 for envelope in envelopes)
    for envelope in envelopes:
        validate(encode(envelope), START)


def test_too_many_devices_are_cut_and_the_cut_is_logged_once(caplog):
    devices = {"disk": {f"sd{n}": {"read": 1} for n in range(300)}}

    envelopes = build([sample(n, devices) for n in range(6)], builder_of(samples=3))

    for envelope in envelopes:
        assert len(envelope.devices["disk"]["device"]) == MAX_DEVICES
        validate(encode(envelope), START)
    assert [record.getMessage() for record in caplog.records] == ["devices_left_out"]
    assert caplog.records[0].count == 300 - MAX_DEVICES


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("sda", "sda"),
        ("/my disk", "/my disk"),
        ("/a\nb\x00", "/a?b?"),
        ("/\udcff", "/?"),
        ("x" * 300, "x" * 255),
        ("", "?"),
    ],
)
def test_device_names_are_made_acceptable(name, shown):
    assert printable(name) == shown


numbers = st.one_of(st.none(), st.floats(0, 1), st.integers(0, 1))
samples = st.lists(
    st.tuples(
        st.integers(-20_000, 60_000),
        st.dictionaries(st.sampled_from(["cpu", "mem", "swap"]), st.floats(0, 1), max_size=3),
        st.dictionaries(
            st.text(st.characters(), max_size=8),
            st.dictionaries(st.sampled_from(["full", "inodes"]), st.floats(0, 1), max_size=2),
            max_size=4,
        ),
    ),
    min_size=1,
    max_size=20,
)


@given(samples, st.integers(1, 5))
def test_whatever_is_sampled_receivers_accept_every_envelope(moves, full):
    now, taken = START, []
    for move, metrics, mounts in moves:
        now += move
        taken.append(Sample(now, metrics, {"filesystem": mounts} if mounts else {}))

    envelopes = build(taken, builder_of(full))

    assert [envelope.seq for envelope in envelopes] == list(range(1, len(envelopes) + 1))
    assert [stamp for envelope in envelopes for stamp in envelope.time] == [each.time for each in taken]
    for envelope in envelopes:
        frame = validate(encode(envelope), START + 600_000)
        assert frame.seq == envelope.seq
        assert decode(encode(envelope)).time == envelope.time
