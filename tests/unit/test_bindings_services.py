"""The services the functions share: made once, by whoever comes first, again after a failure."""

import threading
import time
from types import SimpleNamespace

import pytest

from functions.bindings import services as module
from functions.bindings.services import LONGEST_RETRY_AFTER, RETRIES, PromptRetry, services
from telemetry.errors import SettingsError, StoreUnavailable


@pytest.fixture(autouse=True)
def nothing_made_yet(monkeypatch):
    module._services.cache_clear()
    monkeypatch.setattr(module, "read_settings", lambda environment: "the settings")
    yield
    module._services.cache_clear()


def test_services_are_made_once_for_all_callers(monkeypatch):
    made = []
    monkeypatch.setattr(module, "Services", lambda settings: made.append(settings) or object())

    assert services() is services()
    assert made == ["the settings"]


def test_two_first_callers_at_the_same_time_make_one(monkeypatch):
    making, made, got = threading.Event(), [], []

    def slow(settings):
        making.set()
        time.sleep(0.05)
        made.append(object())
        return made[-1]

    monkeypatch.setattr(module, "Services", slow)
    callers = [threading.Thread(target=lambda: got.append(services())) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)

    assert making.is_set()
    assert len(made) == 1
    assert got == made * 8


@pytest.mark.parametrize("error", [StoreUnavailable("down"), SettingsError(["bad"])])
def test_failed_first_call_is_tried_again_by_the_next(monkeypatch, error):
    outcomes = [error, "the services"]

    def make(settings):
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(module, "Services", make)

    with pytest.raises(type(error)):
        services()
    assert services() == "the services"
    assert services() == "the services"


def response(**headers):
    return SimpleNamespace(http_response=SimpleNamespace(headers=headers), http_request=None)


@pytest.mark.parametrize(("asked", "waited"), [("1", 1.0), ("5", 5.0), ("60", LONGEST_RETRY_AFTER), ("86400", 5.0)])
def test_retry_after_is_followed_up_to_some_seconds(asked, waited):
    assert PromptRetry(**RETRIES).get_retry_after(response(**{"Retry-After": asked})) == waited


def test_no_retry_after_is_none():
    assert PromptRetry(**RETRIES).get_retry_after(response()) is None
