"""Takes one batch of events from bytes to committed state: the one way data flows.

Pure but for the ports. The order of the steps is the delivery guarantee (docs/delivery-guarantees.md): rows and dead
letters first, then the states that remember them. A crash in between repeats rows under the same keys, never loses
one. Whatever is raised, nothing that was not committed stays in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from functions.core.close import Rows, close, evict
from functions.core.detector import Detector
from functions.core.fleet import Fleet
from functions.core.fold import Folded, decode, fold
from functions.core.node import Node
from functions.core.ports import DeadLetters, Event, RowSink, StateStore, StateUpdate
from functions.core.rows import blob_name, dead_letter_row
from telemetry.tables import DEAD_LETTERS_TABLE
from telemetry.validation import EnvelopeReader


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of a batch: `received == stored + duplicates + dead_lettered`, always."""

    received: int
    stored: int
    duplicates: int
    dead_lettered: int
    rows: int
    touched: tuple[tuple[str, str], ...] = ()


class Ingest:
    """Processes the batches of one partition, in order; keeps the partition's nodes in memory between them."""

    def __init__(self, store: StateStore, sink: RowSink, dead_letters: DeadLetters, detector: Detector) -> None:
        self._store, self._sink, self._dead_letters = store, sink, dead_letters
        self._reader = EnvelopeReader()
        self.fleet = Fleet(detector)

    def run(self, events: Sequence[Event]) -> BatchReport:
        """Stores a batch. Raises TransientError, after which the same batch is to be run again."""
        decoded = decode(self._reader, events)
        keys = decoded.keys()
        try:
            missing = self.fleet.missing(keys)
            if missing:
                self.fleet.admit(self._store.load(missing))
            folded = fold(self.fleet, decoded)
            rows = close(self.fleet, folded.touched.values())
            self._write(rows, folded)
            self._commit(list(folded.touched.values()))
        except BaseException:
            self.fleet.forget(keys)
            raise
        self.fleet.make_room(keys)
        return BatchReport(
            len(events), folded.stored, folded.duplicates, len(folded.letters), len(rows), tuple(folded.touched)
        )

    def _write(self, rows: Rows, folded: Folded) -> None:
        if folded.letters:
            self._dead_letters.put(folded.letters)
            rows.add(DEAD_LETTERS_TABLE, (dead_letter_row(letter, blob_name(letter)) for letter in folded.letters))
        for table, lines in rows.tables.items():
            if lines:
                self._sink.write(table, lines)

    def _commit(self, nodes: list[Node]) -> None:
        evict(self.fleet, nodes)
        if not nodes:
            return
        versions = self._store.commit(
            [StateUpdate(node.key, self.fleet.encode(node), node.version, summary(node)) for node in nodes]
        )
        for node in nodes:
            node.version = versions[node.key]


def summary(node: Node) -> dict[str, str | int | float | bool]:
    """What a list of nodes shows, kept beside the state so that listing need not open it."""
    return {
        "Pool": str(node.resource.get("pool", "")),
        "Status": "silent" if node.silent else "live",
        "LastSeen": node.received_ms,
        "AnomalyScore": node.score,
        "AnomalyMetric": node.score_metric,
    }
