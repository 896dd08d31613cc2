"""The model at hand: known at once, looked at again every few minutes, never in the way of who asks."""

import logging
import threading

import pytest

from functions.adapters.memory import MemoryBlobs
from functions.adapters.served_model import REFRESH_S, ServedModel
from functions.core.fleet_model.registry import POINTER, Registry
from functions.core.fleet_model.training import fit, split
from tests.eventually import eventually
from tests.fleet_rows import fleet_rows

PARTS = split(fleet_rows())


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class CountingBlobs(MemoryBlobs):
    def __init__(self):
        super().__init__()
        self.loads = []

    def load(self, name, *, unless=None):
        self.loads.append(name)
        return super().load(name, unless=unless)


@pytest.fixture
def blobs():
    return CountingBlobs()


@pytest.fixture
def registry(blobs):
    return Registry(blobs)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def served(registry, clock):
    return ServedModel(registry, clock=clock, background=False)


def test_nothing_promoted_is_no_model(served):
    assert served() is None
    assert served.state == "absent"


def test_promoted_model_is_found_within_minutes_and_loaded_once(served, registry, clock, blobs):
    served()
    registry.promote(fit(PARTS, "m1"), 1, "first")
    assert served() is None

    clock.now += REFRESH_S
    assert served().id == "m1"
    for _ in range(3):
        clock.now += REFRESH_S
        assert served().id == "m1"

    assert blobs.loads.count("models/m1") == 1
    assert served.state == "serving"


def test_between_looks_storage_is_not_asked(served, registry, clock, blobs):
    registry.promote(fit(PARTS, "m1"), 1, "first")
    served()
    asked = len(blobs.loads)

    for _ in range(100):
        clock.now += REFRESH_S / 200
        served()

    assert len(blobs.loads) == asked


def test_suspended_model_is_none_and_comes_back(served, registry, clock, caplog):
    registry.promote(fit(PARTS, "m1"), 1, "first")
    served()
    registry.replace(suspended="inputs have drifted")
    clock.now += REFRESH_S

    with caplog.at_level(logging.WARNING):
        assert served() is None
    assert served.state == "suspended"
    assert "the streaming detectors decide alone: inputs have drifted" in caplog.text

    registry.promote(fit(PARTS, "m2"), 2, "better")
    clock.now += REFRESH_S
    assert served().id == "m2"


def test_storage_that_is_down_leaves_the_model_as_it_was(served, registry, clock, blobs):
    registry.promote(fit(PARTS, "m1"), 1, "first")
    served()
    blobs.faults.fail("load")
    clock.now += REFRESH_S

    assert served().id == "m1"
    assert served.state == "serving"


def test_storage_that_is_down_at_first_is_asked_again(served, registry, clock, blobs):
    registry.promote(fit(PARTS, "m1"), 1, "first")
    blobs.faults.fail("load")

    assert served() is None
    assert served.state == "unknown"
    clock.now += REFRESH_S
    assert served().id == "m1"


@pytest.mark.parametrize("name", ["models/m1", POINTER])
def test_damaged_blob_is_no_model_and_said(served, registry, clock, blobs, caplog, name):
    registry.promote(fit(PARTS, "m1"), 1, "first")
    good = blobs.load(name)
    blobs.save(name, b"damaged", good.version)

    assert served() is None
    assert served.state == "unreadable"
    assert "windows are not compared with their pools" in caplog.text

    blobs.save(name, good.blob, blobs.load(name).version)
    clock.now += REFRESH_S
    assert served().id == "m1"


def test_clock_that_goes_back_is_no_reason_not_to_look(served, registry, clock):
    served()
    registry.promote(fit(PARTS, "m1"), 1, "first")
    clock.now -= 500

    assert served().id == "m1"


def test_who_asks_does_not_wait_for_slow_storage(registry, blobs, monkeypatch):
    registry.promote(fit(PARTS, "m1"), 1, "first")
    may_go_on, load = threading.Event(), blobs.load
    monkeypatch.setattr(blobs, "load", lambda *name, **options: may_go_on.wait(10) and load(*name, **options))
    served = ServedModel(registry)

    assert [served() for _ in range(3)] == [None] * 3
    may_go_on.set()

    eventually(lambda: served() is not None, "the model")
    assert served().id == "m1"
