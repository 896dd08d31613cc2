"""What pods cost the chain when they come and go all the time. `python -m bench.pods [--pods 250] [--changes 10]`.

Nodes whose agents run the collector `kubernetes`: every minute some pods of each node end and others begin, so that
every node has devices of its own and other ones all the time, the opposite of what the core's caches are made for.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import batched
from statistics import fmean

import orjson
import psutil

from bench.core import BATCH
from bench.workload import START_MS
from functions.adapters.memory import MemoryDeadLetters, MemoryRowSink, MemoryStateStore
from functions.core.ingest import Ingest
from functions.core.ports import Event, Position
from functions.core.watch import Watch
from local.fleet.model import FleetModel
from telemetry.catalogue import POD, round_for_wire
from telemetry.envelope import Envelope, encode
from telemetry.tables import NODE_METRICS_TABLE

MIB = 1024 * 1024


@dataclass(slots=True)
class _PodsOfANode:
    """The pods of one node: `changes` of them are replaced every minute."""

    random: random.Random
    number: int
    changes: int
    names: list[str]

    def replace(self) -> None:
        """Ends the oldest ones and begins as many."""
        del self.names[: self.changes]
        self.names += [self._name() for _ in range(self.number - len(self.names))]

    def block(self, samples: int) -> dict[str, list[str] | list[list[float | None]]]:
        """As an envelope has it; one pod in three has no volume."""
        return {POD.identity: list(self.names)} | {
            metric.key: [
                [
                    None
                    if metric.key == "volume" and len(name) % 3 == 0
                    else round_for_wire(metric, self.random.random() ** 3 * _TYPICAL[metric.key])
                    for _ in range(samples)
                ]
                for name in self.names
            ]
            for metric in POD.metrics
        }

    def _name(self) -> str:
        word = self.random.choice(("checkout", "catalogue-api", "coredns", "ingress-nginx-controller", "ml-batch-job"))
        return f"{self.random.choice(('shop', 'kube-system', 'data'))}/{word}-{self.random.getrandbits(40):010x}"


_TYPICAL = {"cpu": 0.5, "mem": 5e8, "rx": 1e5, "tx": 1e5, "volume": 1.0, "storage": 2e8, "restarts": 1.2}


def envelopes(nodes: int, pods: int, changes: int, minutes: int) -> Iterator[tuple[int, Envelope]]:
    """(when, envelope) of simulated nodes that have pods too, in the order they are published."""
    generator = random.Random(1)
    of: dict[str, _PodsOfANode] = {}
    minute: dict[str, int] = {}
    for due in FleetModel(nodes, 1, start_ms=START_MS).envelopes(START_MS + minutes * 60_000):
        node = due.envelope.node
        found = of.setdefault(node, _PodsOfANode(generator, pods, changes, []))
        if minute.get(node) != due.at_ms // 60_000:
            minute[node] = due.at_ms // 60_000
            found.replace()
        if pods:
            due.envelope.devices[POD.key] = found.block(len(due.envelope.time))
        yield due.at_ms, due.envelope


def main() -> None:
    """Prints what envelopes, states, rows, time and memory come to."""
    parser = argparse.ArgumentParser(prog="python -m bench.pods", description=__doc__)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--pods", type=int, default=250)
    parser.add_argument("--changes", type=int, default=10, help="pods that are replaced, a minute and node")
    parser.add_argument("--minutes", type=int, default=60)
    options = parser.parse_args()
    store, sink = MemoryStateStore(), MemoryRowSink()
    ingest = Ingest(store, sink, MemoryDeadLetters(), Watch())
    wire: list[int] = []
    seconds: list[float] = []
    states: list[int] = []
    rows: list[int] = []
    columns: list[int] = []
    resident: list[float] = []
    published = envelopes(options.nodes, options.pods, options.changes, options.minutes)
    for number, batch in enumerate(batched(published, min(options.nodes, BATCH), strict=False)):
        events = [
            Event(encode(said), Position("bench", "0", BATCH * number + place, at_ms))
            for place, (at_ms, said) in enumerate(batch)
        ]
        wire += [len(event.raw) for event in events]
        started = time.process_time()
        report = ingest.run(events)
        seconds.append((time.process_time() - started) / len(batch))
        if report.dead_lettered:
            raise ValueError("the workload has a bad envelope")
        states += [len(one.blob or b"") for one in store.load(report.touched[:1]).values()]
        for row in sink.tables.pop(NODE_METRICS_TABLE, []):
            rows.append(len(row))
            columns.append(len(orjson.dumps(orjson.loads(row).get(POD.column))))
        sink.tables.clear()
        if number % 10 == 0:
            gc.collect()
            resident.append(psutil.Process().memory_info().rss / MIB)
    half = len(seconds) // 2
    for name, value, unit in (
        ("envelope_bytes", fmean(wire), "B"),
        ("ms_per_envelope_first_half", 1000 * fmean(seconds[:half]), "ms"),
        ("ms_per_envelope_second_half", 1000 * fmean(seconds[half:]), "ms"),
        ("state_bytes", max(states), "B"),
        ("row_bytes", fmean(rows), "B"),
        ("column_bytes", max(columns), "B"),
        ("rss_half_way", resident[len(resident) // 2], "MiB"),
        ("rss_end", resident[-1], "MiB"),
        ("tables", len(ingest.fleet.tables), "shapes"),
    ):
        print(f"pods.{name} {value:.4g} {unit}" if value < 1000 else f"pods.{name} {value:.0f} {unit}")


if __name__ == "__main__":
    main()
