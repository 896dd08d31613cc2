"""The real adapters keep the promises of core's ports: the suites of tests/conformance, on Azurite and the stand-in."""

import secrets
from datetime import UTC, datetime

import pytest
from azure.data.tables import TableClient
from azure.monitor.ingestion import LogsIngestionClient
from azure.monitor.query import LogsQueryClient
from azure.storage.blob import ContainerClient
from function_app_stack import RULE_ID, running_log_analytics
from log_analytics_process import WORKSPACE, StaticToken

from functions.adapters.dead_letter_blobs import BlobDeadLetters
from functions.adapters.log_analytics import LogAnalyticsSink
from functions.adapters.maintenance_table import TableMaintenanceCalendar
from functions.adapters.table_state import TableStateStore
from functions.adapters.versioned_blobs import ContainerBlobs
from functions.bindings.services import BLOB_RETRIES, RETRIES, TIME_LIMITS, PromptRetry
from functions.core.ports import Position
from tests.conformance.port_factories import CalendarUnderTest, LettersUnderTest, SinkUnderTest
from tests.conformance.test_dead_letters_conformance import *  # noqa: F403
from tests.conformance.test_maintenance_calendar_conformance import *  # noqa: F403
from tests.conformance.test_row_sink_conformance import *  # noqa: F403
from tests.conformance.test_state_store_conformance import *  # noqa: F403
from tests.conformance.test_versioned_blobs_conformance import *  # noqa: F403


@pytest.fixture(scope="module")
def table(azurite):
    options = {**TIME_LIMITS, **RETRIES}
    with TableClient.from_connection_string(azurite.connection_string, "Conformance", **options) as client:
        TableStateStore(client).create_table()
        yield client


@pytest.fixture
def state_store(table):
    """Instead of the suite's own fixture; emptied, since silent nodes are those of all clusters."""
    for entity in table.list_entities(select=["PartitionKey", "RowKey"]):
        table.delete_entity(entity)
    return TableStateStore(table)


@pytest.fixture(scope="module")
def container(azurite):
    options = {**TIME_LIMITS, **BLOB_RETRIES}
    with ContainerClient.from_connection_string(azurite.connection_string, "conformance", **options) as client:
        BlobDeadLetters(client).create_container()
        yield client


@pytest.fixture
def dead_letters(container):
    """Instead of the suite's own fixture."""
    letters = BlobDeadLetters(container)

    def kept():
        found, following = letters.page(limit=1000, continuation=None)
        assert following is None
        return {
            Position(one.event_hub, one.partition, one.sequence, one.enqueued_ms): (
                letters.raw(one.name),
                one.reason,
                one.detail,
            )
            for one in found
        }

    return LettersUnderTest(letters, kept)


@pytest.fixture
def versioned_blobs(azurite):
    """Instead of the suite's own fixture."""
    options = {**TIME_LIMITS, **BLOB_RETRIES}
    with ContainerClient.from_connection_string(azurite.connection_string, "detectors", **options) as client:
        states = ContainerBlobs(client)
        states.create_container()
        yield states


@pytest.fixture
def maintenance_calendar(azurite):
    """Instead of the suite's own fixture; a table of its own, since a calendar knows all of it."""
    options = {**TIME_LIMITS, **RETRIES}
    name = f"Calendar{secrets.token_hex(6)}"
    with TableClient.from_connection_string(azurite.connection_string, name, **options) as client:
        calendar = TableMaintenanceCalendar(client, pytest.fail)
        calendar.create_table()
        calendar.create_table()

        def plan(window):
            times = {"From": window.from_ms, "Until": window.until_ms}
            client.create_entity(
                {
                    "PartitionKey": window.cluster,
                    "RowKey": secrets.token_hex(6),
                    **{name: datetime.fromtimestamp(ms / 1000, UTC) for name, ms in times.items()},
                    **({"Pool": window.pool} if window.pool else {}),
                    **({"Node": window.node} if window.node else {}),
                }
            )

        yield CalendarUnderTest(calendar, plan)


@pytest.fixture(scope="module")
def log_analytics(tmp_path_factory):
    with running_log_analytics(tmp_path_factory.mktemp("log_analytics")) as service:
        yield service


@pytest.fixture
def row_sink(log_analytics):
    """Instead of the suite's own fixture."""
    bundle = str(log_analytics.certificates.bundle)
    with (
        LogsIngestionClient(
            log_analytics.url,
            StaticToken(),
            retry_policy=PromptRetry(**RETRIES),
            connection_verify=bundle,
            **TIME_LIMITS,
        ) as sending,
        LogsQueryClient(StaticToken(), endpoint=log_analytics.url, connection_verify=bundle) as asking,
    ):

        def rows(name):
            found = asking.query_workspace(WORKSPACE, name, timespan=None).tables[0]
            return [dict(zip(found.columns, row, strict=True)) for row in found.rows]

        yield SinkUnderTest(LogAnalyticsSink(sending, RULE_ID), rows)
