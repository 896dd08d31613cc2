"""/metrics, /healthz and /readyz of a service at work, and of one whose event loop hangs."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import threading
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agent import service as service_module
from agent.clock import SystemClock
from agent.collector import Reading
from agent.envelopes import EnvelopeBuilder, Identity
from agent.observe.agent_metrics import AgentMetrics
from agent.observe.endpoint import Endpoint
from agent.observe.health import Health, Limits
from agent.observe.metrics import Metrics
from agent.observe.node_metrics import NodeMetrics
from agent.observe.server import HttpServer, listen
from agent.observe.sources import Sources
from agent.publisher.recording_publisher import RecordingPublisher
from agent.sampler import Sampler
from agent.sampling import SamplingLoop
from agent.service import Parts, Service
from agent.spool.memory_spool import MemorySpool

INTERVAL = 0.02
LIMITS = Limits(sample=1.5, publish=1.5)
PATIENCE = 20.0
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


@pytest.fixture(autouse=True)
def it_gives_up_soon(monkeypatch) -> None:
    monkeypatch.setattr(service_module, "STOP_WITHIN", 1.5)


class Counting:
    """A collector of one number, which counts the samples."""

    device_class = None

    def __init__(self, name: str, key: str) -> None:
        self.name, self._key = name, key
        self.count = 0

    def collect(self):
        self.count += 1
        yield Reading(self._key, self.count)


class Running:
    """A service in this process, its event loop in a thread of its own, with its HTTP server beside it."""

    def __init__(self, publisher=None) -> None:
        clock = SystemClock()
        self.collectors = [Counting("first", "procs"), Counting("second", "cpu.switches")]
        self.sampler = Sampler(self.collectors, clock, INTERVAL)
        self.publisher = publisher or RecordingPublisher()
        sampling = SamplingLoop(self.sampler, clock, INTERVAL)
        builder = EnvelopeBuilder(
            Identity("dev", "node-1", "0123456789ab"), dict, samples_per_envelope=2, publish_interval=60
        )
        self.spool = MemorySpool(10**6, 3600, clock)
        self.service = Service(Parts(clock, self.sampler, sampling, builder, self.spool, self.publisher), "0123")
        sources = Sources(lambda: self.sampler.latest, lambda: self.service.progress, lambda: sampling.missed)
        health = Health(clock, sources, LIMITS)
        about = AgentMetrics(sources, builder.identity, {})
        endpoint = Endpoint(Metrics(clock, health, NodeMetrics(self.collectors), about), health)
        self.server = HttpServer(listen("127.0.0.1", 0), endpoint)
        self.server.start()

    def get(self, path, headers=None, method="GET"):
        host, _, port = self.server.address.rpartition(":")
        client = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        try:
            client.request(method, path, headers=headers or {})
            response = client.getresponse()
            return response, response.read()
        finally:
            client.close()

    def judged(self, path):
        """Status and reasons of /healthz or /readyz."""
        response, body = self.get(path)
        document = json.loads(body)
        assert response.getheader("Content-Type") == "application/json"
        assert (response.status, document["status"]) in {(200, "pass"), (503, "fail")}
        return response.status, document.get("reasons", [])


async def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(publisher=None):
    running = Running(publisher)
    serving = asyncio.create_task(running.service.run())
    try:
        yield running
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving, 10)
        running.server.close()


async def ask(question, *arguments):
    """Asks in another thread: this one is the service's event loop."""
    return await asyncio.to_thread(question, *arguments)


async def test_a_service_at_work_is_alive_ready_and_scraped():
    async with serving() as running:
        await until(lambda: running.judged("/readyz")[0] == 200)

        assert await ask(running.judged, "/healthz") == (200, [])
        response, body = await ask(running.get, "/metrics", OPENMETRICS)
        families = {family.name: family for family in parse_openmetrics(body.decode())}
        assert response.getheader("Content-Type") == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert response.getheader("Vary") == "Accept"
        assert families["devops_monitor_agent_envelopes_published"].samples[0].value >= 1
        assert families["system_processes"].samples[0].value >= 1
        response, body = await ask(running.get, "/metrics")
        assert response.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
        assert "system_processes" in {family.name for family in parse_text(body.decode())}


async def test_other_paths_and_methods_are_answered_with_a_sentence():
    async with serving() as running:
        response, body = await ask(running.get, "/")
        assert (response.status, body) == (404, b"Here are only /metrics, /healthz, /readyz.\n")
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
            response, body = await ask(running.get, "/metrics", None, method)
            assert (response.status, response.getheader("Allow")) == (405, "GET, HEAD")
        response, body = await ask(running.get, "/metrics", None, "HEAD")
        assert (response.status, body) == (200, b"")
        assert int(response.getheader("Content-Length")) > 1000


async def test_a_document_is_one_sample_and_never_half_of_two():
    async with serving() as running:
        await until(lambda: running.sampler.latest)
        seen = set()
        for _ in range(200):
            _, body = await ask(running.get, "/metrics")
            values = {s.name: s.value for family in parse_text(body.decode()) for s in family.samples if not s.labels}
            gauge, counter = values["system_processes"], values["system_cpu_context_switches_total"]
            assert gauge == counter
            seen.add(gauge)

    assert len(seen) > 3


async def test_scrapes_by_the_hundred_do_not_hold_up_sampling():
    async with serving() as running:
        await until(lambda: running.sampler.latest)
        before, began = running.collectors[0].count, time.monotonic()
        for _ in range(5):
            await asyncio.gather(*(ask(running.get, "/metrics") for _ in range(100)))
        elapsed = time.monotonic() - began
        samples = running.collectors[0].count - before

    assert samples > elapsed / INTERVAL / 4


async def test_while_nothing_is_acknowledged_it_is_alive_and_not_ready():
    publisher = RecordingPublisher()
    publisher.down = True
    async with serving(publisher) as running:
        await until(lambda: len(running.spool) > 2)

        status, (reason,) = await ask(running.judged, "/readyz")
        assert status == 503
        assert reason.startswith("nothing has been acknowledged since the start: failed attempts: ")
        assert await ask(running.judged, "/healthz") == (200, [])

        publisher.down = False
        await until(lambda: running.judged("/readyz")[0] == 200)
        assert running.service.progress.failed == {}

        publisher.down = True
        await until(lambda: running.judged("/readyz")[0] == 503)
        _, (reason,) = await ask(running.judged, "/readyz")
        assert "envelopes wait, the oldest for" in reason
        assert await ask(running.judged, "/healthz") == (200, [])


async def test_an_event_loop_that_hangs_is_told_by_a_server_that_still_answers():
    found = []
    async with serving() as running:
        await until(lambda: running.judged("/readyz")[0] == 200)

        def watch():
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and not (found and found[-1][0] == 503):
                found.append(running.judged("/healthz"))
                time.sleep(0.05)
            found.append(running.get("/metrics")[0].status)

        watching = threading.Thread(target=watch)
        watching.start()
        watching.join(PATIENCE)  # the event loop does nothing else meanwhile

        scraped = found.pop()
        assert found[0] == (200, [])
        status, (reason,) = found[-1]
        assert status == 503
        assert reason.startswith("the event loop has taken no sample for")
        assert scraped == 200
        await until(lambda: running.judged("/healthz") == (200, []))


async def test_a_sampling_thread_that_hangs_is_told_and_its_old_sample_is_not_scraped(monkeypatch):
    go_on = threading.Event()
    async with serving() as running:
        await until(lambda: running.judged("/healthz")[0] == 200 and running.sampler.latest)
        sample = running.sampler.sample

        def hang():
            go_on.wait(PATIENCE)
            return sample()

        monkeypatch.setattr(running.sampler, "sample", hang)
        await until(lambda: running.judged("/healthz")[0] == 503)

        _, (reason,) = await ask(running.judged, "/healthz")
        assert reason.startswith("no sample for ")
        _, body = await ask(running.get, "/metrics")
        assert b"system_processes" not in body
        assert b"devops_monitor_agent_last_sample_timestamp_seconds 1" in body
        go_on.set()
        await until(lambda: running.judged("/healthz")[0] == 200)
        await until(lambda: b"system_processes" in running.get("/metrics")[1])


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_are_answered_to_head_too(path):
    async with serving() as running:
        await until(lambda: running.judged(path)[0] == 200)

        response, body = await ask(running.get, path, None, "HEAD")

    assert (response.status, body) == (200, b"")
