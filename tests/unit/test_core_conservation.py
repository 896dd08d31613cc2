"""The conservation law: whatever fails, every envelope is stored once, or a duplicate, or a dead letter.

A story is drawn: agents publish into a partition's log (with restarts, clock steps, devices that come and go,
duplicates, delays and rubbish), and two workers and a sweep process it, each call of theirs failing before, halfway
or after it took effect, workers dying with or without a checkpoint, one taking over from the other and both running
at once. Then a worker without faults finishes from the last checkpoint, as the host would.
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from functions.adapters.memory import (
    MemoryDeadLetters,
    MemoryMaintenanceCalendar,
    MemoryRowSink,
    MemoryStateStore,
    Moment,
)
from functions.core.ingest import Ingest
from functions.core.ports import Event, Position
from functions.core.sweep import Sweep
from functions.core.watch import Watch
from telemetry.envelope import Envelope, encode
from telemetry.errors import TransientError
from telemetry.tables import DEAD_LETTERS_TABLE, NODE_METRICS_TABLE
from tests.builders import START
from tests.reckoning import MINUTE, deduplicated, difference, reckon, rows_of

FAR_FUTURE = START + 10**10

values = st.sampled_from([0.0, 0.1, 0.25, 0.3333, 1.0, None])
device_sets = st.sampled_from([(), ("sda",), ("sda", "sdb"), ("sdb", "sda"), ("sdc",)])
pod_sets = st.sampled_from([(), (), ("shop/cart",), ("shop/cart", "shop/till"), ("shop/till", "system/dns")])
steps_of_the_clock = st.sampled_from(
    [10_000, 10_000, 30_000, 30_000, 60_000, 60_000, 90_000, 250_000, 1, -20_000, -70_000, -400_000]
)


@dataclass(frozen=True)
class Publish:
    node: int
    step: int
    numbers: tuple[float | None, ...]
    spacing: int
    disks: tuple[str, ...]
    networks: tuple[str, ...]
    pods: tuple[str, ...]
    restart: bool
    late_by: int
    """How many envelopes of others overtake it."""


@dataclass(frozen=True)
class Rubbish:
    raw: bytes


@dataclass(frozen=True)
class Again:
    """An envelope that was published before comes once more, as after a send whose answer was lost."""

    back: int


@dataclass(frozen=True)
class Fault:
    port: str
    operation: str
    moment: Moment
    after_calls: int


@dataclass(frozen=True)
class Run:
    worker: int
    size: int
    fault: Fault | None
    meanwhile: str
    """Who gets in between folding and committing: nobody, sweep, other."""
    ends: str
    """How the worker goes on: checkpoint, no checkpoint, dies."""


@dataclass(frozen=True)
class SweepRun:
    fault: Fault | None


faults = st.builds(
    lambda call, moment, after: Fault(*call, moment, after),
    st.sampled_from([("store", "load"), ("store", "commit"), ("sink", "write"), ("letters", "put")]),
    st.sampled_from(Moment),
    st.integers(0, 2),
)
publish = st.builds(
    Publish,
    node=st.integers(0, 1),
    step=steps_of_the_clock,
    numbers=st.lists(values, min_size=1, max_size=4).map(tuple),
    spacing=st.sampled_from([1, 10_000, 25_000, 70_000]),
    disks=device_sets,
    networks=st.sampled_from([(), ("eth0",)]),
    pods=pod_sets,
    restart=st.booleans().flatmap(lambda maybe: st.booleans() if maybe else st.just(False)),
    late_by=st.sampled_from([0, 0, 0, 0, 1, 2]),
)
run = st.builds(
    Run,
    worker=st.integers(0, 1),
    size=st.integers(1, 6),
    fault=st.none() | faults,
    meanwhile=st.sampled_from(["nobody", "nobody", "sweep", "other"]),
    ends=st.sampled_from(["checkpoint", "no checkpoint", "dies"]),
)
rubbish = st.builds(Rubbish, st.sampled_from([b"", b"{}", b"\x1f\x8b\x08", b"[NaN]", b'{"version":2}']))
again = st.builds(Again, st.integers(0, 9))
sweep = st.builds(SweepRun, st.none() | faults)
stories = st.lists(st.one_of(publish, publish, publish, run, run, run, rubbish, again, sweep), min_size=25, max_size=60)


class InterruptedStore:
    """A state store before whose next commit something else happens."""

    def __init__(self, store):
        self._store = store
        self.meanwhile = None

    def load(self, keys):
        return self._store.load(keys)

    def commit(self, updates):
        if self.meanwhile:
            happens, self.meanwhile = self.meanwhile, None
            happens()
        return self._store.commit(updates)


class Partition:
    """One partition's log, what was said in it, and everything that processes it."""

    def __init__(self):
        self.log: list[Event] = []
        self.said: list[Envelope | None] = []
        self.store, self.sink, self.letters = MemoryStateStore(), MemoryRowSink(), MemoryDeadLetters()
        self.checkpoint = 0
        self.workers = [self.new_worker(), self.new_worker()]
        self._clock = [START, START]
        self._instance = [1, 1]
        self._seq = [0, 0]
        self._delayed: list[tuple[int, Envelope]] = []

    def new_worker(self):
        store = InterruptedStore(self.store)
        return {"store": store, "ingest": Ingest(store, self.sink, self.letters, Watch()), "at": self.checkpoint}

    def tell(self, step):
        match step:
            case Publish():
                self._publish(step)
            case Rubbish(raw):
                self._append(raw, None)
            case Again(back):
                if self.said:
                    index = max(0, len(self.said) - 1 - back)
                    self._append(self.log[index].raw, self.said[index])
            case Run():
                self._run(step)
            case SweepRun(fault):
                self._sweep(fault)

    def _publish(self, step):
        if step.restart:
            self._instance[step.node] += 1
            self._seq[step.node] = 0
        self._seq[step.node] += 1
        self._clock[step.node] += step.step
        time = [self._clock[step.node] + index * step.spacing for index in range(len(step.numbers))]
        self._clock[step.node] = time[-1]
        numbers = list(step.numbers)
        devices = {}
        if step.disks:
            columns = [[None if n is None else n + place for n in numbers] for place in range(len(step.disks))]
            devices["disk"] = {"device": list(step.disks), "read": columns, "busy": [numbers] * len(step.disks)}
        if step.networks:
            devices["network"] = {"interface": list(step.networks), "rx": [numbers]}
        if step.pods:
            readings = [numbers, *([None] * len(numbers) for _ in step.pods[1:])]
            devices["pod"] = {"pod": list(step.pods), "cpu": readings, "mem": [numbers] * len(step.pods)}
        free = [None if n is None else n * 1000 for n in numbers]
        metrics = {"cpu": numbers, "mem.free": free} if len(numbers) > 1 else {"mem.free": free}
        instance, seq = f"{self._instance[step.node]:012x}", self._seq[step.node]
        said = Envelope("aks-test", f"node-{step.node}", instance, seq, time, metrics, devices)
        if step.late_by:
            self._delayed.append((step.late_by, said))
            return
        self._append(encode(said), said)
        due = [said for left, said in self._delayed if left <= 1]
        self._delayed = [(left - 1, said) for left, said in self._delayed if left > 1]
        for said in due:
            self._append(encode(said), said)

    def _append(self, raw, said):
        enqueued = said.time[-1] + 100 if said else START
        self.log.append(Event(raw, Position("telemetry", "0", len(self.log), enqueued)))
        self.said.append(said)

    def _plan(self, fault):
        ports = {"store": self.store, "sink": self.sink, "letters": self.letters}
        for port in ports.values():
            port.faults.clear()
        if fault:
            ports[fault.port].faults.fail(fault.operation, fault.moment, after_calls=fault.after_calls)

    def _run(self, step):
        worker = self.workers[step.worker]
        batch = self.log[worker["at"] : worker["at"] + step.size]
        if not batch:
            return
        self._plan(step.fault)
        other = Run(1 - step.worker, 3, None, "nobody", "no checkpoint")
        happens = {"nobody": None, "sweep": lambda: self._sweep(None), "other": lambda: self._run(other)}
        worker["store"].meanwhile = happens[step.meanwhile]
        try:
            self.process(worker, batch)
        except TransientError as error:
            event(f"a run ends with {type(error).__name__}")
        else:
            worker["at"] += len(batch)
            if step.ends == "checkpoint":
                self.checkpoint = worker["at"]
        worker["store"].meanwhile = None
        if step.ends == "dies":
            self.workers[step.worker] = self.new_worker()

    def process(self, worker, batch):
        report = worker["ingest"].run(batch)
        assert report.received == len(batch) == report.stored + report.duplicates + report.dead_lettered
        return report

    def _sweep(self, fault):
        self._plan(fault)
        try:
            Sweep(self.store, self.sink, MemoryMaintenanceCalendar(), silent_after_ms=0).run(FAR_FUTURE)
        except TransientError as error:
            event(f"a sweep ends with {type(error).__name__}")

    def finish(self, sizes):
        """What the host does in the end: from the last checkpoint, in order, in batches of any size, no faults."""
        for _, said in self._delayed:
            self._append(encode(said), said)
        self._plan(None)
        worker = self.new_worker()
        while worker["at"] < len(self.log):
            size = sizes[worker["at"] % len(sizes)]
            self.process(worker, self.log[worker["at"] : worker["at"] + size])
            worker["at"] += size
        self._sweep(None)
        return worker["ingest"]


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(story=stories, sizes=st.lists(st.integers(1, 7), min_size=1, max_size=3))
def test_every_envelope_is_stored_once_or_a_duplicate_or_a_dead_letter(story, sizes):
    partition = Partition()
    for step in story:
        partition.tell(step)

    partition.finish(sizes)

    expected = reckon(partition.said)
    assert {position.sequence for position in partition.letters.letters} == expected.dead
    assert {row["SequenceNumber"] for row in rows_of(partition.sink, DEAD_LETTERS_TABLE)} == expected.dead
    rows = rows_of(partition.sink, NODE_METRICS_TABLE)
    best = deduplicated(rows)
    starts = {key: int(datetime.fromisoformat(key[2]).timestamp() * 1000) for key in best}
    assert {(key[0], key[1], starts[key] // MINUTE) for key in best} == set(expected.windows)
    for key, row in best.items():
        assert difference(row, expected.windows[key[0], key[1], starts[key] // MINUTE]) is None
    for before, after in pairwise(sorted(rows, key=lambda row: (row["Node"], row["WindowStart"], row["Revision"]))):
        if [before[name] for name in ("Node", "WindowStart", "Revision")] == [
            after[name] for name in ("Node", "WindowStart", "Revision")
        ]:
            for column in ("CpuUtilizationAvg", "MemoryFreeMax", "MemoryFreeMin", "DiskReadAvg"):
                assert before[column] == after[column], "two rows of one key and revision tell different numbers"


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(story=stories, size=st.integers(1, 7))
def test_replaying_the_whole_log_stores_nothing_again(story, size):
    partition = Partition()
    for step in story:
        partition.tell(step)
    partition.finish([3])
    rows = len(partition.sink.tables[NODE_METRICS_TABLE])
    letters = dict(partition.letters.letters)

    partition.checkpoint = 0
    worker = partition.new_worker()
    reports = [
        partition.process(worker, partition.log[start : start + size]) for start in range(0, len(partition.log), size)
    ]

    assert sum(report.stored for report in reports) == 0
    assert sum(report.dead_lettered for report in reports) == len(letters)
    assert partition.letters.letters.keys() == letters.keys()
    assert len(partition.sink.tables[NODE_METRICS_TABLE]) == rows


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(story=stories)
def test_no_window_is_leaked_when_all_nodes_are_forgotten(story):
    partition = Partition()
    for step in story:
        partition.tell(step)
    last = partition.finish([2])

    for ingest in [last, *(worker["ingest"] for worker in partition.workers)]:
        open_windows = sum(len(node.windows) for node in ingest.fleet.nodes.values())
        in_use = sum(len(table.samples) - len(table._free) for table in ingest.fleet.tables.values())
        assert in_use == open_windows

        ingest.fleet.forget(list(ingest.fleet.nodes))

        assert ingest.fleet.tables == {}
