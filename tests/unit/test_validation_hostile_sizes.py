"""Large and malicious envelopes are refused with bounded memory; what is remembered of them is bounded too."""

import tracemalloc
import zlib

import pytest

from telemetry import rules, validation
from telemetry.errors import EnvelopeRejected, RejectReason
from telemetry.rules import MAX_COLUMNS, MAX_NUMBERS
from telemetry.validation import EnvelopeReader, validate
from tests.builders import START, document, samples, text

RECEIVED = START + 30_000
MEGABYTE = 1_000_000
"""A quarter of what a document may have: more of it costs more time and shows nothing more."""
BOUND = 40 * MEGABYTE
"""A parsed document takes up to twenty times its text; over a hundred times before sizes were looked at first."""


def filled(old, piece, rest=b""):
    """The valid document, compressed, with as many pieces as fit put in the place of something."""
    whole = text(document())
    assert whole.count(old) == 1
    return zlib.compress(whole.replace(old, piece * (MEGABYTE // len(piece)) + rest), 1, 31)


def large(**changes):
    """The valid document with members changed, compressed."""
    return zlib.compress(text({**document(), **changes}), 1, 31)


HOSTILE = {
    "rubbish before the time": (lambda: filled(b'"time":[', b"1.5,", b'"time":['), RejectReason.NOT_JSON),
    "250,000 wrong time stamps": (
        lambda: zlib.compress(text(document()).replace(b'"time":[', b'"time":[' + b"1.5," * 250_000), 1, 31),
        RejectReason.TOO_MANY_SAMPLES,
    ),
    "62,000 samples": (lambda: large(time=list(range(START, START + 62_000))), RejectReason.TOO_MANY_SAMPLES),
    "75,000 unknown members": (
        lambda: zlib.compress(text(document())[:-1] + b"".join(b',"k%d":1' % i for i in range(75_000)) + b"}", 1, 31),
        RejectReason.INVALID_FIELD,
    ),
    "62,000 wrong constants": (
        lambda: large(resource={f"K{index}": [] for index in range(62_000)}),
        RejectReason.INVALID_FIELD,
    ),
    "62,000 device classes": (
        lambda: large(devices={f"c{index}": [] for index in range(62_000)}),
        RejectReason.INVALID_FIELD,
    ),
    "100,000 keys": (lambda: large(keys=[f"k{index}" for index in range(100_000)]), RejectReason.INVALID_FIELD),
    "250,000 columns": (lambda: large(values=[[]] * 250_000), RejectReason.RAGGED),
    "a long name": (lambda: large(node="x" * 1_000_000), RejectReason.INVALID_FIELD),
}
"""What is sent, made by the test that sends it: all of it together takes seconds to make."""


@pytest.mark.parametrize("hostile", HOSTILE)
def test_refusing_a_megabyte_costs_a_bounded_multiple_of_it(hostile):
    make, reason = HOSTILE[hostile]
    raw = make()

    tracemalloc.start()
    try:
        with pytest.raises(EnvelopeRejected) as refused:
            validate(raw, RECEIVED)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert refused.value.reason is reason
    assert len(refused.value.detail) <= 512
    assert peak < BOUND


def wide(classes, metrics, devices, number):
    """An envelope of unknown classes with so many numbers."""
    return text(
        document(
            devices={f"c{index}": [f"d{device}" for device in range(devices)] for index in range(classes)},
            time=samples(number, START, 1),
            keys=[f"c{index}.m{metric}" for index in range(classes) for metric in range(metrics)],
            values=[[[0] * number] * devices] * (classes * metrics),
        )
    )


def test_more_numbers_in_a_sample_than_any_node_has_are_refused():
    with pytest.raises(EnvelopeRejected) as refused:
        validate(wide(5, 10, 164, 1), RECEIVED)

    assert refused.value.reason is RejectReason.TOO_LARGE
    assert "8200 numbers a sample" in refused.value.detail
    assert str(MAX_COLUMNS) in refused.value.detail


def test_more_numbers_than_an_agent_sends_are_refused():
    with pytest.raises(EnvelopeRejected) as refused:
        validate(zlib.compress(wide(1, 5, 101, 500), 1, 31), RECEIVED)

    assert refused.value.reason is RejectReason.TOO_LARGE
    assert "252500 in all" in refused.value.detail
    assert str(MAX_NUMBERS) in refused.value.detail


def test_the_widest_honest_node_is_accepted():
    devices = {name: [f"{name}{index}" for index in range(256)] for name in ("disk", "filesystem", "network")}

    frame = validate(text(document(devices=devices, keys=["disk.read"], values=[[[1, 2, 3]] * 256])), RECEIVED)

    assert frame.layout.width == 256


def test_names_that_were_found_good_are_not_remembered_without_end(monkeypatch):
    monkeypatch.setattr(rules, "_MAX_REMEMBERED", 100)
    remembered = rules._GoodNames()

    for index in range(500):
        remembered.add((f"a{index}", f"b{index}", f"c{index}"))
        assert len(remembered._lists) * 3 <= 100
        assert (f"a{index}", f"b{index}", f"c{index}") in remembered


def test_senders_whose_every_envelope_names_other_devices_leave_no_more_than_a_bound_behind(monkeypatch):
    """Kilobytes of new device names in each envelope: what is kept is a few of them, not all."""
    bound = 2**20
    monkeypatch.setattr(validation, "MAX_SKELETON_BYTES", bound)
    reader = EnvelopeReader()

    def speak(number):
        names = [f"{number:06d}-{device:03d}-{'x' * 200}" for device in range(200)]
        raw = text(document(devices={"network": names}, keys=["network.rx"], values=[[[1, 2, 3]] * 200]))
        return reader.read([(raw, RECEIVED)])

    tracemalloc.start()
    try:
        for number in range(160):
            speak(number)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert sum(map(len, reader._devices)) <= bound
    assert peak < 12 * bound
