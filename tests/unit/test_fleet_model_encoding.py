"""A model's bytes: come back as they went, and whatever is damaged, foreign or newer is refused by name."""

import io
import pickle
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.core.fleet_model.encoding import ModelUnreadable, decode_model, encode_model
from functions.core.fleet_model.model import FleetModel
from functions.core.fleet_model.training import fit, split
from tests.fleet_rows import POOL, fleet_rows

ROWS = fleet_rows(pools=(POOL, ("c", "größe/2")))
MODEL = fit(split(ROWS), "m1", {"rows": len(ROWS), "window": ["2026-01-01T00:00:00Z", "2026-01-08T00:00:00Z"]})
BLOB = encode_model(MODEL)


def other(**changes):
    """The model's bytes with some fields changed."""
    values = {name: getattr(MODEL, name) for name in FleetModel.__dataclass_fields__}
    return encode_model(FleetModel(**{**values, **changes}))


def sealed(body):
    """Bytes with the right beginning and checksum."""
    return b"DMF\x01" + zlib.crc32(body).to_bytes(4, "little") + body


def test_model_comes_back_and_scores_to_the_last_bit_as_before():
    found = decode_model(BLOB)

    assert (found.id, found.features, found.pools, found.facts) == ("m1", MODEL.features, MODEL.pools, MODEL.facts)
    before, after = (model.scores(ROWS.pools, ROWS.minutes, ROWS.features) for model in (MODEL, found))
    assert np.array_equal(before, after)
    assert all(np.array_equal(a, b) for a, b in zip(MODEL.reference, found.reference, strict=True))


def test_model_is_small():
    assert len(BLOB) < 100_000


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (b"", "begin with b''"),
        (b"PK\x03\x04 something", "a fleet model begins with b'DMF'"),
        (pickle.dumps({"model": 1}), "begins with b'DMF'"),
        (b"DMF", "of version 0; this build reads 1: train anew"),
        (b"DMF\x02" + BLOB[4:], "of version 2; this build reads 1: train anew"),
        (BLOB[:-1], "damaged"),
        (BLOB[:50], "damaged"),
        (BLOB + b"x", "damaged"),
        (sealed(b""), "cannot be read"),
        (sealed(b"no archive at all"), "cannot be read"),
        (other(features=("NoSuchMetric", *MODEL.features[1:])), "judges by NoSuchMetric, which this build"),
        (other(features=MODEL.features[:-1]), "do not belong together: median is"),
        (other(pools=()), "do not belong together: median is"),
        (other(calibration=np.zeros((3, 4))), "calibration is"),
        (other(calibration=np.zeros(2)), "calibration is"),
        (other(reference=MODEL.reference._replace(edges=np.zeros((1, 2)))), "edges is"),
        (other(scale=0 * MODEL.scale), "divides by zero"),
        (other(mean=MODEL.mean * np.nan), "not finite"),
        (other(mean=MODEL.mean.astype(np.float32)), "expected numbers of 64 bits"),
    ],
)
def test_what_is_no_usable_model_is_refused_with_the_reason(blob, words):
    with pytest.raises(ModelUnreadable, match=words):
        decode_model(blob)


def test_objects_are_never_unpickled():
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    buffer = io.BytesIO()
    np.savez(buffer, document=np.array([Bomb()], dtype=object))

    with pytest.raises(ModelUnreadable, match="cannot be read"):
        decode_model(sealed(buffer.getvalue()))


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, len(BLOB) - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused(place, bit):
    damaged = bytearray(BLOB)
    damaged[place] ^= 1 << bit

    with pytest.raises(ModelUnreadable):
        decode_model(bytes(damaged))
