"""The kubernetes collector on a kubelet that says what a test wants: rates, restarts, pods that come and go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.collector import Host, Kubelet
from agent.collectors import kubernetes
from agent.collectors.kubernetes import ASK_EVERY, REMEMBER, KubernetesCollector, RestartCounter
from agent.envelopes import MAX_DEVICES, EnvelopeBuilder, Identity
from agent.host.kubelet import KubeletError
from agent.host.kubelet_summary import Pod, Traffic
from agent.manual_clock import ManualClock
from agent.registry import built_in, enabled_by_default
from agent.sampler import Sampler
from agent.selection import Selection
from telemetry.catalogue import POD
from telemetry.envelope import encode
from telemetry.validation import validate

START = "2026-11-01T09:00:00Z"


def stats(name="web-0", uid="uid-1", *, second=0, rx=0, tx=0, started=START, **changes):
    """One pod as the kubelet tells it, its traffic read at a second of the hour."""
    time = f"2026-11-01T10:{second // 60:02d}:{second % 60:02d}Z"
    return {
        "podRef": {"name": name, "namespace": "shop", "uid": uid},
        "startTime": START,
        "containers": [{"name": "main", "startTime": started}],
        "cpu": {"time": time, "usageNanoCores": 250_000_000},
        "memory": {"time": time, "workingSetBytes": 1_000},
        "network": {"time": time, "name": "eth0", "rxBytes": rx, "txBytes": tx},
        **changes,
    }


class FakeKubelet:
    """Answers what it is told, and counts."""

    def __init__(self, *pods) -> None:
        self.pods = list(pods)
        self.error: Exception | None = None
        self.asked = 0

    def summary(self) -> object:
        self.asked += 1
        if self.error:
            raise self.error
        return {"node": {}, "pods": self.pods}


class Agent:
    """A sampler with this one collector."""

    def __init__(self, interval=10.0) -> None:
        self.clock = ManualClock()
        self.kubelet = FakeKubelet()
        collector = KubernetesCollector(self.kubelet, self.clock.monotonic)
        self.sampler = Sampler([collector], self.clock, interval)
        self.interval = interval

    def sample(self, *pods):
        """The pods' values when the kubelet says this; the next sample is an interval later."""
        self.kubelet.pods = list(pods)
        sample = self.sampler.sample()
        self.clock.advance(self.interval)
        return {name.removeprefix("shop/"): values for name, values in sample.devices.get("pod", {}).items()}

    @property
    def problem(self):
        return self.sampler.statistics["kubernetes"].problem


@pytest.fixture
def agent() -> Agent:
    return Agent()


def test_a_pod_has_gauges_at_once_and_rates_from_the_second_reading(agent):
    first = agent.sample(stats(second=0, rx=1_000, tx=0))
    second = agent.sample(stats(second=10, rx=6_000, tx=700))

    assert first == {"web-0": {"cpu": 0.25, "mem": 1_000, "restarts": 0}}
    assert second == {"web-0": {"cpu": 0.25, "mem": 1_000, "rx": 500, "tx": 70, "restarts": 0}}


def test_a_rate_is_over_the_time_between_the_kubelets_readings_not_between_ours(agent):
    agent.sample(stats(second=0, rx=0))

    assert agent.sample(stats(second=14, rx=1_400))["web-0"]["rx"] == 100


def test_what_the_kubelet_has_not_read_anew_is_no_rate_and_spoils_none(agent):
    agent.sample(stats(second=0, rx=0))
    stale = agent.sample(stats(second=0, rx=0))
    fresh = agent.sample(stats(second=15, rx=1_500))

    assert "rx" not in stale["web-0"]
    assert stale["web-0"]["cpu"] == 0.25
    assert fresh["web-0"]["rx"] == 100


@given(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 10_000)), min_size=2, max_size=20))
def test_whenever_the_kubelet_reads_the_rates_add_up_to_the_traffic(steps):
    """Each sample sees the reading of the last step; the mean rate over all of them is exact."""
    agent, second, total, weighted = Agent(), 0, 0, 0.0
    agent.sample(stats(second=0, rx=0))
    for seconds, received in steps:
        second, total = second + seconds, total + (received if seconds else 0)
        rate = agent.sample(stats(second=second, rx=total))["web-0"].get("rx")
        assert (rate is None) == (seconds == 0)
        weighted += (rate or 0) * seconds

    assert weighted == pytest.approx(total, rel=1e-3, abs=0.5 * second), "rates are whole bytes a second"


def test_without_a_time_of_its_own_a_counter_is_measured_by_ours(agent):
    agent.sample(stats(rx=0, network={"rxBytes": 0}))

    assert agent.sample(stats(network={"rxBytes": 50}))["web-0"]["rx"] == 5


def test_a_pod_that_takes_anothers_name_starts_anew(agent):
    agent.sample(stats(uid="old", second=0, rx=1_000))
    replaced = agent.sample(stats(uid="new", second=10, rx=900_000))
    later = agent.sample(stats(uid="new", second=20, rx=900_100))

    assert "rx" not in replaced["web-0"], "the difference between two pods is no traffic"
    assert later["web-0"]["rx"] == 10


def test_a_pod_whose_counters_start_again_has_no_rate_once(agent):
    agent.sample(stats(second=0, rx=1_000))

    assert "rx" not in agent.sample(stats(second=10, rx=10))["web-0"]
    assert agent.sample(stats(second=20, rx=20))["web-0"]["rx"] == 1


def test_a_kubelets_clock_set_back_costs_one_rate(agent):
    agent.sample(stats(second=600, rx=0))

    assert "rx" not in agent.sample(stats(second=10, rx=100))["web-0"]
    assert agent.sample(stats(second=20, rx=200))["web-0"]["rx"] == 10


def test_pods_come_and_go_without_a_trace_in_memory(agent):
    for number in range(200):
        agent.sample(stats(name=f"job-{number}", uid=f"uid-{number}", second=0))

    assert len(agent.sampler._rates) <= 2 * 7
    assert len(agent.sampler._collectors[0]._restarts) <= REMEMBER / 10 + 1


class TestAsking:
    @pytest.mark.parametrize("interval", [1.0, 3.0, 9.0])
    def test_the_kubelet_is_not_asked_more_often_than_it_reads(self, interval):
        agent = Agent(interval)
        for _ in range(int(60 / interval)):
            assert agent.sample(stats())["web-0"]["cpu"] == 0.25, "gauges hold until the next answer"

        assert agent.kubelet.asked <= 60 / ASK_EVERY + 1

    def test_at_the_usual_interval_every_sample_asks_though_a_tick_comes_early(self):
        agent = Agent(9.98)
        for _ in range(6):
            agent.sample(stats())

        assert agent.kubelet.asked == 6

    def test_an_answer_that_is_repeated_gives_no_rate(self):
        agent = Agent(5.0)
        rates = [agent.sample(stats(second=second, rx=100 * second))["web-0"].get("rx") for second in (0, 5, 10, 15)]

        assert rates == [None, None, 100, None]

    def test_a_failure_is_told_at_every_sample_until_it_is_over(self):
        agent = Agent(1.0)
        agent.sample(stats())
        agent.clock.advance(10)
        agent.kubelet.error = KubeletError("the kubelet says no")
        failed = [agent.sample(stats()) for _ in range(3)]
        problem = agent.problem
        agent.kubelet.error = None

        assert failed == [{}] * 3, "not the values from before"
        assert problem == "KubeletError: the kubelet says no"
        assert agent.sample(stats())["web-0"]["cpu"] == 0.25
        assert agent.problem is None

    def test_a_summary_of_the_wrong_kind_costs_its_own_readings_only(self, agent):
        assert agent.sample(stats(), stats("b", cpu=[])) == {}
        assert "pods[1].cpu must be an object" in str(agent.problem)
        assert agent.sample(stats())["web-0"]["cpu"] == 0.25


class TestRestarts:
    def count(self, agent, *started):
        return [agent.sample(stats(started=each))["web-0"]["restarts"] for each in started]

    def test_another_start_time_of_a_container_is_a_restart(self, agent):
        assert self.count(agent, "T1", "T1", "T2", "T2", "T3") == [0, 0, 1, 1, 2]

    def test_a_container_that_is_back_after_its_crash_has_restarted(self, agent):
        agent.sample(stats(started="T1"))
        gone = agent.sample(stats(containers=[]))
        back = agent.sample(stats(started="T2"))

        assert "restarts" not in gone["web-0"]
        assert back["web-0"]["restarts"] == 1

    def test_a_pod_that_is_out_of_the_summary_between_crashes_is_remembered(self, agent):
        agent.sample(stats(started="T1"))
        for _ in range(30):
            agent.sample()

        assert self.count(agent, "T2") == [1]

    def test_a_container_that_was_never_seen_has_only_started(self, agent):
        agent.sample(stats(containers=[{"name": "init", "startTime": "T1"}]))

        assert self.count(agent, "T2") == [0]

    def test_containers_are_told_apart(self, agent):
        def containers(one, other):
            return [{"name": "one", "startTime": one}, {"name": "other", "startTime": other}]

        agent.sample(stats(containers=containers("T1", "T1")))

        assert agent.sample(stats(containers=containers("T2", "T3")))["web-0"]["restarts"] == 2

    def test_the_successor_of_a_pod_has_not_restarted(self, agent):
        assert self.count(agent, "T1", "T2") == [0, 1]
        assert agent.sample(stats(uid="new", started="T3"))["web-0"]["restarts"] == 0

    def test_a_pod_long_gone_is_forgotten(self):
        counter = RestartCounter()
        counter.count([pod("a", "uid-a")], 0)
        counter.count([pod("b", "uid-b")], REMEMBER)
        assert len(counter) == 2

        counter.count([pod("b", "uid-b")], REMEMBER + 1)

        assert len(counter) == 1

    def test_pods_without_a_uid_are_told_apart_by_name(self):
        counter = RestartCounter()
        counter.count([pod("a", "", "T1"), pod("b", "", "T2")], 0)

        assert counter.count([pod("a", "", "T3"), pod("b", "", "T2")], 10) == {"a": 1, "b": 0}


def pod(name, uid, started="T"):
    return Pod(name, uid, None, None, Traffic(None, None, None), None, None, {"main": started})


def test_more_pods_than_an_envelope_takes_are_left_out_from_the_end_and_named(agent, caplog):
    builder = EnvelopeBuilder(Identity("c", "n", "0123456789ab"), dict, samples_per_envelope=1, publish_interval=10)
    agent.kubelet.pods = [stats(name=f"p-{number:03d}", uid=f"uid-{number}") for number in reversed(range(300))]

    (envelope,) = builder.add(agent.sampler.sample())

    names = envelope.devices["pod"]["pod"]
    assert names == [f"shop/p-{number:03d}" for number in range(MAX_DEVICES)]
    assert caplog.records[-1].getMessage() == "devices_left_out"
    assert (caplog.records[-1].count, caplog.records[-1].device_class) == (300 - MAX_DEVICES, "pod")
    validate(encode(envelope), envelope.time[-1])


def test_it_runs_only_where_it_is_asked_for():
    assert "kubernetes" in built_in()
    assert "kubernetes" not in enabled_by_default()


def test_it_is_made_for_the_hosts_kubelet_within_its_time_limit():
    nothing = Selection("")
    host = Host("/proc", "/sys", "/", nothing, nothing, nothing, nothing, Kubelet("https://10.0.0.4:10250"), 1.25)

    collector = kubernetes.make(host)

    assert (collector.name, collector.device_class) == ("kubernetes", POD)
    assert collector._kubelet._seconds == 3.75, "the collector as a whole has four time limits"
