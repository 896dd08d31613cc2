"""The watch: judges windows in their order, decides what is told, keeps what was learnt, and survives its store."""

import numpy as np
import pytest

from functions.adapters.memory import MemoryBlobs
from functions.core.detectors import streaming
from functions.core.policy.deviations import HABIT, RETURNING, UNLEARNT
from functions.core.policy.incidents import Kind, Phase, Watched
from functions.core.policy.maintenance import MaintenanceWindow
from functions.core.policy.rules import METRICS
from functions.core.watch import STORED_EVERY, Seen, Watch
from telemetry.errors import StoreUnavailable
from telemetry.tables import FEATURES

START = 29_833_200
CPU, STEAL, MEMORY = (FEATURES.index(name) for name in ("CpuUtilization", "CpuSteal", "MemoryUtilization"))
WARM = 400
"""Minutes after which the detectors know a series well enough."""
KNOWN = 36 * 60
"""Minutes after which they know all hours of the day."""


class Fleet:
    """Some nodes of a pool whose windows are judged minute by minute."""

    def __init__(self, nodes=1, watch=None, pools=("user",)):
        self.watch = watch or Watch()
        self.keys = [("c", f"n{number}") for number in range(nodes)]
        self.pools = [pools[number % len(pools)] for number in range(nodes)]
        self.watched = [Watched() for _ in self.keys]
        self.random = np.random.default_rng(1)
        self.minute = START
        self.told = []
        """(node, minute since START, Told)"""

    def windows(self):
        known = zip(self.keys, self.pools, self.watched, strict=True)
        return [Seen(key, pool, self.minute, watched) for key, pool, watched in known]

    def features(self, changes=()):
        found = np.full((len(self.keys), len(FEATURES)), np.nan)
        found[:, [FEATURES.index(metric) for metric in METRICS]] = 0.0
        found[:, CPU] = 0.3 + self.random.uniform(-0.02, 0.02, len(self.keys))
        found[:, STEAL] = 0.005 + self.random.uniform(-0.002, 0.002, len(self.keys))
        found[:, MEMORY] = 0.5
        for node, column, value in changes:
            found[node, column] = value
        return found

    def live(self, minutes, *changes, maintenance=()):
        for _ in range(minutes):
            judged = self.watch.judge(self.windows(), self.features(changes), maintenance)
            for node, one in enumerate(judged):
                self.told += [(node, self.minute - START, told) for told in one.told]
            self.watch.keep()
            self.minute += 1
        return judged


@pytest.fixture(scope="module")
def warm_memory():
    fleet = Fleet(9)
    fleet.live(WARM)
    assert fleet.told == []
    return fleet.watch.memory.encode()


@pytest.fixture
def warm(warm_memory):
    """Makes fleets of which the detectors know the first hours."""

    def make(nodes=1, **rest):
        store = MemoryBlobs()
        store.save("0", warm_memory, None)
        fleet = Fleet(nodes, Watch(store, name="0"), **rest)
        fleet.watch.prepare()
        fleet.minute += WARM
        return fleet

    return make


def test_healthy_nodes_have_low_scores_and_nothing_is_told(warm):
    fleet = warm(3)

    judged = fleet.live(200)

    assert fleet.told == []
    assert all(0 <= one.score < 0.5 for one in judged)


def test_an_incident_is_told_when_a_rise_has_lasted_and_again_when_it_is_over(warm):
    fleet = warm()

    fleet.live(10)
    judged = fleet.live(20, (0, STEAL, 0.4))
    fleet.live(30)

    (_, began, begin), (_, ended, end) = fleet.told
    assert (began - WARM, ended - WARM) == (12, 44)
    assert (begin.phase, end.phase) == (Phase.BEGIN, Phase.END)
    assert begin.incident.kind is Kind.UNUSUAL
    assert begin.incident.since == START + WARM + 10
    assert (end.incident.id, end.incident.minutes) == (begin.incident.id, 20)
    (finding,) = begin.incident.strongest_first
    assert (finding.metric, finding.value) == ("CpuSteal", 0.4)
    assert 0.0 <= finding.lower <= 0.005 <= finding.upper < 0.4
    assert (judged[0].score > 0.5, judged[0].metric) == (True, "CpuSteal")


def test_many_metrics_at_once_are_one_incident(warm):
    fleet = warm()

    fleet.live(10, (0, STEAL, 0.4), (0, CPU, 0.99), (0, MEMORY, 0.9))

    (begin,) = [told for _, _, told in fleet.told if told.phase is Phase.BEGIN]
    assert {found.metric for found in fleet.watched[0].incident.strongest_first} == {
        "CpuSteal",
        "CpuUtilization",
        "MemoryUtilization",
    }
    assert [told.incident.severity.label for _, _, told in fleet.told] == ["Warning", "Error"]
    assert begin.incident.id == fleet.watched[0].incident.id


def test_a_rise_that_matters_to_nobody_is_not_told_however_unusual(warm):
    fleet = warm()

    judged = fleet.live(30, (0, STEAL, 0.06))

    assert fleet.told == []
    assert judged[0].score > 0.3


@pytest.fixture(scope="module")
def known_memory():
    fleet = Fleet()
    fleet.live(KNOWN)
    assert fleet.told == []
    return fleet.watch.memory.encode()


@pytest.fixture
def known(known_memory):
    """A fleet of one node, of which the detectors know all hours."""
    store = MemoryBlobs()
    store.save("0", known_memory, None)
    fleet = Fleet(1, Watch(store, name="0"))
    fleet.watch.prepare()
    fleet.minute += KNOWN
    return fleet


def outages(fleet, number, every=300):
    """The incidents that begin when a fault of 20 minutes comes again and again."""
    for _ in range(number):
        fleet.live(20, (0, STEAL, 0.4))
        fleet.live(every - 20)
    return [told for _, _, told in fleet.told if told.phase is Phase.BEGIN]


def test_a_fault_that_comes_back_is_told_again_with_the_past_one(known):
    first, second = outages(known, 2)

    assert second.incident.id != first.incident.id
    assert second.similar.since == first.incident.since
    assert second.similar.minutes == 20


def test_what_comes_again_and_again_is_told_three_times_and_is_a_habit_then(known):
    assert len(outages(known, 6, every=60)) == HABIT == 3


def test_what_does_not_end_is_not_begun_again_by_its_score(known):
    known.live(24 * 60 + 120, (0, STEAL, 0.4))

    assert [told.phase for _, _, told in known.told] == [Phase.BEGIN, Phase.END]


@pytest.fixture
def told_with(monkeypatch):
    """Whether rises of a fleet's first node without evidence, but with this score, are told."""

    def rise(fleet, score, column=STEAL):
        def update(states, time, x):
            found = streaming.update(states, time, x)
            return found._replace(evidence=0.0 * found.evidence, score=np.where(x > 0.3, score, 0.0))

        fleet.told.clear()
        with monkeypatch.context() as patched:
            patched.setattr("functions.core.watch.update", update)
            fleet.live(10, (0, column, 0.95))
            fleet.live(40)
        return bool(fleet.told)

    return rise


MIDDLE = (RETURNING + UNLEARNT) / 2


def test_less_is_asked_of_what_a_known_node_was_told_of_before(known, told_with):
    assert not told_with(known, MIDDLE)
    assert told_with(known, UNLEARNT)
    assert told_with(known, MIDDLE)
    assert not told_with(known, RETURNING - 0.01)


def test_as_much_is_asked_as_of_any_other_while_hours_are_not_known(warm, told_with):
    fleet = warm()

    assert told_with(fleet, UNLEARNT)
    assert not told_with(fleet, MIDDLE)
    assert told_with(fleet, UNLEARNT)


def test_habits_are_those_of_one_metric(known, told_with):
    for _ in range(HABIT):
        assert told_with(known, UNLEARNT)
    assert not told_with(known, 0.99)

    assert told_with(known, UNLEARNT, MEMORY)
    assert told_with(known, UNLEARNT, MEMORY)


def test_a_fall_is_not_told(warm):
    fleet = warm()

    fleet.live(60, (0, CPU, 0.0), (0, MEMORY, 0.0))

    assert fleet.told == []


def test_the_same_on_many_nodes_of_a_pool_is_one_incident_of_the_pool(warm):
    fleet = warm(9)

    fleet.live(6, *((node, STEAL, 0.4) for node in range(4)))

    assert [node for node, _, _ in fleet.told] == [0, 1, 2, 3]
    assert {told.incident.kind for _, _, told in fleet.told} == {Kind.POOL}
    assert len({told.incident.id for _, _, told in fleet.told}) == 1


def test_two_nodes_of_a_pool_have_an_incident_each(warm):
    fleet = warm(9)

    fleet.live(6, (0, STEAL, 0.4), (1, STEAL, 0.4))

    assert {told.incident.kind for _, _, told in fleet.told} == {Kind.UNUSUAL}
    assert len({told.incident.id for _, _, told in fleet.told}) == 2


def test_many_nodes_of_different_pools_have_an_incident_each(warm):
    fleet = warm(9, pools=("a", "b", "c"))

    fleet.live(6, *((node, STEAL, 0.4) for node in range(6)))

    assert {told.incident.kind for _, _, told in fleet.told} == {Kind.UNUSUAL}


def test_what_is_wrong_with_a_node_beside_the_pools_event_is_an_incident_of_its_own(warm):
    fleet = warm(9)
    common = [(node, STEAL, 0.4) for node in range(4)]

    fleet.live(6, *common)
    fleet.live(10, *common, (0, MEMORY, 0.9))

    assert [told.phase for node, _, told in fleet.told if node == 0] == [Phase.BEGIN, Phase.END, Phase.BEGIN]
    assert fleet.watched[0].incident.kind is Kind.UNUSUAL
    assert "MemoryUtilization" in fleet.watched[0].incident.findings
    assert fleet.watched[1].incident.kind is Kind.POOL


def test_an_incident_in_maintenance_is_told_as_suppressed(warm):
    fleet = warm()
    begin_ms, end_ms = (START + WARM) * 60_000, (START + WARM + 10) * 60_000

    fleet.live(20, (0, STEAL, 0.4), maintenance=[MaintenanceWindow("c", begin_ms, end_ms)])

    assert [(told.phase, told.incident.suppressed) for _, _, told in fleet.told] == [
        (Phase.BEGIN, True),
        (Phase.UPDATE, False),
    ]


def test_a_similar_incident_of_the_past_is_remembered(warm):
    fleet = warm()

    fleet.live(10, (0, STEAL, 0.4))
    fleet.live(90)
    fleet.live(10, (0, STEAL, 0.9))

    first, _, second = (told for _, _, told in fleet.told)
    assert first.similar is None
    assert (second.similar.since, second.similar.minutes) == (START + WARM, 10)


def test_several_windows_of_a_node_in_one_call_are_judged_as_one_after_the_other(warm):
    one, several = warm(2), warm(2)
    changes = [(0, STEAL, 0.4)]
    windows, features = [], []
    for _ in range(12):
        one.live(1, *changes)
        windows += several.windows()
        features.append(several.features(changes))
        several.minute += 1

    judged = several.watch.judge(windows[::-1], np.concatenate(features)[::-1])[::-1]
    several.watch.keep()

    told = [(index % 2, index // 2, told) for index, found in enumerate(judged) for told in found.told]
    assert [(node, minute - WARM, what.incident) for node, minute, what in one.told] == [
        (node, minute, what.incident) for node, minute, what in told
    ]
    assert several.watch.memory.encode()[20:] == one.watch.memory.encode()[20:]
    assert [watched.minute for watched in several.watched] == [watched.minute for watched in one.watched]


def test_an_older_window_is_scored_but_teaches_and_decides_nothing(warm):
    fleet = warm()
    fleet.live(5)
    before = fleet.watch.memory.take(fleet.keys).tobytes()
    course = fleet.watched[0].course
    fleet.minute -= 1

    judged = fleet.watch.judge(fleet.windows(), fleet.features([(0, STEAL, 0.9)]))
    fleet.watch.keep()

    assert judged[0].score > 0.3
    assert judged[0].told == ()
    assert fleet.watch.memory.take(fleet.keys).tobytes() == before
    assert fleet.watched[0].course is course


def test_what_a_batch_taught_is_gone_when_the_batch_is_discarded(warm):
    fleet = warm()
    before = fleet.watch.memory.take(fleet.keys).tobytes()

    fleet.watch.judge(fleet.windows(), fleet.features())
    fleet.watch.discard()
    fleet.watch.keep()

    assert fleet.watch.memory.take(fleet.keys).tobytes() == before


def test_windows_without_any_value_have_no_score():
    fleet = Fleet()

    for _ in range(300):
        (judged,) = fleet.watch.judge(fleet.windows(), np.full((1, len(FEATURES)), np.nan))
        fleet.watch.keep()
        fleet.minute += 1

    assert (judged.score, judged.metric, judged.told) == (0.0, "", ())


def test_forgotten_nodes_begin_anew(warm):
    fleet = warm(2)
    fleet.live(1)

    fleet.watch.forget([("c", "n0")])

    assert len(fleet.watch.memory) == 8


class TestStore:
    @pytest.fixture
    def store(self):
        return MemoryBlobs()

    def test_memory_is_stored_after_ten_windows_a_node_and_loaded_by_the_next_instance(self, store):
        fleet = Fleet(3, Watch(store, name="hub/0"))
        fleet.watch.prepare()

        fleet.live(STORED_EVERY - 1)
        assert store.load("hub/0").blob is None
        fleet.live(1)

        other = Watch(store, name="hub/0")
        other.prepare()
        assert other.memory.take(fleet.keys).tobytes() == fleet.watch.memory.take(fleet.keys).tobytes()

    def test_partitions_are_stored_apart(self, store):
        Fleet(1, Watch(store, name="hub/0")).live(STORED_EVERY)

        assert store.load("hub/0").blob is not None
        assert store.load("hub/1").blob is None

    def test_a_store_that_cannot_be_read_raises_so_that_nothing_begins_anew(self, store):
        watch = Watch(store, name="0")
        store.faults.fail("load")

        with pytest.raises(StoreUnavailable):
            watch.prepare()
        watch.prepare()

        assert watch.problems == []

    def test_a_store_that_cannot_be_written_costs_nothing_but_a_word(self, store):
        fleet = Fleet(1, Watch(store, name="0"))
        fleet.watch.prepare()
        store.faults.fail("save")

        fleet.live(2 * STORED_EVERY)

        assert [problem.split(":")[0] for problem in fleet.watch.problems] == ["detectors' memory is stored later"]
        assert store.load("0").blob is not None

    def test_bytes_that_cannot_be_read_are_begun_anew_and_noted(self, store):
        store.save("0", b"rubbish", None)
        fleet = Fleet(1, Watch(store, name="0"))

        fleet.watch.prepare()
        fleet.live(STORED_EVERY)

        assert [problem.split(":")[0] for problem in fleet.watch.problems] == ["detectors begin anew"]
        assert store.load("0").blob != b"rubbish"

    def test_an_instance_that_lost_the_partition_takes_over_what_the_other_learnt(self, store):
        first = Fleet(2, Watch(store, name="0"))
        first.watch.prepare()
        first.live(STORED_EVERY)
        second = Fleet(2, Watch(store, name="0"))
        second.watch.prepare()
        second.minute = first.minute
        second.live(STORED_EVERY)

        first.watch.discard()
        first.watch.prepare()

        assert first.watch.memory.take(first.keys).tobytes() == second.watch.memory.take(first.keys).tobytes()

    def test_an_instance_that_does_not_know_it_lost_the_partition_overwrites_nothing(self, store):
        first, second = (Fleet(2, Watch(store, name="0")) for _ in range(2))
        first.watch.prepare()
        second.watch.prepare()
        first.live(STORED_EVERY)
        kept = store.load("0")

        second.live(STORED_EVERY)
        assert store.load("0") == kept
        second.watch.prepare()

        assert second.watch.memory.take(first.keys).tobytes() == first.watch.memory.take(first.keys).tobytes()

    def test_a_failed_batch_loses_nothing_where_nobody_else_stored_anything(self, store):
        fleet = Fleet(1, Watch(store, name="0"))
        fleet.watch.prepare()
        fleet.live(STORED_EVERY + 3)
        before = fleet.watch.memory.take(fleet.keys).tobytes()

        fleet.watch.discard()
        fleet.watch.prepare()

        assert fleet.watch.memory.take(fleet.keys).tobytes() == before
