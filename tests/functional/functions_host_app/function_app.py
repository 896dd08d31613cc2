"""A function app that records what it is given, and fails where the input tells it to.

Every function appends JSON lines to the file named by RECORDS. An event's body is JSON: `fail` is how many attempts at
its batch fail, `sleep` how many seconds the function takes.
"""

import asyncio
import json
import logging
import os
import time
import typing
from pathlib import Path

import azure.functions as func
from azure.identity import ManagedIdentityCredential

app = func.FunctionApp()


def record(function: str, **fields: object) -> None:
    line = json.dumps({"function": function, "time": time.time(), **fields}, default=str) + "\n"
    with Path(os.environ["RECORDS"]).open("a") as records:
        records.write(line)


def _take(function: str, events: list[func.EventHubEvent], context: func.Context) -> None:
    bodies = [json.loads(event.get_body()) for event in events]
    metadata = events[0].metadata or {}
    record(
        function,
        bodies=bodies,
        attempt=context.retry_context.retry_count,
        max_attempts=context.retry_context.max_retry_count,
        previous_error=getattr(context.retry_context.rpc_exception, "message", None),
        sequence_numbers=[event.sequence_number for event in events],
        offsets=[event.offset for event in events],
        partition_keys=[event.partition_key for event in events],
        enqueued_times=[event.enqueued_time for event in events],
        metadata={name: json.loads(value) if isinstance(value, str) else value for name, value in metadata.items()}
        if "PartitionContext" in metadata and "Offset" not in metadata
        else dict(metadata),
    )
    time.sleep(max(body.get("sleep", 0) for body in bodies))
    if context.retry_context.retry_count < max(body.get("fail", 0) for body in bodies):
        raise ValueError(f"told to fail at attempt {context.retry_context.retry_count}")


@app.event_hub_message_trigger(
    arg_name="events", event_hub_name="%HUB%", connection="EVENTHUB", cardinality="many", data_type="BINARY"
)
@app.retry(strategy="fixed_delay", max_retry_count="-1", delay_interval="00:00:00")
def retried(events: typing.List[func.EventHubEvent], context: func.Context) -> None:  # noqa: UP006
    _take("retried", events, context)


@app.event_hub_message_trigger(
    arg_name="events", event_hub_name="lossy", connection="EVENTHUB", cardinality="many", data_type="BINARY"
)
def lossy(events: typing.List[func.EventHubEvent], context: func.Context) -> None:  # noqa: UP006
    _take("lossy", events, context)


@app.event_hub_message_trigger(
    arg_name="events", event_hub_name="limited", connection="EVENTHUB", cardinality="many", data_type="BINARY"
)
@app.retry(
    strategy="exponential_backoff", max_retry_count="2", minimum_interval="00:00:00", maximum_interval="00:00:01"
)
async def limited(events: typing.List[func.EventHubEvent], context: func.Context) -> None:  # noqa: UP006
    _take("limited", events, context)


@app.event_hub_message_trigger(
    arg_name="event", event_hub_name="single", connection="EVENTHUB", cardinality="one", data_type="STRING"
)
def single(event: func.EventHubEvent, context: func.Context) -> None:
    _take("single", [event], context)


@app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%", run_on_startup=False)
def timed(timer: func.TimerRequest) -> None:
    record("timed", past_due=timer.past_due, status=timer.schedule_status)
    time.sleep(float(os.environ.get("TIMER_SLEEP", "0")))
    record("timed_end")


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=True)
def at_startup(timer: func.TimerRequest) -> None:
    record("at_startup", past_due=timer.past_due)


@app.route(route="open/{id:int}/{*rest}", methods=["GET", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
def anonymous(req: func.HttpRequest) -> func.HttpResponse:
    seen = {
        "method": req.method,
        "params": dict(req.route_params),
        "query": dict(req.params),
        "headers": dict(req.headers),
        "body": req.get_body().decode(),
    }
    response = func.HttpResponse(json.dumps(seen), status_code=201, mimetype="application/json")
    response.headers.add("Set-Cookie", "first=1; Path=/; HttpOnly")
    response.headers.add("Set-Cookie", "second=2; Max-Age=60; SameSite=Lax")
    response.headers["X-App"] = "yes"
    return response


@app.route(methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
async def keyed(req: func.HttpRequest) -> str:
    return "keyed"


@app.route(route="admins", auth_level=func.AuthLevel.ADMIN)
def admins_only(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("admin", status_code=200)


@app.route(route="cancelled", auth_level=func.AuthLevel.ANONYMOUS)
async def cancelled(req: func.HttpRequest) -> func.HttpResponse:
    raise asyncio.CancelledError("by the app itself")


@app.route(route="broken", auth_level=func.AuthLevel.ANONYMOUS)
def broken(req: func.HttpRequest) -> func.HttpResponse:
    match req.params.get("how"):
        case "exit":
            raise SystemExit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "none":
            return None  # type: ignore[return-value]
        case "sleep":
            time.sleep(float(req.params["seconds"]))
            return func.HttpResponse("awake")
        case _:
            raise RuntimeError("told to break")


@app.route(route="size", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
def size(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(str(len(req.get_body())))


@app.route(route="token", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def token(req: func.HttpRequest) -> func.HttpResponse:
    with ManagedIdentityCredential() as credential:
        return func.HttpResponse(credential.get_token("https://monitor.azure.com/.default").token)


@app.route(route="switched-off", auth_level=func.AuthLevel.ANONYMOUS)
def switched_off(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("never seen")


@app.route(route="log", auth_level=func.AuthLevel.ANONYMOUS)
def log(req: func.HttpRequest) -> func.HttpResponse:
    logging.getLogger("app").info("said by the app", extra={"answer": 42})
    return func.HttpResponse("logged")
