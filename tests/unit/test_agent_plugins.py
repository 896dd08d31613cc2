"""Third-party collectors: the good ones are made, the bad ones are named and left out, none does harm."""

import sys
from pathlib import Path

import pytest

from agent import plugins
from agent.collector import Reading
from agent.manual_clock import ManualClock
from agent.registry import built_in, enabled_by_default, make_collectors, third_party
from agent.sampler import Sampler
from agent.settings import read_settings
from telemetry.catalogue import NETWORK
from telemetry.errors import SettingsError
from tests.node_tree import host_of
from tests.plugin_distribution import install

PRELUDE = """
import sys, time
from itertools import repeat
from agent.collector import Reading
from telemetry.catalogue import CUSTOM, NETWORK, DeviceClass, Kind, Metric

UTILIZATION = Metric("util", "acme.gpu.utilization", "1", "", "Share of time the GPU is busy", upper=1.0, digits=4)
RESETS = Metric("resets", "acme.gpu.resets", "{reset}/s", "", "Resets a second", kind=Kind.RATE, digits=2)

class Gpu:
    name, device_class, metrics = "gpu", None, (UTILIZATION, RESETS)
    def __init__(self, host): self.host = host
    def collect(self): return [Reading("util", 0.25, "gpu0"), Reading("util", 0.5, "gpu1"), Reading("resets", 7)]

def variant(**changes):
    return lambda host: type("Variant", (Gpu,), changes)(host)
"""


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """A directory that is searched for modules and distributions; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("plug"):
            del sys.modules[name]


def made(site: Path, source: str, *collectors: str) -> list:
    install(site, "plug", PRELUDE + source, *collectors)
    return make_collectors([each.partition(" ")[0] for each in collectors], host_of())


def problem(caplog) -> str:
    (record,) = caplog.records
    assert (record.getMessage(), record.levelname) == ("collector_unusable", "ERROR")
    assert "AGENT_COLLECTORS" in record.consequence
    return f"{record.collector}: {record.problem}"


class TestTheGood:
    def test_a_plugin_is_found_by_its_entry_point_and_told_about_the_host(self, site):
        install(site, "plug", PRELUDE, "gpu = plug:Gpu")

        assert third_party() == {"gpu"}
        (collector,) = make_collectors(["gpu"], host_of("/proc"))
        assert collector.name == "gpu"
        assert collector._collector.host.procfs == "/proc"

    def test_its_metrics_travel_as_devices_of_the_class_custom(self, site):
        clock = ManualClock()
        sampler = Sampler(made(site, "", "gpu = plug:Gpu"), clock, 10.0)
        sampler.sample()
        clock.advance(10)

        assert sampler.sample().devices == {
            "custom": {
                "acme.gpu.utilization/gpu0": {"value": 0.25},
                "acme.gpu.utilization/gpu1": {"value": 0.5},
                "acme.gpu.resets": {"value": 0.0},
            }
        }
        assert sampler.statistics["gpu"].problem is None

    def test_a_plugin_may_deliver_metrics_of_the_catalogue(self, site):
        source = """
class Nics:
    name, device_class = "nics", NETWORK
    def collect(self): yield Reading("rx", 1, "gre0")
def make_nics(host): return Nics()
"""
        (collector,) = made(site, source, "nics")

        assert collector.device_class is NETWORK
        assert list(collector.collect()) == [Reading("rx", 1, "gre0")]

    def test_it_is_chosen_in_the_settings_beside_the_built_in_ones(self, site):
        install(site, "plug", PRELUDE, "gpu = plug:Gpu")

        settings = read_settings({"AGENT_COLLECTORS": "default,gpu"}, publishing=False)

        assert settings.collectors == (*enabled_by_default(), "gpu")

    def test_a_plugin_runs_only_where_it_is_asked_for(self, site):
        install(site, "plug", "raise SystemExit('nobody asked')", "gpu = plug:Gpu")

        assert read_settings({}, publishing=False).collectors == enabled_by_default()
        assert [each.name for each in make_collectors(["system"], host_of())] == ["system"]

    def test_a_built_in_collector_cannot_be_replaced(self, site):
        install(site, "plug", "raise SystemExit", "cpu = plug:Cpu")

        (collector,) = make_collectors(["cpu"], host_of())

        assert type(collector).__module__ == "agent.collectors.cpu"


class TestTheUnusable:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("raise RuntimeError('no driver')", "RuntimeError: no driver"),
            ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
            ("def make_gpu(host) return 1", "SyntaxError: "),
            ("import sys; sys.exit('sorry')", "SystemExit: sorry"),
            ("pass", "AttributeError: module 'plug' has no attribute 'make_gpu'"),
            ("def make_gpu(host): raise OSError('no GPU here')", "OSError: no GPU here"),
            ("def make_gpu(): return None", "TypeError: make_gpu() takes 0 positional arguments but 1 was given"),
            ("def make_gpu(host): return None", "AttributeError: 'NoneType' object has no attribute 'name'"),
            ("make_gpu = variant(name='gpus')", "its name must be that of its entry point, 'gpu', got 'gpus'"),
            ("make_gpu = variant(collect=None)", "TypeError: it must have a method collect()"),
            ("make_gpu = variant(metrics=('acme.gpu',))", "TypeError: metrics must be telemetry.catalogue.Metric"),
            ("make_gpu = variant(metrics=7)", "TypeError: 'int' object is not iterable"),
            ("make_gpu = variant(metrics=(RESETS, RESETS))", "each metric must have a key and a name of its own"),
            ("make_gpu = variant(metrics=(Metric('a', 'Load', '1', '', ''),))", "begin with the owner's domain"),
            ("make_gpu = variant(metrics=(Metric('a', 'a.b', '1', '', '', upper=2**61),))", "upper must be above 0"),
            ("make_gpu = variant(metrics=(Metric('a', 'a.' + 'b' * 200, '1', '', ''),))", "at most 120 characters"),
        ],
    )  # fmt: skip
    def test_it_is_named_and_left_out_and_the_others_are_made(self, site, caplog, source, expected):
        install(site, "plug", PRELUDE + source, "gpu")

        collectors = make_collectors(["system", "gpu", "files"], host_of())

        assert [each.name for each in collectors] == ["system", "files"]
        assert problem(caplog).startswith("gpu: ") and expected in problem(caplog)

    def test_a_device_class_of_its_own_is_refused_as_receivers_do_not_know_it(self, site, caplog):
        source = """
class Tapes:
    name, device_class = "tapes", DeviceClass("tape", "drive", "acme.drive", "Tapes", "Tape", ())
    def collect(self): return []
def make_tapes(host): return Tapes()
"""
        assert made(site, source, "tapes") == []
        assert "device_class must be None or one of telemetry.catalogue" in problem(caplog)

    def test_a_name_that_two_distributions_offer_is_nobodys(self, site, caplog):
        install(site, "plug_a", PRELUDE, "gpu = plug_a:Gpu")
        install(site, "plug_b", PRELUDE, "gpu = plug_b:Gpu")

        assert make_collectors(["gpu"], host_of()) == []
        assert "one distribution must offer it, got 2: plug_a, plug_b" in problem(caplog)

    @pytest.mark.parametrize(
        "description", ["[devops_monitor.collectors]\ngpu", "[devops_monitor.collectors]\ngpu = 7 7"]
    )
    def test_a_distribution_that_describes_itself_badly_does_not_hide_the_others(self, site, caplog, description):
        install(site, "plug", PRELUDE + "make_good = variant(name='good')", "good")
        install(site, "unreadable", "", "gpu")
        (site / "unreadable-1.0.dist-info/entry_points.txt").write_text(description)

        assert "good" in third_party()
        assert [each.name for each in make_collectors(["gpu", "good", "system"], host_of())] == ["system", "good"]
        assert {record.getMessage() for record in caplog.records} <= {"distribution_unusable", "collector_unusable"}
        assert [record.collector for record in caplog.records if record.getMessage() == "collector_unusable"] == ["gpu"]

    def test_a_distribution_that_is_found_twice_is_one(self, site, monkeypatch):
        install(site, "plug", PRELUDE, "gpu = plug:Gpu")
        monkeypatch.syspath_prepend(site / "." / ".." / site.name)

        assert [each.name for each in make_collectors(["gpu"], host_of())] == ["gpu"]

    def test_metrics_that_another_plugin_has_are_refused(self, site, caplog):
        source = "make_first, make_second = variant(name='first'), variant(name='second')"

        (collector,) = made(site, source, "first", "second")

        assert collector.name == "first"
        assert "second: its metrics acme.gpu.resets, acme.gpu.utilization are the collector first's" in problem(caplog)

    def test_one_that_hangs_when_it_is_made_does_not_keep_the_agent_from_starting(self, site, caplog, monkeypatch):
        monkeypatch.setattr(plugins, "MAKE_SECONDS", 1.0)
        source = "make_good = variant(name='good', metrics=())\ndef make_slow(host): time.sleep(3)"

        assert [each.name for each in made(site, source, "slow", "good")] == ["good"]
        assert problem(caplog) == "slow: it hangs: no answer within its time limit"

    def test_a_name_that_nobody_offers_is_refused_with_the_list_of_those_that_are(self, site):
        install(site, "plug", PRELUDE, "gpu = plug:Gpu")

        with pytest.raises(SettingsError) as caught:
            read_settings({"AGENT_COLLECTORS": "cpu,tpu"}, publishing=False)

        (text,) = caught.value.problems
        assert text == (
            f"AGENT_COLLECTORS must be a comma-separated list of default, {', '.join(built_in())}, gpu, got 'cpu,tpu'"
        )


class TestTheIllBehaved:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ("raise ValueError('card lost')", "ValueError: card lost"),
            ("raise SystemExit(3)", "SystemExit: 3"),
            ("raise MemoryError", "MemoryError"),
            ("return None", "TypeError: 'NoneType' object is not iterable"),
            ("return [Reading('power', 3)]", "it delivers 'power', which it has no metric for"),
            ("return [('util', 3)]", "TypeError: it must deliver agent.collector.Reading"),
            ("return [Reading('util', '3')]", "TypeError: it must deliver agent.collector.Reading"),
            ("return [Reading('util', None)]", "TypeError: it must deliver agent.collector.Reading"),
            ("return [Reading(['util'], 3)]", "TypeError: it must deliver agent.collector.Reading"),
            ("return [Reading('util', 3, 7)]", "TypeError: it must deliver agent.collector.Reading"),
            ("return [Reading('resets', 1, wraps_at='x')]", "TypeError: it must deliver agent.collector.Reading"),
            ("return [Reading('util', 10**400)]", "OverflowError: int too large to convert to float"),
            ("return [Reading('util', 10**5000)]", "OverflowError: int too large to convert to float"),
            ("raise type('Broken', (Exception,), {'__str__': lambda _: 1 / 0})", "Broken"),
            ("return repeat(Reading('util', 0.5))", "ValueError: it delivers more than 10000 readings"),
            ("time.sleep(3)", "it hangs: no answer within its time limit"),
        ],
    )
    def test_it_costs_its_own_readings_is_named_once_and_counted(self, site, caplog, body, expected):
        source = f"\nclass Bad(Gpu):\n    def collect(self): {body}\nmake_gpu = Bad\n"
        clock = ManualClock()
        collectors = [*make_collectors(["system"], host_of()), *made(site, source, "gpu")]
        sampler = Sampler(collectors, clock, interval=0.6)

        samples = []
        for _ in range(2):
            samples.append(sampler.sample())
            clock.advance(10)

        statistics = sampler.statistics["gpu"]
        assert (statistics.runs, statistics.failures) == (2, 2)
        assert expected in str(statistics.problem)
        assert [(r.getMessage(), r.collector) for r in caplog.records] == [("collector_failed", "gpu")]
        assert all(sample.metrics.keys() == {"uptime"} and not sample.devices for sample in samples)

    @pytest.mark.parametrize("value", ["float('nan')", "float('inf')", "-0.1", "1.5", "2**70"])
    def test_a_number_out_of_its_range_is_counted_and_not_sent(self, site, value):
        source = f"\nclass Bad(Gpu):\n    def collect(self): return [Reading('util', {value})]\nmake_gpu = Bad\n"
        sampler = Sampler(made(site, source, "gpu"), ManualClock(), 10.0)

        assert sampler.sample().devices == {}
        assert (sampler.statistics["gpu"].refused, sampler.statistics["gpu"].failures) == (1, 0)

    def test_what_came_before_the_mistake_is_kept(self, site):
        source = """
class Bad(Gpu):
    def collect(self): return [Reading('util', 0.5), Reading('power', 3), Reading('util', 0.7, 'gpu1')]
make_gpu = Bad
"""
        sampler = Sampler(made(site, source, "gpu"), ManualClock(), 10.0)

        assert sampler.sample().devices == {"custom": {"acme.gpu.utilization": {"value": 0.5}}}
        assert sampler.counters["gpu"] == (Reading("util", 0.5),)
