"""Promoted models: kept for ever, one of them pointed at, nothing lost or hidden when something is damaged."""

import orjson
import pytest

from functions.adapters.memory import MemoryBlobs, Moment
from functions.core.fleet_model.encoding import ModelUnreadable
from functions.core.fleet_model.registry import POINTER, Pointer, Registry
from functions.core.fleet_model.training import fit, split
from telemetry.errors import StateConflict, StoreUnavailable
from tests.fleet_rows import fleet_rows

PARTS = split(fleet_rows())


@pytest.fixture
def blobs():
    return MemoryBlobs()


@pytest.fixture
def registry(blobs):
    return Registry(blobs)


def test_nothing_promoted_is_a_pointer_at_nothing(registry):
    pointer, version = registry.pointer()

    assert (pointer, version) == (Pointer(), None)
    assert not pointer.serves


def test_promoted_model_serves_and_the_one_before_is_kept(registry):
    registry.promote(fit(PARTS, "m1"), 1_000, "first")
    registry.promote(fit(PARTS, "m2"), 2_000, "better")

    pointer, _ = registry.pointer()
    assert pointer == Pointer("m2", 2_000, "", 2_000, "better")
    assert pointer.serves
    assert registry.model("m1").id == "m1"


def test_suspended_model_does_not_serve_until_one_is_promoted(registry):
    registry.promote(fit(PARTS, "m1"), 1_000, "first")

    registry.replace(suspended="inputs have drifted")
    assert not registry.pointer()[0].serves

    registry.promote(fit(PARTS, "m2"), 2_000, "better")
    assert registry.pointer()[0].serves


def test_pointer_is_asked_for_changes_only(registry):
    registry.promote(fit(PARTS, "m1"), 1_000, "first")
    _, version = registry.pointer()

    assert registry.pointer_unless(version) is None
    registry.replace(outcome="not better")
    assert registry.pointer_unless(version)[0].outcome == "not better"


def test_pointer_that_changed_meanwhile_is_not_overwritten(registry):
    registry.promote(fit(PARTS, "m1"), 1_000, "first")
    pointer, version = registry.pointer()
    registry.replace(suspended="drifted")

    with pytest.raises(StateConflict):
        registry.point(pointer, version)
    assert registry.pointer()[0].suspended == "drifted"


def test_crash_between_model_and_pointer_leaves_the_one_before(registry, blobs):
    registry.promote(fit(PARTS, "m1"), 1_000, "first")
    blobs.faults.fail("save", Moment.BEFORE, after_calls=1)

    with pytest.raises(StoreUnavailable):
        registry.promote(fit(PARTS, "m2"), 2_000, "better")

    assert registry.pointer()[0].model == "m1"


@pytest.mark.parametrize(
    "blob", [b"", b"no json", b"[]", b"7", b"null", orjson.dumps({"model": 7}), orjson.dumps({"promoted_ms": "now"})]
)
def test_damaged_pointer_is_refused_and_healed_by_the_next_promotion(registry, blobs, blob):
    blobs.save(POINTER, blob, None)

    with pytest.raises(ModelUnreadable, match="pointer current"):
        registry.pointer()
    registry.promote(fit(PARTS, "m1"), 1_000, "first")
    assert registry.pointer()[0].model == "m1"


def test_field_of_a_newer_build_is_ignored(registry, blobs):
    blobs.save(POINTER, orjson.dumps({"model": "m1", "colour": "blue"}), None)

    assert registry.pointer()[0] == Pointer("m1")


def test_model_that_is_gone_or_another_is_refused(registry, blobs):
    registry.promote(fit(PARTS, "m1"), 1_000, "first")
    blobs.save("models/m3", blobs.load("models/m1").blob, None)

    with pytest.raises(ModelUnreadable, match="m2, which is not there"):
        registry.model("m2")
    with pytest.raises(ModelUnreadable, match="holds the model m1"):
        registry.model("m3")
