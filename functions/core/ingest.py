"""Takes one batch of events from bytes to committed state: the one way data flows.

Pure but for the ports. The order of the steps is the delivery guarantee (docs/delivery-guarantees.md): rows and dead
letters first, then the states that remember them. A crash in between repeats rows under the same keys, never loses
one. Whatever is raised, nothing that was not committed stays in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from functions.core.close import Rows, close, evict
from functions.core.fleet import Fleet
from functions.core.fleet_model.model import FleetModel
from functions.core.fleet_model.outliers import Outliers
from functions.core.fold import Folded, decode, fold
from functions.core.node import Node
from functions.core.policy.maintenance import MaintenanceWindow
from functions.core.ports import DeadLetters, Event, MaintenanceCalendar, RowSink, StateStore, StateUpdate
from functions.core.rows import blob_name, dead_letter_row
from functions.core.watch import Watch
from telemetry.errors import StoreUnavailable
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

    def __init__(
        self,
        store: StateStore,
        sink: RowSink,
        dead_letters: DeadLetters,
        watch: Watch,
        calendar: MaintenanceCalendar | None = None,
        model: Callable[[], FleetModel | None] = lambda: None,
    ) -> None:
        self._store, self._sink, self._dead_letters = store, sink, dead_letters
        self._calendar, self._model = calendar, model
        self._maintenance: Sequence[MaintenanceWindow] = ()
        self._reader = EnvelopeReader()
        self.fleet = Fleet()
        self.watch = watch
        self._outliers = Outliers()

    def run(self, events: Sequence[Event]) -> BatchReport:
        """Stores a batch. Raises TransientError, after which the same batch is to be run again."""
        decoded = decode(self._reader, events)
        keys = decoded.keys()
        try:
            missing = self.fleet.missing(keys)
            if missing:
                self.fleet.admit(self._store.load(missing))
            self.watch.prepare()
            self._look_up_maintenance()
            folded = fold(self.fleet, decoded)
            rows = close(
                self.fleet,
                folded.touched.values(),
                self.watch,
                maintenance=self._maintenance,
                outliers=self._outliers,
                model=self._model(),
            )
            self._write(rows, folded)
            self._commit(list(folded.touched.values()))
        except BaseException:
            self.fleet.forget(keys)
            self.watch.discard()
            raise
        gone = self.fleet.make_room(keys)
        self.watch.forget(gone)
        self._outliers.forget(gone)
        self.watch.keep()
        return BatchReport(
            len(events), folded.stored, folded.duplicates, len(folded.letters), len(rows), tuple(folded.touched)
        )

    def _look_up_maintenance(self) -> None:
        if self._calendar is not None:
            try:
                self._maintenance = self._calendar.windows()
            except StoreUnavailable as error:
                self.watch.problems.append(f"maintenance is as it was known before: {error}")

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
    incident = node.watched.incident
    return {
        "Pool": node.pool,
        "Status": "silent" if node.silent else "live",
        "LastSeen": node.received_ms,
        "AnomalyScore": node.score,
        "AnomalyMetric": node.score_metric,
        "IncidentId": incident.id if incident is not None else "",
        "Severity": incident.severity.label if incident is not None else "",
    }
