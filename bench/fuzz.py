"""Feeds mutated envelopes to validation and to the whole core: `python -m bench.fuzz --count 200000 --seed 1`.

Mutants arrive in batches with valid neighbours, as from Event Hubs. An envelope *escapes* when anything but
EnvelopeRejected comes out, when the batch decides otherwise than the careful way does alone (so that something
learnt from one envelope let another pass), or when a neighbour does not come out as it went in.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from bench.mutations import RECEIVED, Mutator, corpus
from functions.adapters.memory import MemoryDeadLetters, MemoryRowSink, MemoryStateStore
from functions.core.ingest import Ingest
from functions.core.ports import Event, Position
from functions.core.watch import Watch
from telemetry.careful import parse_carefully
from telemetry.envelope import inflate
from telemetry.errors import EnvelopeRejected
from telemetry.rules import Frame, check_ranges, check_time
from telemetry.validation import EnvelopeReader

BATCH = 32
"""Mutants of a batch; a valid neighbour comes before every fourth."""
THROUGH_CORE = 20
"""One batch of so many runs through the whole Ingest too."""
_SHOWN = 5


@dataclass(slots=True)
class Findings:
    """What became of the mutants."""

    mutants: int = 0
    accepted: int = 0
    rejected: int = 0
    escaped: int = 0
    examples: list[str] = field(default_factory=list)

    def escape(self, raw: bytes, why: str) -> None:
        """Notes an envelope that got away."""
        self.escaped += 1
        if len(self.examples) < _SHOWN:
            self.examples.append(f"{why}: {raw[:2000]!r}")

    def lines(self) -> list[str]:
        """One line per number, as benchmarks print them."""
        return [f"fuzz.{name} {getattr(self, name)}" for name in ("mutants", "accepted", "rejected", "escaped")]


def carefully(raw: bytes) -> Frame | EnvelopeRejected:
    """What an envelope is by itself: parsed by the careful way, nothing learnt before."""
    try:
        frame = parse_carefully(inflate(raw))
        check_time(frame.time, RECEIVED)
    except EnvelopeRejected as error:
        return error
    return frame


def difference(found: Frame | EnvelopeRejected, numbers: Any, expected: Frame | EnvelopeRejected) -> str | None:
    """How two outcomes differ, or None. `numbers` are those of the found frame."""
    if isinstance(found, EnvelopeRejected) or isinstance(expected, EnvelopeRejected):
        return None if str(found) == str(expected) else f"{found} instead of {expected}"
    for name in ("cluster", "node", "instance", "seq", "time", "devices", "resource"):
        if getattr(found, name) != getattr(expected, name):
            return f"{name} is {getattr(found, name)!r} instead of {getattr(expected, name)!r}"
    if found.layout.key != expected.layout.key:
        return f"layout {found.layout.key} instead of {expected.layout.key}"
    wanted = np.frombuffer(expected.values).reshape(numbers.shape)
    return None if np.array_equal(numbers, wanted, equal_nan=True) else "numbers differ"


class Fuzz:
    """A reader that remembers what it read, a core that keeps its state, and mutants without end."""

    def __init__(self, seed: int) -> None:
        self.findings = Findings()
        self._mutator = Mutator(seed)
        self._neighbours = corpus()
        self._alone = {raw: carefully(raw) for raw in self._neighbours}
        self._reader = EnvelopeReader()
        self._sequence = 0

    def run(self, count: int) -> Findings:
        """Lets so many mutants loose."""
        findings = self.findings
        until = findings.mutants + count
        while findings.mutants < until:
            mutants = min(BATCH, until - findings.mutants)
            batch = []
            for number in range(mutants):
                if number % 4 == 0:
                    batch.append(self._neighbours[(findings.mutants + number) % len(self._neighbours)])
                batch.append(self._mutator.mutant())
            findings.mutants += mutants
            self._read(batch)
            if findings.mutants // BATCH % THROUGH_CORE == 1:
                self._ingest(batch)
        return findings

    def _read(self, batch: Sequence[bytes]) -> None:
        try:
            read = self._reader.read([(raw, RECEIVED) for raw in batch])
            out_of_range = {layout: check_ranges(layout, numbers) for layout, numbers in read.numbers.items()}
        except Exception as error:
            self.findings.escape(b" ".join(batch), f"a batch escaped with {error!r}")
            return
        for index, (raw, frame) in enumerate(zip(batch, read.frames, strict=True)):
            if index % 5 and index % 4 and isinstance(frame, EnvelopeRejected):
                self.findings.rejected += 1  # by the careful way already; asked a second time for a sample of them
                continue
            expected = self._alone.get(raw) or carefully(raw)
            numbers = None if isinstance(frame, EnvelopeRejected) else read.numbers[frame.layout][frame.row]
            wrong = difference(frame, numbers, expected)
            if wrong:
                self.findings.escape(raw, wrong)
            if index % 5 == 0:
                continue  # a neighbour
            if isinstance(frame, EnvelopeRejected) or frame.row in out_of_range[frame.layout]:
                self.findings.rejected += 1
            else:
                self.findings.accepted += 1

    def _ingest(self, batch: Sequence[bytes]) -> None:
        """The whole way, on a core of its own: every envelope is accounted for, every row is JSON, none has NaN."""
        store, sink, letters = MemoryStateStore(), MemoryRowSink(), MemoryDeadLetters()
        events = []
        for raw in batch:
            self._sequence += 1
            events.append(Event(raw, Position("fuzz", "0", self._sequence, RECEIVED)))
        try:
            ingest = Ingest(store, sink, letters, Watch())
            report = ingest.run(events)
            again = ingest.run(events)
            for rows in sink.tables.values():
                for row in rows:
                    orjson.loads(row)
        except Exception as error:
            self.findings.escape(b" ".join(batch), f"the core failed with {error!r}")
            return
        if report.stored + report.duplicates + report.dead_lettered != len(batch):
            self.findings.escape(b" ".join(batch), f"not all accounted for: {report}")
        if again.stored or len(letters.letters) != report.dead_lettered:
            self.findings.escape(b" ".join(batch), f"stored or refused twice: {report}, then {again}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the findings; the exit status is 1 if anything escaped."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description="Feed mutated envelopes to the core.")
    parser.add_argument("--count", type=int, default=200_000, help="how many mutants (200000)")
    parser.add_argument("--seed", type=int, default=1, help="of the random generator (1)")
    options = parser.parse_args(arguments)
    findings = Fuzz(options.seed).run(options.count)
    print("\n".join(findings.lines()))
    for example in findings.examples:
        print(example, file=sys.stderr)
    return 1 if findings.escaped else 0


if __name__ == "__main__":
    sys.exit(main())
