"""`ingest`: the Event Hubs trigger. Anything raised here is retried by the trigger, batch by batch, for ever."""

from __future__ import annotations

import logging
import time
import typing
import uuid
from datetime import UTC

import azure.functions as func
import orjson

from functions.bindings.services import Partition, Services, services
from functions.core.ingest import BatchReport
from functions.core.ports import Event, Position
from functions.core.rows import timestamp
from telemetry.tables import PIPELINE_RUNS_TABLE

blueprint = func.Blueprint()
log = logging.getLogger("ingest")


@blueprint.function_name("ingest")
@blueprint.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="%EVENTHUB_NAME%",
    connection="EVENTHUB",
    consumer_group="%EVENTHUB_CONSUMER_GROUP%",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
@blueprint.retry(
    strategy="exponential_backoff", max_retry_count="-1", minimum_interval="00:00:01", maximum_interval="00:01:00"
)
def ingest(events: typing.List[func.EventHubEvent]) -> None:  # noqa: UP006 - the worker knows only typing.List
    """Validates, folds, scores and stores one batch of one partition."""
    if not events:
        return
    started = time.time()
    context = (events[0].metadata or {})["PartitionContext"]
    hub, partition = context["EventHubName"], context["PartitionId"]
    batch = [_event(event, hub, partition) for event in events]
    shared = services()
    kept = shared.partition(f"{hub}/{partition}")
    with kept.lock:
        # A run whose row was refused comes again with nothing but duplicates; its first row still has to be told.
        _tell_runs(shared, kept)
        report = kept.ingest.run(batch)
        for problem in kept.ingest.fleet.unreadable:
            log.error("node state made anew: %s", problem)
        kept.ingest.fleet.unreadable.clear()
        for problem in kept.ingest.watch.problems:
            log.error("detection: %s", problem)
        kept.ingest.watch.problems.clear()
        kept.untold_runs.append(_run_row(report, batch, started))
        _tell_runs(shared, kept)


def _tell_runs(shared: Services, kept: Partition) -> None:
    if kept.untold_runs:
        shared.sink.write(PIPELINE_RUNS_TABLE, kept.untold_runs)
        kept.untold_runs.clear()


def _event(event: func.EventHubEvent, hub: str, partition: str) -> Event:
    enqueued = event.enqueued_time
    assert enqueued is not None and event.sequence_number is not None
    # The library gives UTC without a time zone in batch mode.
    enqueued_ms = round((enqueued if enqueued.tzinfo else enqueued.replace(tzinfo=UTC)).timestamp() * 1000)
    return Event(event.get_body(), Position(hub, partition, event.sequence_number, enqueued_ms))


def _run_row(report: BatchReport, batch: list[Event], started: float) -> bytes:
    ended = time.time()
    start = timestamp(round(started * 1000))
    first, last = batch[0].position, batch[-1].position
    return orjson.dumps(
        {
            "TimeGenerated": start,
            "WindowStart": start,
            "RunId": uuid.uuid4().hex,
            "EventHub": first.event_hub,
            "PartitionId": first.partition,
            "FirstSequenceNumber": first.sequence,
            "LastSequenceNumber": last.sequence,
            "Received": report.received,
            "Stored": report.stored,
            "Duplicates": report.duplicates,
            "DeadLettered": report.dead_lettered,
            "Rows": report.rows,
            "DurationMs": round((ended - started) * 1000, 1),
            "LagMs": round(ended * 1000 - min(event.position.enqueued_ms for event in batch), 1),
        }
    )
