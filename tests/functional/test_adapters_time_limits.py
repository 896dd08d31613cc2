"""Services that are down or never answer: every call, with the clients the app makes, fails soon and says so."""

import socket
from datetime import UTC, datetime

import pytest

from functions.adapters.dead_letter_blobs import BlobDeadLetters
from functions.adapters.maintenance_table import TableMaintenanceCalendar
from functions.adapters.served_model import ServedModel
from functions.adapters.table_state import TableStateStore
from functions.adapters.versioned_blobs import ContainerBlobs
from functions.bindings import services
from functions.bindings.services import Services
from functions.bindings.settings import read_settings
from functions.core.ports import DeadLetter, Event, Position, StateUpdate
from local.azurite import ACCOUNT, ACCOUNT_KEY
from telemetry.errors import EnvelopeRejected, HistoryUnavailable, RejectReason, SinkUnavailable, StoreUnavailable

# A call with the SDKs' own settings takes minutes and is ended here.
pytestmark = pytest.mark.timeout(30)

LETTER = DeadLetter(Event(b"raw", Position("hub", "0", 1, 1)), EnvelopeRejected(RejectReason.EMPTY, "nothing"))
UPDATE = StateUpdate(("aks", "node-1"), b"state", None, {"Status": "live", "LastSeen": 1})
MANY = [("aks", f"node-{index}") for index in range(20)]
ATTEMPTS = 3
DAY = datetime(2026, 3, 2, tzinfo=UTC)
CALLS = {
    "load": (StoreUnavailable, lambda app: app.store.load([UPDATE.key])),
    "load many": (StoreUnavailable, lambda app: app.store.load(MANY)),
    "commit": (StoreUnavailable, lambda app: app.store.commit([UPDATE])),
    "find silent": (StoreUnavailable, lambda app: app.store.find_silent(1, 1)),
    "list nodes": (StoreUnavailable, lambda app: app.directory.page(limit=1, continuation=None, filters={})),
    "one node": (StoreUnavailable, lambda app: app.directory.state("aks", "node-1")),
    "keep": (SinkUnavailable, lambda app: app.dead_letters.put([LETTER])),
    "list letters": (StoreUnavailable, lambda app: app.dead_letters.page(limit=1, continuation=None)),
    "one letter": (StoreUnavailable, lambda app: app.dead_letters.raw("0000000000000/hub/0/1")),
    "planned times": (StoreUnavailable, lambda app: app.calendar.windows()),
    "load detectors": (StoreUnavailable, lambda app: app.detector_states.load("hub/0")),
    "save detectors": (StoreUnavailable, lambda app: app.detector_states.save("hub/0", b"state", None)),
    "history": (HistoryUnavailable, lambda app: app.history.query("NodeMetrics_CL", DAY, DAY)),
    "write": (SinkUnavailable, lambda app: app.sink.write("NodeMetrics_CL", [b"{}"])),
}


def settings_with_everything_at(port):
    at = f"http://127.0.0.1:{port}/{ACCOUNT}"
    environment = {
        "STATE_STORAGE": f"AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint={at};TableEndpoint={at};",
        "LOGS_INGESTION_ENDPOINT": f"https://127.0.0.1:{port}",
        "LOGS_DCR_IMMUTABLE_ID": "dcr-1",
        "LOGS_WORKSPACE_ID": "01234567-89ab-cdef-0123-456789abcdef",
        "LOGS_QUERY_ENDPOINT": f"https://127.0.0.1:{port}",
        "HTTP_API_KEYS": "k" * 16,
    }
    return read_settings(environment)


def app_with_everything_at(port, monkeypatch):
    """The app's services as they are when what they use went away after the start."""
    for kind in (TableStateStore, TableMaintenanceCalendar):
        monkeypatch.setattr(kind, "create_table", lambda self: None)
    for kind in (BlobDeadLetters, ContainerBlobs):
        monkeypatch.setattr(kind, "create_container", lambda self: None)
    monkeypatch.setattr(ServedModel, "__call__", lambda self: None)  # reads in the background, beside what is counted
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{port}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "secret")
    return Services(settings_with_everything_at(port))


@pytest.fixture
def impatient(monkeypatch):
    """Shorter times than in production, given the same way."""
    monkeypatch.setitem(services.TIME_LIMITS, "read_timeout", 0.2)
    monkeypatch.setattr(services, "QUERY_READ_TIMEOUT", 0.2)
    monkeypatch.setitem(services.RETRIES, "retry_backoff_factor", 0.01)
    monkeypatch.setitem(services.BLOB_RETRIES, "initial_backoff", 0)
    monkeypatch.setitem(services.BLOB_RETRIES, "increment_base", 0)
    monkeypatch.setitem(services.BLOB_RETRIES, "random_jitter_range", 0)


@pytest.fixture
def silent():
    """A service that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        listener.setblocking(False)
        yield listener


def connections(listener):
    taken = []
    try:
        while True:
            taken.append(listener.accept()[0])
    except BlockingIOError:
        return len(taken)
    finally:
        for connection in taken:
            connection.close()


@pytest.mark.parametrize("call", CALLS)
def test_service_that_never_answers_is_given_up_after_three_attempts(call, impatient, silent, monkeypatch):
    error, use = CALLS[call]
    app = app_with_everything_at(silent.getsockname()[1], monkeypatch)

    with pytest.raises(error):
        use(app)

    assert 1 <= connections(silent) <= ATTEMPTS


@pytest.mark.parametrize("call", CALLS)
def test_service_that_is_down_is_given_up(call, impatient, free_port, monkeypatch):
    error, use = CALLS[call]
    app = app_with_everything_at(free_port(), monkeypatch)

    with pytest.raises(error):
        use(app)


def test_app_that_cannot_reach_storage_says_so_when_it_starts(free_port):
    with pytest.raises(StoreUnavailable, match="table of node states"):
        Services(settings_with_everything_at(free_port()))
