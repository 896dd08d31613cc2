"""What every DeadLetters promises (functions.core.ports)."""

import secrets

import pytest

from functions.core.ports import DeadLetter, Event, Position
from telemetry.errors import EnvelopeRejected, RejectReason
from tests.conformance.port_factories import DEAD_LETTERS


@pytest.fixture(params=DEAD_LETTERS)
def dead_letters(request):
    with DEAD_LETTERS[request.param]() as letters:
        yield letters


@pytest.fixture
def hub():
    """An event hub of this test's own: the letters may be shared with other tests."""
    return f"hub-{secrets.token_hex(6)}"


def letter(hub, sequence=1, raw=b"raw", *, partition="0", reason=RejectReason.NOT_JSON, detail="what was wrong"):
    event = Event(raw, Position(hub, partition, sequence, 1_790_000_000_000))
    return DeadLetter(event, EnvelopeRejected(reason, detail))


def kept(under_test, hub):
    return {position: found for position, found in under_test.kept().items() if position.event_hub == hub}


@pytest.mark.parametrize("raw", [b"", b"\x00\xff\xfe", b"{}", b"x" * 1_048_577], ids=len)
def test_bytes_are_kept_as_they_came(dead_letters, hub, raw):
    one = letter(hub, raw=raw)

    dead_letters.letters.put([one])

    assert kept(dead_letters, hub) == {one.event.position: (raw, "not_json", "what was wrong")}


@pytest.mark.parametrize("detail", ["", "x" * 512, "é\u4e2d\U0001f600 100% \"q\" 'q' <b> a=b&c", "\U0001f600" * 512])
def test_detail_is_kept_whole(dead_letters, hub, detail):
    dead_letters.letters.put([letter(hub, detail=detail)])

    assert [found[2] for found in kept(dead_letters, hub).values()] == [detail]


@pytest.mark.parametrize("reason", RejectReason)
def test_reason_is_kept(dead_letters, hub, reason):
    dead_letters.letters.put([letter(hub, reason=reason)])

    assert [found[1] for found in kept(dead_letters, hub).values()] == [reason.value]


def test_putting_the_same_position_again_changes_nothing(dead_letters, hub):
    for _ in range(3):
        dead_letters.letters.put([letter(hub, 1), letter(hub, 2)])

    assert [position.sequence for position in kept(dead_letters, hub)] == [1, 2]


def test_positions_of_different_partitions_are_apart(dead_letters, hub):
    dead_letters.letters.put([letter(hub, raw=b"zero", partition="0"), letter(hub, raw=b"one", partition="1")])

    assert sorted(found[0] for found in kept(dead_letters, hub).values()) == [b"one", b"zero"]


def test_letters_may_come_from_a_generator(dead_letters, hub):
    dead_letters.letters.put(letter(hub, sequence) for sequence in range(1, 4))

    assert len(kept(dead_letters, hub)) == 3


def test_no_letters_are_no_letters(dead_letters, hub):
    dead_letters.letters.put([])

    assert kept(dead_letters, hub) == {}
