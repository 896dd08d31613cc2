"""The oracle's verdict: silent about a pipeline that is right, loud about one that is not.

The pipeline is the real core on in-memory ports, fed with simulated nodes; each defect is built into it for one test.
"""

import random
from dataclasses import replace
from datetime import datetime
from functools import cache

import orjson
import pytest

from bench.oracle.comparison import Law, agree, window_key
from bench.oracle.evidence import SABOTAGES, Evidence, judge
from bench.oracle.nodes import CLOSING_AHEAD_MS, SimulatedNode, closing_envelope
from bench.oracle.reckoning import EnvelopeId, Logged, Place
from functions.adapters.memory import MemoryDeadLetters, MemoryRowSink, MemoryStateStore
from functions.core.ingest import Ingest
from functions.core.ports import Event, Position
from functions.core.replay import ReplayWindow
from functions.core.watch import Watch
from tests import builders

DAY_MS = 86_400_000


@cache
def traffic():
    """What four nodes send in some hours: bytes in order, with the reason where they are poison."""
    now = builders.START
    nodes = [SimulatedNode(11, number, now - DAY_MS) for number in range(4)]
    sent = [one for _ in range(100) for node in nodes for one in node.publish()]
    closing = [closing_envelope(node.cluster, node.name, node.newest_ms + CLOSING_AHEAD_MS) for node in nodes]
    poison = {one.outgoing.body: one.reason for one in sent if one.reason}
    return [one.outgoing for one in sent] + closing, poison, now


def process(sink=None):
    """Sends the traffic through the core in batches of random size, some of them twice; gives the evidence."""
    outgoing, poison, now = traffic()
    sink, letters = sink or MemoryRowSink(), MemoryDeadLetters()
    ingest = Ingest(MemoryStateStore(), sink, letters, Watch())
    events = [Event(one.body, Position("telemetry", "0", index, now)) for index, one in enumerate(outgoing)]
    sizes, runs, first = random.Random(5), [], 0
    while first < len(events):
        batch = events[first : first + sizes.randint(1, 40)]
        first += len(batch)
        for _ in range(1 + (sizes.random() < 0.3)):
            report = ingest.run(batch)
            runs.append(
                {
                    "PartitionId": "0",
                    "FirstSequenceNumber": batch[0].position.sequence,
                    "LastSequenceNumber": batch[-1].position.sequence,
                    "Received": report.received,
                    "Stored": report.stored,
                    "Duplicates": report.duplicates,
                    "DeadLettered": report.dead_lettered,
                }
            )
    return Evidence(
        log=[Logged(Place("0", index), one.body) for index, one in enumerate(outgoing)],
        acknowledged={
            EnvelopeId(one.cluster, one.node, one.instance, one.seq): one.body
            for one in outgoing
            if one.body not in poison
        },
        poison=poison,
        agent_cluster="none",
        windows=view(sink.tables["NodeMetrics_CL"]),
        dead_letters=list(
            {row["SequenceNumber"]: row for row in map(orjson.loads, sink.tables["DeadLetters_CL"])}.values()
        ),
        kept={Place(at.partition, at.sequence): letter.event.raw for at, letter in letters.letters.items()},
        runs=runs,
    )


@cache
def honest():
    """The evidence of a pipeline without a defect."""
    return process()


def view(lines):
    """What NodeMetrics() makes of the table: the highest revision of every window."""
    best = {}
    for line in lines:
        row = orjson.loads(line)
        row["WindowStart"] = datetime.fromisoformat(row["WindowStart"])
        key = window_key(row)
        if key not in best or row["Revision"] >= best[key]["Revision"]:
            best[key] = row
    return list(best.values())


def broken_laws(evidence):
    return {discrepancy.law for discrepancy in judge(evidence).discrepancies}


def test_a_pipeline_that_keeps_the_law_is_acquitted():
    verdict = judge(honest())

    assert verdict.discrepancies == []
    assert verdict.reckoning.duplicates > 0
    assert "late" in verdict.reckoning.dead_letters.values()
    assert len(set(verdict.reckoning.dead_letters.values())) > 5
    assert len(verdict.reckoning.closed()) > 200


@pytest.mark.parametrize("name", SABOTAGES)
def test_sabotaged_evidence_is_noticed(name):
    law, spoil = SABOTAGES[name]

    found = broken_laws(spoil(honest()))

    assert law in found


def test_a_pipeline_that_does_not_recognise_duplicates_counts_twice(monkeypatch):
    monkeypatch.setattr(ReplayWindow, "is_duplicate", lambda *_: False)

    found = broken_laws(process())

    assert Law.DOUBLE_COUNTED in found


def test_a_sink_that_says_yes_and_forgets_loses_windows():
    class Forgetful(MemoryRowSink):
        def write(self, table, rows):
            super().write(table, rows[1:] if table == "NodeMetrics_CL" else rows)

    evidence = process(sink=Forgetful())

    assert broken_laws(evidence) == {Law.LOST}


def test_a_window_whose_late_sample_was_dropped_is_lost_in_part():
    evidence = honest()
    full = evidence.windows[5]

    verdict = judge(replace(evidence, windows=[{**full, "Revision": full["Revision"] - 1}, *without(evidence, full)]))

    assert [(one.law, one.weight) for one in verdict.discrepancies] == [(Law.LOST, 1)]


def test_a_row_of_a_window_nobody_sent_is_noticed():
    evidence = honest()
    invented = {**evidence.windows[0], "Node": "nobody"}

    assert broken_laws(replace(evidence, windows=[*evidence.windows, invented])) == {Law.DOUBLE_COUNTED}


def test_a_row_that_is_in_the_view_twice_is_noticed():
    evidence = honest()

    found = broken_laws(replace(evidence, windows=[*evidence.windows, evidence.windows[0]]))

    assert found == {Law.DOUBLE_COUNTED}


def test_a_missing_device_and_a_wrong_pool_are_noticed():
    evidence = honest()
    row = next(row for row in evidence.windows if row["Disks"] and row["Disks"][0]["Busy"] is not None)
    poorer = {**row, "Disks": row["Disks"][1:], "Pool": "other"}

    verdict = judge(replace(evidence, windows=[poorer, *without(evidence, row)]))

    assert {one.law for one in verdict.discrepancies} == {Law.LOST, Law.CORRUPT}
    assert any("Pool" in str(one) for one in verdict.discrepancies)
    assert any("Disks of" in str(one) for one in verdict.discrepancies)


def test_a_dead_letter_with_another_reason_or_other_bytes_is_corrupt_and_one_too_many_is_a_loss():
    evidence = honest()
    first = evidence.dead_letters[0]
    place = Place("0", first["SequenceNumber"])
    stored = next(event.place.sequence for event in evidence.log if event.place not in evidence.kept)

    wrong_reason = replace(evidence, dead_letters=[{**first, "Reason": "other"}, *evidence.dead_letters[1:]])
    wrong_bytes = replace(evidence, kept={**evidence.kept, place: b"other"})
    innocent = replace(evidence, dead_letters=[*evidence.dead_letters, {**first, "SequenceNumber": stored}])

    assert broken_laws(wrong_reason) == {Law.CORRUPT}
    assert broken_laws(wrong_bytes) == {Law.CORRUPT}
    assert broken_laws(innocent) == {Law.LOST}


def test_books_that_do_not_balance_or_leave_events_out_are_noticed():
    evidence = honest()
    off_by_one = {**evidence.runs[0], "Stored": evidence.runs[0]["Stored"] - 1}
    last = max(run["LastSequenceNumber"] for run in evidence.runs)

    unbalanced = replace(evidence, runs=[off_by_one, *evidence.runs[1:]])
    incomplete = replace(evidence, runs=[run for run in evidence.runs if run["LastSequenceNumber"] != last])

    assert broken_laws(unbalanced) == {Law.UNBALANCED}
    assert broken_laws(incomplete) == {Law.UNBALANCED}


def test_a_gap_in_an_agents_numbers_is_a_loss():
    evidence = replace(honest(), agent_cluster="oracle-a")
    gone = max(
        (one for one in evidence.acknowledged if one.cluster == "oracle-a" and one.seq == 2),
        key=lambda one: one.instance,
    )
    log = [event for event in evidence.log if event.raw != evidence.acknowledged[gone]]
    acknowledged = {envelope: raw for envelope, raw in evidence.acknowledged.items() if envelope != gone}

    found = judge(replace(evidence, log=log, acknowledged=acknowledged)).discrepancies

    assert any(one.law is Law.LOST and one.what == "seq" and one.expected == 2 for one in found)


def test_a_run_without_duplicates_proves_nothing():
    evidence = honest()
    seen, once = set(), []
    for event in evidence.log:
        if event.raw not in seen:
            once.append(event)
        seen.add(event.raw)

    assert Law.UNPROVEN in broken_laws(replace(evidence, log=once))


def test_a_snapshot_that_stayed_behind_is_noticed():
    evidence = replace(honest(), last_sent={("oracle-a", "node-000"): 2}, snapshots={("oracle-a", "node-000"): 1})

    assert broken_laws(evidence) == {Law.LOST}


@pytest.mark.parametrize(
    ("expected", "found", "decimals", "same"),
    [
        (0.12345, 0.1235, 4, True),
        (0.12345, 0.1234, 4, True),
        (0.12345, 0.1236, 4, False),
        (0.12, None, 4, False),
        (None, 0.0, 4, False),
        (None, None, 4, True),
        (1.0, True, 0, False),
        (1.0, "1.0", 0, False),
        (1e15 + 0.3, 1e15, 0, True),
    ],
)
def test_numbers_agree_within_half_a_unit_of_the_last_decimal(expected, found, decimals, same):
    assert agree(expected, found, decimals) is same


def without(evidence, row):
    return [other for other in evidence.windows if other is not row]
