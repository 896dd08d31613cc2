"""BlobDeadLetters on Azurite: raw bytes, reasons, order, pages."""

import base64
import json
import uuid

import pytest
from azure.storage.blob import ContainerClient

from functions.adapters.continuation import BadContinuation
from functions.adapters.dead_letter_blobs import BlobDeadLetters, DeadLetterSummary
from functions.bindings.services import BLOB_RETRIES, TIME_LIMITS
from functions.core.ports import DeadLetter, Event, Position
from functions.core.rows import blob_name
from telemetry.errors import EnvelopeRejected, RejectReason, StoreUnavailable

RECEIVED = 1_800_000_000_000


@pytest.fixture
def container(azurite):
    name = f"dead-{uuid.uuid4().hex}"
    options = {**TIME_LIMITS, **BLOB_RETRIES}
    with ContainerClient.from_connection_string(azurite.connection_string, name, **options) as client:
        yield client


@pytest.fixture
def dead_letters(container):
    dead_letters = BlobDeadLetters(container)
    dead_letters.create_container()
    return dead_letters


def letter(raw=b"raw", *, detail="what was wrong", sequence=7, received=RECEIVED, partition="3"):
    error = EnvelopeRejected(RejectReason.NOT_JSON, detail)
    return DeadLetter(Event(raw, Position("telemetry", partition, sequence, received)), error)


def listed(dead_letters):
    found, following = dead_letters.page(limit=1000, continuation=None)
    assert following is None
    return found


def test_letter_is_listed_with_its_reason_and_position(dead_letters):
    dead_letters.put([letter(b"12345")])

    assert listed(dead_letters) == [
        DeadLetterSummary(
            blob_name(letter()), "not_json", "what was wrong", 5, RECEIVED, "telemetry", partition="3", sequence=7
        )
    ]


def test_letter_put_twice_is_there_once(dead_letters):
    dead_letters.put([letter(), letter(sequence=8)])
    dead_letters.put([letter()])

    assert [summary.sequence for summary in listed(dead_letters)] == [7, 8]


def test_no_letters_are_no_error(dead_letters):
    dead_letters.put([])

    assert listed(dead_letters) == []


@pytest.mark.parametrize(
    "raw", [b"", b"\x00", bytes(range(256)), b"\x1f\x8b\x08not gzip", b'{"a": 1}\r\n', b"x" * 1024 * 1024]
)
def test_raw_bytes_come_back_as_they_were(dead_letters, raw):
    dead_letters.put([letter(raw)])

    assert dead_letters.raw(blob_name(letter())) == raw
    assert listed(dead_letters)[0].size == len(raw)


@pytest.mark.parametrize(
    "detail",
    [
        "",
        " ",
        "  spaces at both ends  ",
        "two  spaces and a\ttab",
        "line\r\nx-ms-meta-reason: forged",
        "snowman ☃, emoji 😀, nul \x00, delete \x7f",
        "100% of %41 and %zz",
        "quotes \" and ' and <xml> & more",
        "😀" * 512,
        "x" * 511 + " ",
    ],
)
def test_detail_survives_the_way_through_http_headers(dead_letters, detail):
    dead_letters.put([letter(detail=detail)])

    summary = listed(dead_letters)[0]
    assert (summary.reason, summary.detail) == ("not_json", detail)


def test_detail_that_is_no_text_does_not_hold_up_the_batch(dead_letters):
    dead_letters.put([letter(detail="before \ud800 after")])

    assert listed(dead_letters)[0].detail == "before ? after"


def test_newest_letter_is_listed_first(dead_letters):
    times = {1: RECEIVED, 2: RECEIVED + 5, 3: RECEIVED - 100_000_000_000, 4: RECEIVED + 60_000}

    dead_letters.put([letter(sequence=sequence, received=time) for sequence, time in times.items()])

    assert [summary.sequence for summary in listed(dead_letters)] == [4, 2, 1, 3]
    assert [summary.enqueued_ms for summary in listed(dead_letters)] == sorted(times.values(), reverse=True)


@pytest.mark.parametrize("limit", [1, 3, 6, 7, 8])
def test_pages_give_every_letter_once(dead_letters, limit):
    dead_letters.put([letter(sequence=sequence, received=RECEIVED - sequence) for sequence in range(7)])

    found, continuation = dead_letters.page(limit=limit, continuation=None)
    sequences, pages = [summary.sequence for summary in found], 1
    while continuation is not None and pages < 10:
        found, continuation = dead_letters.page(limit=limit, continuation=continuation)
        assert len(found) <= limit
        sequences += [summary.sequence for summary in found]
        pages += 1

    assert continuation is None
    assert sequences == list(range(7))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zzz",
        "\x00",
        "8204601218946/telemetry/0/2",
        *(
            base64.urlsafe_b64encode(json.dumps(document).encode()).decode()
            for document in (
                {"Marker": "\x00"},
                {"Marker": None},
                {"Marker": 1},
                {"Marker": "\ud800"},
                {"Row": "x"},
                [],
            )
        ),
    ],
)
def test_token_no_page_gave_is_refused(dead_letters, text):
    with pytest.raises(BadContinuation):
        dead_letters.page(limit=1, continuation=text)


def test_name_nobody_put_has_no_bytes(dead_letters):
    dead_letters.put([letter()])

    assert dead_letters.raw(blob_name(letter(sequence=8))) is None


def test_container_that_is_already_there_is_no_error(dead_letters):
    dead_letters.put([letter()])

    dead_letters.create_container()

    assert len(listed(dead_letters)) == 1


def test_missing_container_is_not_an_unknown_letter(container):
    with pytest.raises(StoreUnavailable):
        BlobDeadLetters(container).raw(blob_name(letter()))
