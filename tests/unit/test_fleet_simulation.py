"""The running simulation: pace, status, record, and stopping."""

import asyncio
import json
import logging
import time

import pytest

from local.fleet.fault_spec import parse_faults
from local.fleet.model import FleetModel
from local.fleet.reporting import Ledger, ProgressSafeLines, Report, write_labels
from local.fleet.simulation import Pace, simulate

START = 1_790_000_000_000


class Acknowledging:
    """A publisher that acknowledges at once, or never."""

    def __init__(self, ledger, *, never=False, fails=False):
        self.ledger, self.never, self.fails = ledger, never, fails
        self.taken = []
        self.closed = False

    async def put(self, outgoing):
        if self.fails:
            raise BrokenPipeError
        self.taken.append(outgoing)
        if not self.never:
            self.ledger.acknowledge([outgoing])

    async def drain(self):
        if self.never:
            await asyncio.Event().wait()

    async def close(self):
        self.closed = True


def parts(tmp_path, *, nodes=5, faults=(), **publisher):
    model = FleetModel(nodes, 1, start_ms=START, faults=parse_faults(faults, nodes))
    ledger = Ledger(tmp_path / "record")
    report = Report(ledger, nodes, model.active_faults, tmp_path / "status")
    return model, Acknowledging(ledger, **publisher), ledger, report


def status_of(tmp_path):
    return json.loads((tmp_path / "status").read_text())


async def test_it_ends_by_itself_when_everything_until_the_end_is_acknowledged(tmp_path):
    model, publisher, ledger, report = parts(tmp_path, faults=["io_stall:node=1,after=100,duration=60"])

    await simulate(
        model, publisher, ledger, report, until_ms=START + 120_000, pace=Pace(START, 0), stop=asyncio.Event()
    )

    assert publisher.closed
    assert [sent.seq for sent in publisher.taken if sent.node == publisher.taken[0].node] == [1, 2, 3, 4]
    assert status_of(tmp_path) == {
        "published": 20,
        "acknowledged": 20,
        "pending": 0,
        "simulated_time": "2026-09-21T14:15:15Z",
        "active_faults": ["io_stall"],
    }


async def test_the_record_has_a_line_for_every_acknowledged_envelope(tmp_path):
    (tmp_path / "record").write_text('{"earlier": "run"}\n')
    model, publisher, ledger, report = parts(tmp_path)

    await simulate(model, publisher, ledger, report, until_ms=START + 60_000, pace=Pace(START, 0), stop=asyncio.Event())

    earlier, *lines = (json.loads(line) for line in (tmp_path / "record").read_text().splitlines())
    assert earlier == {"earlier": "run"}
    assert [(line["node"], line["instance"], line["seq"]) for line in lines] == [
        (sent.node, sent.instance, sent.seq) for sent in publisher.taken
    ]
    assert {line["cluster"] for line in lines} == {"sim"}
    assert all(abs(line["ack_ms"] - time.time() * 1000) < 60_000 for line in lines)


async def test_it_stops_when_told_and_says_what_is_pending(tmp_path):
    model, publisher, ledger, report = parts(tmp_path, never=True)
    stop = asyncio.Event()

    running = asyncio.create_task(
        simulate(model, publisher, ledger, report, until_ms=None, pace=Pace(START, 0), stop=stop)
    )
    while ledger.published < 100:
        await asyncio.sleep(0.001)
    stop.set()
    async with asyncio.timeout(10):
        await running

    assert publisher.closed
    status = status_of(tmp_path)
    assert status["published"] >= 100
    assert (status["acknowledged"], status["pending"]) == (0, status["published"])
    assert (tmp_path / "record").read_text() == ""


async def test_a_failing_publisher_ends_the_simulation_with_its_error(tmp_path):
    model, publisher, ledger, report = parts(tmp_path, fails=True)

    with pytest.raises(BrokenPipeError):
        await simulate(model, publisher, ledger, report, until_ms=None, pace=Pace(START, 0), stop=asyncio.Event())

    assert publisher.closed


async def test_nothing_is_published_before_its_time(tmp_path):
    model, publisher, ledger, report = parts(tmp_path)
    stop = asyncio.Event()

    running = asyncio.create_task(
        simulate(model, publisher, ledger, report, until_ms=None, pace=Pace(START, 0.001), stop=stop)
    )
    await asyncio.sleep(0.1)
    stop.set()
    await running

    assert publisher.taken == []


def test_pace_maps_simulated_time_to_the_clock():
    as_fast_as_possible, real, fast = (Pace(START, speed) for speed in (0.0, 1.0, 60.0))

    assert as_fast_as_possible.wait(START + 3_600_000) == 0.0
    assert 0 < real.wait(START + 100_000) <= 100
    assert 0 < fast.wait(START + 600_000) <= 10
    assert real.wait(START - 1_000) < 0


def test_what_lies_in_the_past_comes_at_once_and_the_rest_in_real_time():
    pace = Pace(START, 1.0, behind_s=3_600.0)

    assert pace.wait(START + 3_599_000) < 0
    assert 0 < pace.wait(START + 3_700_000) <= 100


def test_the_status_file_is_replaced_whole(tmp_path):
    model, _, ledger, report = parts(tmp_path)
    ledger.simulated_ms = model.start_ms

    report.tell()
    before = (tmp_path / "status").stat().st_ino
    report.tell()

    assert (tmp_path / "status").stat().st_ino != before
    assert status_of(tmp_path)["published"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["record", "status"]
    ledger.close()


def test_a_terminal_gets_one_line_that_is_redrawn(tmp_path, monkeypatch, capsys):
    model, _, ledger, report = parts(tmp_path, faults=["packet_loss:node=1"])
    ledger.simulated_ms = model.start_ms + 1_000
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)

    report.tell()
    report.tell()

    told = capsys.readouterr().err
    assert "\n" not in told
    assert told.count("\r\x1b[K5 nodes  2026-09-21T14:13:21Z  0 acknowledged  0 pending  0/s  faults: packet_loss") == 2
    ledger.close()


def test_labels_are_written_one_a_line(tmp_path):
    model = FleetModel(5, 1, start_ms=START, faults=parse_faults(["io_stall:node=1+2,after=60"], 5))

    write_labels(tmp_path / "labels", model.labels(START + 600_000))

    lines = [json.loads(line) for line in (tmp_path / "labels").read_text().splitlines()]
    assert len(lines) == 2
    assert lines[0]["fault"] == "io_stall" and lines[0]["is_fault"] is True
    assert (lines[0]["start_ms"], lines[0]["end_ms"]) == (START + 60_000, START + 360_000)


def test_log_lines_are_json_with_their_fields():
    record = logging.makeLogRecord({"name": "local.fleet", "levelname": "INFO", "msg": "fleet", "nodes": 7})

    line = json.loads(ProgressSafeLines().format(record))

    assert (line["logger"], line["level"], line["message"], line["nodes"]) == ("local.fleet", "info", "fleet", 7)
