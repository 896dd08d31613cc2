"""A model's bytes: come back as they went, and whatever is damaged, foreign or newer is refused by name."""

import io
import pickle
import zlib
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.core.fleet_model.encoding import ModelUnreadable, decode_model, encode_model
from functions.core.fleet_model.model import FleetModel
from functions.core.fleet_model.training import fit, split
from tests.fleet_rows import POOL, fleet_rows

ROWS = fleet_rows(pools=(POOL, ("c", "größe/2")))


@cache
def model():
    """Made by the first test that needs it, for training takes a second's imports."""
    window = ["2026-01-01T00:00:00Z", "2026-01-08T00:00:00Z"]
    return fit(split(ROWS), "m1", {"rows": len(ROWS), "window": window})


@cache
def blob():
    return encode_model(model())


def other(**changes):
    """The model's bytes with some fields changed."""
    values = {name: getattr(model(), name) for name in FleetModel.__dataclass_fields__}
    return encode_model(FleetModel(**{**values, **changes}))


def sealed(body):
    """Bytes with the right beginning and checksum."""
    return b"DMF\x01" + zlib.crc32(body).to_bytes(4, "little") + body


def test_model_comes_back_and_scores_to_the_last_bit_as_before():
    found = decode_model(blob())

    assert (found.id, found.features, found.pools, found.facts) == (
        "m1",
        model().features,
        model().pools,
        model().facts,
    )
    before, after = (one.scores(ROWS.pools, ROWS.minutes, ROWS.features) for one in (model(), found))
    assert np.array_equal(before, after)
    assert all(np.array_equal(a, b) for a, b in zip(model().reference, found.reference, strict=True))


def test_model_is_small():
    assert len(blob()) < 100_000


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (lambda: b"", "begin with b''"),
        (lambda: b"PK\x03\x04 something", "a fleet model begins with b'DMF'"),
        (lambda: pickle.dumps({"model": 1}), "begins with b'DMF'"),
        (lambda: b"DMF", "of version 0; this build reads 1: train anew"),
        (lambda: b"DMF\x02" + blob()[4:], "of version 2; this build reads 1: train anew"),
        (lambda: blob()[:-1], "damaged"),
        (lambda: blob()[:50], "damaged"),
        (lambda: blob() + b"x", "damaged"),
        (lambda: sealed(b""), "cannot be read"),
        (lambda: sealed(b"no archive at all"), "cannot be read"),
        (lambda: other(features=("NoSuchMetric", *model().features[1:])), "judges by NoSuchMetric, which this build"),
        (lambda: other(features=model().features[:-1]), "do not belong together: median is"),
        (lambda: other(pools=()), "do not belong together: median is"),
        (lambda: other(calibration=np.zeros((3, 4))), "calibration is"),
        (lambda: other(calibration=np.zeros(2)), "calibration is"),
        (lambda: other(reference=model().reference._replace(edges=np.zeros((1, 2)))), "edges is"),
        (lambda: other(scale=0 * model().scale), "divides by zero"),
        (lambda: other(mean=model().mean * np.nan), "not finite"),
        (lambda: other(mean=model().mean.astype(np.float32)), "expected numbers of 64 bits"),
    ],
)
def test_what_is_no_usable_model_is_refused_with_the_reason(damaged, words):
    with pytest.raises(ModelUnreadable, match=words):
        decode_model(damaged())


def test_objects_are_never_unpickled():
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    buffer = io.BytesIO()
    np.savez(buffer, document=np.array([Bomb()], dtype=object))

    with pytest.raises(ModelUnreadable, match="cannot be read"):
        decode_model(sealed(buffer.getvalue()))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused(data, bit):
    damaged = bytearray(blob())
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= 1 << bit

    with pytest.raises(ModelUnreadable):
        decode_model(bytes(damaged))
