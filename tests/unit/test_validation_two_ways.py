"""The fast and the careful way through validation have one meaning, whatever was read before."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.fuzz import carefully, difference
from bench.mutations import RECEIVED, START, Mutator, corpus
from telemetry import validation
from telemetry.errors import EnvelopeRejected, RejectReason
from telemetry.validation import EnvelopeReader
from tests.builders import document, samples, text


def outcome(reader, raw):
    """What the reader makes of an envelope, and how that differs from what it is by itself."""
    batch = reader.read([(raw, RECEIVED)])
    frame = batch.frames[0]
    numbers = None if isinstance(frame, EnvelopeRejected) else batch.numbers[frame.layout][frame.row]
    return frame, difference(frame, numbers, carefully(raw))


def reader_that_knows(*raws):
    reader = EnvelopeReader()
    reader.read([(raw, RECEIVED) for raw in raws])
    return reader


@pytest.mark.parametrize("raw", corpus())
def test_valid_envelope_is_read_the_same_every_time(raw):
    reader = EnvelopeReader()

    for _ in range(3):
        frame, wrong = outcome(reader, raw)

        assert wrong is None
        assert frame.node


def test_the_fast_way_is_taken_by_the_second_envelope_of_a_kind(monkeypatch):
    reader = reader_that_knows(text(document()))
    monkeypatch.setattr(EnvelopeReader, "_read_carefully", lambda *_: pytest.fail("read carefully"))

    frame, _ = outcome(reader, text(document(seq=2, node="node-2", time=samples(3, START + 30_000))))

    assert (frame.node, frame.seq) == ("node-2", 2)


@given(seed=st.integers(0, 2**32), number=st.integers(1, 8))
def test_mutants_are_judged_the_same_by_a_reader_that_has_learnt_everything(seed, number):
    mutator = Mutator(seed)
    reader = reader_that_knows(*corpus())

    for _ in range(number):
        raw = mutator.mutant()
        _, wrong = outcome(reader, raw)

        assert wrong is None, raw


@given(seed=st.integers(0, 2**32))
def test_a_batch_is_judged_as_its_envelopes_one_by_one(seed):
    mutator = Mutator(seed)
    raws = [raw for neighbour in corpus() for raw in (neighbour, mutator.mutant())]
    reader = reader_that_knows(*corpus())

    batch = reader.read([(raw, RECEIVED) for raw in raws])

    for raw, frame in zip(raws, batch.frames, strict=True):
        numbers = None if isinstance(frame, EnvelopeRejected) else batch.numbers[frame.layout][frame.row]
        assert difference(frame, numbers, carefully(raw)) is None


numbers = st.sampled_from([b"", b"1", b"0.5", b"-1", b"null", b"true", b'"1"', b"1e999", b"[1]", b"1,2", b" "])


@given(st.lists(st.lists(numbers, min_size=5, max_size=5), min_size=1, max_size=4))
@example([[b"1", b"1", b"", b"1", b"1"], [b"1", b"1", b"1", b"1", b"1,2"]])
def test_no_envelope_makes_up_for_another_ones_numbers(cells):
    """Envelopes of one sample, whose skeletons do not tell an empty column from a full one."""

    def written(five):
        columns = b"[%b],[%b],[[%b],[%b]],[%b]" % tuple(five)
        body = b'"devices":{"disk":["a","b"],"network":[]},"time":[%d],"keys":["cpu","mem","disk.read","network.rx"]'
        head = b'{"version":1,"cluster":"c","node":"n","instance":"0123456789ab","seq":1,'
        return head + body % START + b',"values":[' + columns + b"]}"

    valid = written([b"1", b"1", b"1", b"1", b""])
    raws = [valid, *map(written, cells), valid]
    reader = reader_that_knows(valid, written([b"1", b"1", b"1", b"1", b"1"]))

    batch = reader.read([(raw, RECEIVED) for raw in raws])

    for raw, frame in zip(raws, batch.frames, strict=True):
        found = None if isinstance(frame, EnvelopeRejected) else batch.numbers[frame.layout][frame.row]
        assert difference(frame, found, carefully(raw)) is None


@pytest.mark.parametrize(
    ("known", "raw"),
    [
        pytest.param(document(), text(document()).replace(b'"version":1,', b'"version":true,'), id="true for 1"),
        pytest.param(document(), text(document()).replace(b'"version":1,', b'"version":1.0,'), id="1.0 for 1"),
        pytest.param(document(), b"\xef\xbb\xbf" + text(document()), id="byte order mark"),
        pytest.param(document(), text(document()).replace(b'"node":', b'"cluster":'), id="member twice, one missing"),
        pytest.param(document(), text(document()).replace(b'"cpus":8', b'"pool":8'), id="constant twice"),
        pytest.param(document(), text(document()).replace(b'"mem"', b'"cpu"'), id="key twice"),
        pytest.param(document(), text(document()).replace(b'"sdb"', b'"sda"'), id="device twice"),
        pytest.param(document(), text(document()).replace(b'"sdb"', b'""'), id="device without name"),
        pytest.param(document(), text(document()).replace(b"0.2", b"null", 1), id="null"),
        pytest.param(document(), text(document()).replace(b"0.2", b"true", 1), id="true for a number"),
        pytest.param(document(), text(document()).replace(b"0.2", b"1e999", 1), id="infinity"),
        pytest.param(document(), text(document()).replace(b"0.2", b"9" * 25, 1), id="integer of 25 digits"),
        pytest.param(document(), text(document()).replace(b'"cpus":8', b'"cpus":' + b"9" * 25), id="long constant"),
        pytest.param(document(), text(document()).replace(b'"cpus":8', b'"cpus":NaN'), id="NaN as a constant"),
        pytest.param(document(), text(document()).replace(b'"time":[', b'"time":[-' + b"9" * 400), id="400 digits"),
        pytest.param(document(), text(document()).replace(b'"time":[', b'"time":[' + b"9" * 25), id="25 digits"),
        pytest.param(document(), text(document(time=[1, 2, 3], seq=2)), id="1970"),
        pytest.param(
            document(), text(document(time=[1, 2, 3])).replace(b"0.2", b"true", 1), id="1970 and not a number"
        ),
        pytest.param(document(time=[], keys=[], values=[]), text(document(time=[], keys=[], values=[0.5])), id="empty"),
        pytest.param(document(keys=[], values=[]), text(document(keys=[], values=[0.5])), id="no metrics"),
        pytest.param(
            document(devices={"time": []}, time=[], keys=["cpu"], values=[[]]),
            text(document(devices={"time": []}, time=[START], keys=["cpu"], values=[[0.5]])),
            id="a class named time",
        ),
    ],
)
def test_what_looks_like_a_known_envelope_but_is_not(known, raw):
    reader = reader_that_knows(text(known))

    _, wrong = outcome(reader, raw)

    assert wrong is None


def test_devices_known_from_another_envelope_must_be_as_many_of_each_class():
    two_disks = {"disk": ["a", "b"], "network": ["c"]}
    two_networks = {"network": ["a", "b"], "disk": ["c"]}
    keys, values = ["disk.read", "network.rx"], [[[1] * 3, [2] * 3], [[3] * 3]]
    reader = reader_that_knows(
        text(document(devices=two_networks, keys=["cpu", *keys[::-1]], values=[[0.5] * 3, *values])),
        text(document(devices=two_disks, keys=keys, values=values)),
    )

    frame, wrong = outcome(reader, text(document(devices=two_networks, keys=keys, values=values)))

    assert (frame.reason, wrong) == (RejectReason.RAGGED, None)


def test_envelopes_without_metrics_are_read_again_and_again():
    raw = text(document(keys=[], values=[], devices={}))
    reader = reader_that_knows(raw)

    batch = reader.read([(raw, RECEIVED)] * 3)

    assert [frame.layout.width for frame in batch.frames] == [0, 0, 0]


def test_null_device_class_is_refused_by_itself_and_leaves_the_reader_usable():
    reader = EnvelopeReader()

    frame, wrong = outcome(reader, text(document(devices={"disk": None})))

    assert (frame.reason, wrong) == (RejectReason.INVALID_FIELD, None)
    assert outcome(reader, text(document()))[1] is None


def test_broken_numbers_of_one_envelope_leave_its_batch_alone():
    raws = [text(document(seq=seq, keys=["cpu"], values=[[seq / 10] * 3])) for seq in (1, 2, 3)]
    raws.insert(1, raws[0].replace(b"[0.1,0.1,0.1]", b"[0.1,0.1,false]"))
    reader = reader_that_knows(raws[0])

    batch = reader.read([(raw, RECEIVED) for raw in raws])

    assert batch.frames[1].reason is RejectReason.NOT_A_NUMBER
    found = [batch.numbers[frame.layout][frame.row].tolist() for frame in batch.frames if frame is not batch.frames[1]]
    assert found == [[[seq / 10] * 3] for seq in (1, 2, 3)]


def test_what_a_reader_remembers_is_bounded(monkeypatch):
    monkeypatch.setattr(validation, "MAX_SKELETON_BYTES", 5000)
    reader = EnvelopeReader()
    remembered = []

    for number in range(1, 300):
        raw = text(document(time=samples(number, START, 1), devices={}, keys=["cpu"], values=[[0.5] * number]))
        assert outcome(reader, raw)[1] is None
        remembered.append(sum(map(len, reader._known)))

    assert 2000 < max(remembered) <= 5000
    assert len(remembered) > len(reader._known)
