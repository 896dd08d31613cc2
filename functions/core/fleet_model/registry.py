"""Promoted models and the pointer to the one that serves, over `VersionedBlobs`. Pure but for that port.

`current` is a small JSON document, replaced under its ETag; `models/ID` holds a model and is never replaced. A reader
that knows the pointer's version asks for changes only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import orjson

from functions.core.fleet_model.encoding import ModelUnreadable, decode_model, encode_model
from functions.core.fleet_model.model import FleetModel
from functions.core.ports import VersionedBlobs

POINTER = "current"


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which model serves, if any, and why not."""

    model: str = ""
    """Id of the model promoted last; empty: none was ever."""
    promoted_ms: int = 0
    suspended: str = ""
    """Why it does not serve; empty: it does."""
    attempted_ms: int = 0
    """When training was last tried."""
    outcome: str = ""
    """What came of it."""

    @property
    def serves(self) -> bool:
        """Whether windows are to be scored with the model."""
        return bool(self.model) and not self.suspended


class Registry:
    """The models of one function app."""

    def __init__(self, blobs: VersionedBlobs) -> None:
        self._blobs = blobs

    def pointer(self) -> tuple[Pointer, str | None]:
        """The pointer and its version; of none, one that points at nothing.

        Raises StoreUnavailable, and ModelUnreadable for a pointer that is none.
        """
        found = self._blobs.load(POINTER)
        assert found is not None  # no `unless` was given
        return (Pointer() if found.blob is None else _decode_pointer(found.blob)), found.version

    def pointer_unless(self, version: str) -> tuple[Pointer, str | None] | None:
        """The same; None while it still has this version."""
        found = self._blobs.load(POINTER, unless=version)
        if found is None:
            return None
        return (Pointer() if found.blob is None else _decode_pointer(found.blob)), found.version

    def point(self, pointer: Pointer, version: str | None) -> str:
        """Replaces the pointer. Raises StateConflict if it is of another version, StoreUnavailable."""
        return self._blobs.save(POINTER, orjson.dumps(asdict(pointer)), version)

    def replace(self, **changes: Any) -> Pointer:
        """Changes the pointer as it is now. Raises StateConflict, StoreUnavailable."""
        try:
            pointer, version = self.pointer()
        except ModelUnreadable:
            pointer, version = Pointer(), self._version()
        pointer = replace(pointer, **changes)
        self.point(pointer, version)
        return pointer

    def model(self, identity: str) -> FleetModel:
        """A promoted model. Raises ModelUnreadable if it is not there or unusable, StoreUnavailable."""
        found = self._blobs.load(f"models/{identity}")
        if found is None or found.blob is None:
            raise ModelUnreadable(f"the pointer names the model {identity}, which is not there: train anew")
        model = decode_model(found.blob)
        if model.id != identity:
            raise ModelUnreadable(f"the blob models/{identity} holds the model {model.id}: train anew")
        return model

    def promote(self, model: FleetModel, now_ms: int, outcome: str) -> Pointer:
        """Keeps a model and has the pointer name it. Raises StateConflict, StoreUnavailable."""
        self._blobs.save(f"models/{model.id}", encode_model(model), None)
        return self.replace(model=model.id, promoted_ms=now_ms, suspended="", attempted_ms=now_ms, outcome=outcome)

    def _version(self) -> str | None:
        found = self._blobs.load(POINTER)
        assert found is not None
        return found.version


def _decode_pointer(blob: bytes) -> Pointer:
    try:
        document = orjson.loads(blob)
        if not isinstance(document, dict):
            raise ValueError("it is no object")
        known = {field.name: document[field.name] for field in fields(Pointer) if field.name in document}
        texts = all(isinstance(known.get(name, ""), str) for name in ("model", "suspended", "outcome"))
        numbers = all(type(known.get(name, 0)) is int for name in ("promoted_ms", "attempted_ms"))
        if not (texts and numbers):
            raise ValueError("its values are of other types")
        return Pointer(**known)
    except ValueError as error:
        raise ModelUnreadable(f"the pointer {POINTER} to the fleet model cannot be read: {error}") from None
