"""Payloads as agents of every schema version sent them: they are never made anew, so old agents stay understood."""

import base64
import json
import math
from pathlib import Path

import numpy as np
import pytest

from telemetry.catalogue import DEVICE_CLASSES
from telemetry.envelope import GZIP_MAGIC, IDENTITIES, Envelope, decode, encode, inflate
from telemetry.validation import EnvelopeReader, validate

GOLDEN = sorted((Path(__file__).parent / "golden").glob("v*.json"))


@pytest.fixture(params=GOLDEN, ids=lambda path: path.stem)
def golden(request):
    return json.loads(request.param.read_text())


def raw_of(golden):
    if "gzip_base64" in golden:
        return base64.b64decode(golden["gzip_base64"])
    return golden["text"].encode()


def read_back(frame):
    """The frame in the golden file's terms, every number under the path it has in the document."""
    names = dict(zip((device_class.key for device_class in DEVICE_CLASSES), frame.devices, strict=True))
    paths = []
    for key in frame.layout.key.keys:
        device_class = key.partition(".")[0]
        paths += [f"{key} of {name}" for name in names[device_class]] if device_class in names else [key]
    numbers = np.frombuffer(frame.values).reshape(-1, len(frame.time)).tolist()
    return {
        "cluster": frame.cluster,
        "node": frame.node,
        "instance": frame.instance,
        "seq": frame.seq,
        "time": frame.time,
        "resource": frame.resource,
        "columns": {
            path: [None if math.isnan(number) else number for number in row]
            for path, row in zip(paths, numbers, strict=True)
        },
    }


def envelope_of(expected):
    """The envelope an agent of today would build to say the same."""
    metrics, devices = {}, {}
    for path, column in expected["columns"].items():
        key, _, name = path.partition(" of ")
        if not name:
            metrics[key] = column
            continue
        device_class, _, metric = key.partition(".")
        block = devices.setdefault(device_class, {IDENTITIES[device_class]: []})
        if name not in block[IDENTITIES[device_class]]:
            block[IDENTITIES[device_class]].append(name)
        block.setdefault(metric, []).append(column)
    head = {key: expected[key] for key in ("cluster", "node", "instance", "seq", "time", "resource")}
    return Envelope(**head, metrics=metrics, devices=devices)


def test_golden_payloads_of_version_1_are_all_there():
    assert {path.stem for path in GOLDEN} == {
        "v1_devices_after",
        "v1_devices_before",
        "v1_gzip",
        "v1_nulls",
        "v1_plain",
        "v1_resource",
    }


def test_golden_payload_is_read_as_it_was_meant(golden):
    frame = validate(raw_of(golden), golden["received_ms"])

    assert read_back(frame) == golden["expected"]


def test_golden_payload_is_read_the_same_the_second_time_when_its_kind_is_known(golden):
    reader = EnvelopeReader()
    reader.parse(raw_of(golden), golden["received_ms"])

    again = reader.parse(raw_of(golden), golden["received_ms"])

    assert read_back(again) == golden["expected"]


def test_todays_encoder_says_it_in_the_words_of_the_golden_payload(golden):
    envelope = envelope_of(golden["expected"])

    assert json.loads(inflate(encode(envelope))) == json.loads(inflate(raw_of(golden)))


def test_todays_encoding_is_read_as_the_golden_payload(golden):
    envelope = envelope_of(golden["expected"])

    assert read_back(validate(encode(envelope), golden["received_ms"])) == golden["expected"]


def test_decode_gives_the_envelope_back(golden):
    envelope = envelope_of(golden["expected"])

    assert decode(encode(envelope)) == envelope
    assert decode(raw_of(golden)) == envelope


def test_compressed_golden_payload_is_told_by_its_magic_bytes():
    golden = json.loads((Path(__file__).parent / "golden" / "v1_gzip.json").read_text())

    assert raw_of(golden)[:2] == GZIP_MAGIC
