"""A model as bytes and back: plain arrays and JSON, checked by a CRC, never pickled. Pure.

Magic and version, CRC-32 of the rest, then an npz archive of numbers and of one JSON document. numpy is told to refuse
objects, so nothing in the bytes can be run; what is damaged, foreign or of a newer version is refused by name.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Any

import numpy as np
import orjson

from functions.core.fleet_model.drift import BINS, SCORE_EDGES
from functions.core.fleet_model.model import HOURS, FleetModel, Reference
from telemetry.layout import Floats
from telemetry.tables import FEATURES

_KIND, _VERSION = b"DMF", 1
_PREFIX = len(_KIND) + 1 + 4
LARGEST_BYTES = 32 * 1024 * 1024
"""More is no model: a hundred pools are 1 MB."""
_ARRAYS = ("median", "scale", "mean", "precision", "longest", "calibration")


class ModelUnreadable(ValueError):
    """Bytes that are no model this build can use; says why."""


def encode_model(model: FleetModel) -> bytes:
    """The model as bytes."""
    document = {"id": model.id, "features": model.features, "pools": model.pools, "facts": model.facts}
    arrays = {name: getattr(model, name) for name in _ARRAYS}
    arrays |= {f"reference_{name}": array for name, array in model.reference._asdict().items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, document=np.frombuffer(orjson.dumps(document), np.uint8), **arrays)
    body = buffer.getvalue()
    return _KIND + bytes([_VERSION]) + zlib.crc32(body).to_bytes(4, "little") + body


def decode_model(blob: bytes) -> FleetModel:
    """The model back from its bytes. Raises ModelUnreadable."""
    if blob[: len(_KIND)] != _KIND:
        raise ModelUnreadable(f"these {len(blob)} bytes begin with {blob[:4]!r}; a fleet model begins with {_KIND!r}")
    version = blob[len(_KIND)] if len(blob) > len(_KIND) else 0
    if version != _VERSION:
        raise ModelUnreadable(f"the model is of version {version}; this build reads {_VERSION}: train anew")
    body = blob[_PREFIX:]
    if len(blob) > LARGEST_BYTES or blob[len(_KIND) + 1 : _PREFIX] != zlib.crc32(body).to_bytes(4, "little"):
        raise ModelUnreadable(f"the model's {len(blob)} bytes are damaged: their checksum is another")
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        document = orjson.loads(arrays.pop("document").tobytes())
        reference = Reference(*(_floats(arrays[f"reference_{name}"]) for name in Reference._fields))
        model = FleetModel(
            id=str(document["id"]),
            features=tuple(map(str, document["features"])),
            pools=tuple((str(cluster), str(pool)) for cluster, pool in document["pools"]),
            **{name: _floats(arrays[name]) for name in _ARRAYS},
            reference=reference,
            facts=dict(document["facts"]),
        )
    except (ValueError, LookupError, TypeError, OverflowError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ModelUnreadable(f"the model's {len(blob)} bytes cannot be read: {error}") from None
    _check(model)
    return model


def _floats(array: Any) -> Floats:
    if array.dtype != np.float64:
        raise ValueError(f"expected numbers of 64 bits, got {array.dtype}")
    return np.asarray(array, np.float64)


def _check(model: FleetModel) -> None:
    """Refuses a model whose features this build does not have, or whose arrays do not belong together."""
    unknown = [name for name in model.features if name not in FEATURES]
    if unknown:
        raise ModelUnreadable(
            f"the model judges by {', '.join(unknown[:5])}, which this build does not know: train anew"
        )
    pools, features = len(model.pools), len(model.features)
    expected = {
        "median": (pools, HOURS, features),
        "scale": (pools, features),
        "mean": (features,),
        "precision": (features, features),
        "longest": (2, features),
        "calibration": (2, model.calibration.size // 2),
    }
    found = {name: getattr(model, name).shape for name in expected}
    expected |= {"edges": (features, BINS - 1), "shares": (features, BINS)}
    expected |= {"usual_psi": (features,), "missing": (features,), "scores": (len(SCORE_EDGES) + 1,)}
    found |= {name: array.shape for name, array in model.reference._asdict().items()}
    wrong = [f"{name} is {found[name]}, not {shape}" for name, shape in expected.items() if found[name] != shape]
    if wrong or model.calibration.size < 2:
        raise ModelUnreadable(f"the model's arrays do not belong together: {'; '.join(wrong) or 'no calibration'}")
    numbers = [getattr(model, name) for name in _ARRAYS]
    if not all(np.isfinite(array).all() for array in numbers):
        raise ModelUnreadable("the model holds numbers that are not finite: train anew")
    if (model.scale <= 0).any() or (model.longest <= 0).any() or (np.diag(model.precision) <= 0).any():
        raise ModelUnreadable("the model divides by zero or less: train anew")
