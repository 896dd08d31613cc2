"""The processing core alone, on one core: bytes in, compressed request bodies out."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

from bench.workload import Workload
from functions.core.bodies import request_bodies
from functions.core.close import close, evict
from functions.core.fleet import Fleet
from functions.core.fold import decode, fold
from functions.core.ports import Event, StoredState
from functions.core.watch import Watch
from telemetry.validation import EnvelopeReader

BATCH = 256
"""Events per batch: maxEventBatchSize of host.json."""
WARM_UP = 0.25
"""Share of the workload that is processed before the clock starts: nodes become known, caches fill."""


class CoreJob:
    """Validates, folds, scores, makes wide rows and packs them, batch by batch; no store, no network."""

    def __init__(self, *, detects: bool = True) -> None:
        self._fleet = Fleet()
        self._watch = Watch()
        self._detects = detects
        self._reader = EnvelopeReader()
        self.rows: list[bytes] = []

    def run(self, events: Sequence[Event], *, keep_rows: bool = False) -> int:
        """Processes events; returns the bytes that would be sent."""
        sent = 0
        for start in range(0, len(events), BATCH):
            decoded = decode(self._reader, events[start : start + BATCH])
            self._fleet.admit({key: StoredState(None, None) for key in self._fleet.missing(decoded.keys())})
            folded = fold(self._fleet, decoded)
            if folded.letters:
                raise ValueError(f"the workload has a bad envelope: {folded.letters[0].error}")
            touched = folded.touched.values()
            for table, rows in close(self._fleet, touched, self._watch if self._detects else None).tables.items():
                sent += sum(map(len, request_bodies(rows)))
                if keep_rows and table == "NodeMetrics_CL":
                    self.rows += rows
            evict(self._fleet, touched)
            self._watch.keep()
        return sent


def core_seconds_per_sample(workload: Workload, repeats: int = 3, *, detects: bool = True) -> float:
    """CPU seconds per sample in steady state, best of several runs."""
    first = int(len(workload.events) * WARM_UP)
    samples = sum(len(envelope.time) for envelope in workload.envelopes[first:])

    def once() -> float:
        job = CoreJob(detects=detects)
        job.run(workload.events[:first])
        return cpu_seconds(lambda: job.run(workload.events[first:]))

    return min(once() for _ in range(repeats)) / samples


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process for one call, with garbage of before collected and set aside."""
    gc.collect()
    gc.freeze()
    started = time.process_time()
    work()
    spent = time.process_time() - started
    gc.unfreeze()
    return spent
