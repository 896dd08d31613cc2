"""Run the simulator: `python -m local.fleet --nodes 100 --forever`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence

from local.fleet.model import FleetModel
from local.fleet.options import Options, read_options
from local.fleet.publishers import EventHubPublisher, Publisher, StandardOutput, event_hub
from local.fleet.reporting import Ledger, Report, configure_logging, iso, write_labels
from local.fleet.simulation import Pace, simulate
from telemetry.errors import SettingsError

log = logging.getLogger("local.fleet")

_MAX_AHEAD_MS = 600_000
"""The pipeline refuses samples that are further ahead of the clock."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulates until the end, SIGTERM or SIGINT; gives the exit status."""
    try:
        options = read_options(arguments, os.environ)
    except SettingsError as error:
        print(f"{error}\npython -m local.fleet --help tells more", file=sys.stderr)
        return 2
    configure_logging()
    try:
        asyncio.run(_run(options))
    except BrokenPipeError:
        # Whoever read our standard output has gone (| head); nothing may be written to it any more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


async def _run(options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    model = FleetModel(
        options.nodes,
        options.seed,
        start_ms=options.start_ms,
        cluster=options.cluster,
        sample_interval=options.sample_interval,
        publish_interval=options.publish_interval,
        faults=options.faults,
    )
    until_ms = options.until_ms
    if options.labels is not None and until_ms is not None:
        write_labels(options.labels, model.labels(until_ms))
    _tell_start(options)
    ledger = Ledger(options.record)
    await simulate(
        model,
        _publisher(options, ledger),
        ledger,
        Report(ledger, options.nodes, model.active_faults, options.status_file),
        until_ms=until_ms,
        pace=Pace(options.start_ms, options.speed, behind_s=options.behind_s),
        stop=stop,
    )


def _publisher(options: Options, ledger: Ledger) -> Publisher:
    if options.connection_string is None:
        return StandardOutput(ledger.acknowledge)
    connect = event_hub(options.connection_string, options.hub)
    return EventHubPublisher(connect, ledger.acknowledge, senders=options.senders)


def _tell_start(options: Options) -> None:
    log.info(
        "fleet started",
        extra={
            "nodes": options.nodes,
            "cluster": options.cluster,
            "seed": options.seed,
            "start": iso(options.start_ms),
            "speed": options.speed,
            "faults": [fault.name for fault in options.faults],
        },
    )
    gets_ahead = options.speed == 0.0 or options.speed > 1.0
    if gets_ahead and (options.until_ms or sys.maxsize) > time.time_ns() // 1_000_000 + _MAX_AHEAD_MS:
        log.warning(
            "simulated time may get more than 10 min ahead of the clock, and the pipeline refuses such samples; "
            "start in the past with --start or --since"
        )


if __name__ == "__main__":
    sys.exit(main())
