"""Building, packing and unpacking envelopes: what the agent's side of the wire language promises."""

import ast
import json
import sys
import tracemalloc
import zlib
from pathlib import Path

import pytest

import telemetry.envelope
from telemetry.envelope import GZIP_MAGIC, MAX_DOCUMENT_BYTES, MAX_ENVELOPE_BYTES, columns_of, encode, inflate
from telemetry.errors import EnvelopeRejected, RejectReason
from tests.builders import devices, envelope, packed


def rejection(raw, **options):
    with pytest.raises(EnvelopeRejected) as refused:
        inflate(raw, **options)
    return refused.value


def test_large_envelope_is_compressed_and_inflates_to_its_document():
    said = envelope(number=6)

    raw = encode(said)

    assert raw[:2] == GZIP_MAGIC
    assert json.loads(inflate(raw)) == said.document()


def test_encoding_is_never_larger_than_the_document():
    said = envelope(number=0, cluster="a", node="b", metrics={})

    assert len(encode(said)) <= len(json.dumps(said.document(), separators=(",", ":")))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_number_that_json_cannot_say_is_refused_by_the_encoder(value):
    with pytest.raises(ValueError, match="JSON"):
        encode(envelope(value=value))


def test_resource_is_left_out_when_the_envelope_has_none():
    assert "resource" not in envelope().document()
    assert envelope(resource={"cpus": 8}).document()["resource"] == {"cpus": 8}


def test_devices_are_named_once_and_their_metrics_keyed_by_class():
    said = envelope(number=2, metrics={"cpu": [0, 1]}, devices=devices(2, 7, filesystem=("/", "/data")))

    document = said.document()

    assert document["devices"] == {"filesystem": ["/", "/data"]}
    assert document["keys"] == ["cpu", "filesystem.used", "filesystem.full", "filesystem.inodes"]
    assert document["values"] == [[0, 1]] + [[[7, 7], [7, 7]]] * 3


def test_columns_keep_order_fill_gaps_with_null_and_leave_out_what_no_sample_has():
    found = columns_of([{"cpu": 0.1, "gone": None}, {"mem": 0.5, "cpu": None}, {}])

    assert found == {"cpu": [0.1, None, None], "mem": [None, 0.5, None]}
    assert list(found) == ["cpu", "mem"]


def test_event_larger_than_event_hubs_allows_is_refused():
    error = rejection(b"x" * (MAX_ENVELOPE_BYTES + 1))

    assert error.reason is RejectReason.TOO_LARGE
    assert str(MAX_ENVELOPE_BYTES + 1) in error.detail


def test_ten_megabytes_are_refused_without_a_copy():
    raw = b"{" * 10_000_000
    tracemalloc.start()
    try:
        error = rejection(raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert error.reason is RejectReason.TOO_LARGE
    assert peak < 100_000


def test_gzip_bomb_is_refused_with_bounded_memory():
    bomb = zlib.compress(b"0" * 100_000_000, 1, 31)
    assert len(bomb) < MAX_ENVELOPE_BYTES
    tracemalloc.start()
    try:
        error = rejection(bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert error.reason is RejectReason.TOO_LARGE
    assert "inflates to more than" in error.detail
    assert peak < 4 * MAX_DOCUMENT_BYTES


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
def test_inflated_size_is_limited_to_the_byte(size, fits):
    raw = packed(b"0" * size)

    if fits:
        assert len(inflate(raw, limit=1000)) == size
    else:
        assert rejection(raw, limit=1000).reason is RejectReason.TOO_LARGE


@pytest.mark.parametrize("kept", [2, 3, 9, 10, 11, 20, -9, -8, -4, -1])
def test_truncated_gzip_is_refused_wherever_it_ends(kept):
    whole = packed(b"an envelope, say" * 10)

    error = rejection(whole[:kept])

    assert error.reason is RejectReason.BAD_COMPRESSION
    assert "truncated" in error.detail


@pytest.mark.parametrize("tail", [b"\x00", b"{}", packed(b"{}")])
def test_bytes_after_the_gzip_stream_are_refused_and_counted(tail):
    error = rejection(packed(b"{}") + tail)

    assert error.reason is RejectReason.BAD_COMPRESSION
    assert f"{len(tail)} bytes follow" in error.detail


def test_wrong_checksum_is_refused():
    whole = bytearray(packed(b"an envelope"))
    whole[-6] ^= 1

    error = rejection(bytes(whole))

    assert error.reason is RejectReason.BAD_COMPRESSION
    assert "incorrect" in error.detail


def test_gzip_inside_gzip_is_not_unpacked_twice():
    inner = packed(b"{}")

    assert inflate(packed(inner)) == inner


def test_what_the_agent_imports_needs_the_standard_library_only():
    """The agent's footprint is decided by what it imports; pydantic alone would double it."""
    folder = Path(telemetry.envelope.__file__).parent
    for name in ("__init__", "envelope", "catalogue", "errors"):
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom):
                roots = {(node.module or "").split(".")[0]}
            elif isinstance(node, ast.Import):
                roots = {alias.name.split(".")[0] for alias in node.names}
            else:
                continue
            assert roots <= sys.stdlib_module_names | {"telemetry"}, name
