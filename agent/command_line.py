"""`python -m agent`: reads the settings, puts the parts together, runs one of four modes. Only tests import it."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import sys
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from agent import __version__
from agent.clock import Clock, SystemClock
from agent.collector import Collector
from agent.envelopes import EnvelopeBuilder, Identity
from agent.json_logs import configure_logging
from agent.registry import make_collectors
from agent.resource import node_resource
from agent.sampler import Sample, Sampler
from agent.sampling import SamplingLoop
from agent.settings import Listen, Settings, read_settings
from telemetry.envelope import Envelope
from telemetry.errors import SettingsError

if TYPE_CHECKING:
    from socket import socket

    from agent.service import Parts, Service

log = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_CRASHED = 1
EXIT_UNUSABLE_SETTINGS = 2


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs the agent; gives the exit code: 0, 1 after a crash, 2 when arguments or settings are unusable."""
    chosen = _parser().parse_args(arguments)
    configure_logging("info")
    try:
        settings = read_settings(environ, publishing=not (chosen.once or chosen.stdout))
        configure_logging(settings.log_level)
        if chosen.check:
            print(json.dumps(settings.summary(), indent=2))
        elif chosen.once:
            _print_once(settings)
        elif chosen.stdout:
            _print_lines(settings)
        else:
            _publish(settings)
    except SettingsError as error:
        log.error("settings_unusable", extra={"problems": error.problems})
        return EXIT_UNUSABLE_SETTINGS
    except Exception:
        log.critical("crashed", exc_info=True)
        return EXIT_CRASHED
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m agent",
        description="Samples this node and publishes envelopes to Event Hubs. Settings are environment variables, "
        "AGENT_* and EVENTHUB_*; logs are JSON lines on standard error.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--once", action="store_true", help="print one envelope of two samples a second apart, and exit")
    mode.add_argument("--stdout", action="store_true", help="print each envelope as a line instead of publishing it")
    mode.add_argument("--check", action="store_true", help="print the settings for publishing if usable, and exit")
    return parser


def _print_once(settings: Settings) -> None:
    clock, stop = SystemClock(), threading.Event()
    settings = replace(settings, sample_interval=1.0, publish_interval=600.0)
    sampler, builder = _make_sampler(settings, clock), _make_builder(settings, _new_instance())
    builder.add(sampler.sample())
    clock.wait_until(clock.monotonic() + settings.sample_interval, stop)
    builder.add(sampler.sample())
    if (envelope := builder.flush()) is not None:
        print(json.dumps(envelope.document(), indent=2))


def _print_lines(settings: Settings) -> None:
    """Prints envelopes until a signal comes or nobody reads any more."""
    clock, stop = SystemClock(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    builder = _make_builder(settings, _new_instance())

    def print_line(envelope: Envelope) -> None:
        print(json.dumps(envelope.document(), separators=(",", ":")), flush=True)

    def emit(sample: Sample) -> None:
        for envelope in builder.add(sample):
            print_line(envelope)

    try:
        SamplingLoop(_make_sampler(settings, clock), clock, settings.sample_interval).run(emit, stop)
        if (envelope := builder.flush()) is not None:
            print_line(envelope)
    except BrokenPipeError:
        log.info("stopped", extra={"reason": "nobody reads standard output any more"})


def _publish(settings: Settings) -> None:
    # Here and not above: the modes that print need neither asyncio nor a spool, and take 10 MiB less without.
    import asyncio

    from agent.publisher.event_hub_publisher import EventHubPublisher
    from agent.service import Parts, Service
    from agent.spool.disk_spool import DiskSpool
    from agent.spool.files import SpoolFiles
    from agent.status_file import StatusFile

    assert settings.hub is not None, "read_settings asks for it"
    listening = _listen(settings.listen)
    clock, instance = SystemClock(), _new_instance()
    log.info("started", extra={"version": __version__, "instance": instance, **settings.summary()})
    collectors = make_collectors(settings.collectors, settings.host)
    sampler = Sampler(collectors, clock, settings.sample_interval)
    parts = Parts(
        clock=clock,
        sampler=sampler,
        sampling=SamplingLoop(sampler, clock, settings.sample_interval),
        builder=_make_builder(settings, instance),
        spool=DiskSpool.open(
            SpoolFiles(settings.spool.directory, fsync=settings.spool.fsync),
            max_bytes=settings.spool.max_bytes,
            max_age=settings.spool.max_age,
            clock=clock,
        ),
        publisher=EventHubPublisher(settings.hub, settings.node),
    )
    service = Service(
        parts,
        instance,
        publish_delay=settings.publish_spread * node_share(settings.node),
        status_file=StatusFile(settings.status_file) if settings.status_file else None,
    )
    if listening is not None:
        _answer(listening, settings, parts, service, collectors)
    # Not asyncio.run: it waits for threads, such as one in a name lookup that hangs, and the agent must end in time.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(service.run())
    finally:
        loop.close()


def _listen(address: Listen | None) -> socket | None:
    """Takes the port at once: what cannot be scraped and probed as it is told to does not start."""
    if address is None:
        return None
    from agent.observe.server import listen

    try:
        return listen(address.host, address.port)
    except OSError as error:
        raise SettingsError(
            [
                "AGENT_HTTP_LISTEN must be an address of this machine and a port that nobody listens on, "
                f"got {address.host}:{address.port}: {str(error.strerror or error).partition(' (')[0]}"
            ]
        ) from error


def _answer(
    listening: socket, settings: Settings, parts: Parts, service: Service, collectors: Sequence[Collector]
) -> None:
    """Serves /metrics, /healthz and /readyz until the process ends."""
    from agent.observe.agent_metrics import AgentMetrics
    from agent.observe.endpoint import Endpoint
    from agent.observe.health import Health, Limits
    from agent.observe.metrics import Metrics
    from agent.observe.node_metrics import NodeMetrics
    from agent.observe.server import HttpServer
    from agent.observe.sources import Sources

    sources = Sources(lambda: parts.sampler.latest, lambda: service.progress, lambda: parts.sampling.missed)
    limits = Limits.of(settings.sample_interval, settings.publish_interval, settings.publish_spread)
    health = Health(parts.clock, sources, limits)
    agent = AgentMetrics(sources, parts.builder.identity, parts.builder.resource())
    metrics = Metrics(parts.clock, health, NodeMetrics(collectors), agent)
    server = HttpServer(listening, Endpoint(metrics, health))
    server.start()
    log.info("http_listening", extra={"address": server.address})


def node_share(node: str) -> float:
    """Gives a number in [0, 1) that differs from node to node and never changes for one."""
    return zlib.crc32(node.encode()) / 2**32


def _make_sampler(settings: Settings, clock: Clock) -> Sampler:
    return Sampler(make_collectors(settings.collectors, settings.host), clock, settings.sample_interval)


def _make_builder(settings: Settings, instance: str) -> EnvelopeBuilder:
    return EnvelopeBuilder(
        Identity(settings.cluster, settings.node, instance),
        lambda: node_resource(settings.host, settings.node, settings.pool),
        samples_per_envelope=settings.samples_per_envelope,
        publish_interval=settings.publish_interval,
    )


def _new_instance() -> str:
    return os.urandom(6).hex()


def flush_and_exit(code: int) -> None:
    """Ends the process at once: threads that hang in the kernel (a dead mount, a name lookup) are not waited for."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)
