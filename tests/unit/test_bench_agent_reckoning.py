"""What `make bench-agent` makes of what it has counted."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from bench.agent.aks_shape import read
from bench.agent.comparison import Block, Comparison, Cost, Way, cpu_seconds, reckon
from bench.agent.hurried import INTERVAL, hurried
from bench.agent.image import image_sizes
from bench.agent.node_exporter import devices_in
from bench.agent.programs import Unmeasurable
from bench.agent.start import imported_ms
from tests.eventually import eventually

DEVICES = {"disk": (1, 1), "filesystem": (2, 2), "network": (1, 1)}


def block(number: int, agent_cpu: float, exporter_cpu: float, *, scrapes: int = 10, way: Way = Way.PLAIN) -> Block:
    """A second with ten ticks."""
    return Block(1000.0 * number, 1000.0 * (number + 1), agent_cpu, exporter_cpu, scrapes, way)


def stamps(blocks: int, left_out: tuple[int, ...] = ()) -> list[int]:
    return [100 * tick + 10 for tick in range(10 * blocks) if tick not in left_out]


def reckoned(blocks: list[Block], sampled: list[int]) -> Comparison:
    return reckon(blocks, sampled, 10, (36.0, 20.0), 300.0, DEVICES)


def test_cpu_time_is_divided_by_the_samples_that_were_published_of_the_block():
    found = reckoned([block(0, 0.018, 0.040)], stamps(1, left_out=(3,)))

    assert found.costs[Way.PLAIN] == Cost(pytest.approx(2.0), pytest.approx(4.0), pytest.approx(0.5))
    assert (found.samples, found.missed) == (9, 1)


def test_a_disturbed_block_moves_neither_the_costs_nor_the_ratio():
    calm, disturbed = block(0, 0.02, 0.04), block(1, 0.09, 0.05)

    found = reckoned([calm, disturbed, block(2, 0.02, 0.04)], stamps(3))

    assert found.costs[Way.PLAIN] == Cost(pytest.approx(2.0), pytest.approx(4.0), pytest.approx(0.5))


def test_each_way_of_measuring_has_a_cost_of_its_own():
    found = reckoned([block(0, 0.02, 0.04), block(1, 0.03, 0.04, way=Way.SCRAPED)], stamps(2))

    assert found.costs[Way.PLAIN].agent_ms == pytest.approx(2.0)
    assert found.costs[Way.SCRAPED] == Cost(pytest.approx(3.0), pytest.approx(4.0), pytest.approx(0.75))


@pytest.mark.parametrize(
    ("blocks", "sampled"),
    [
        ([block(0, 0.02, 0.04)], stamps(1, left_out=(1, 2, 3))),
        ([block(0, 0.02, 0.04)], []),
        ([block(0, 0.02, 0.04, scrapes=7)], stamps(1)),
    ],
)
def test_a_program_that_did_not_keep_up_is_not_measured(blocks, sampled):
    with pytest.raises(Unmeasurable, match="of 10 ticks"):
        reckoned(blocks, sampled)


def test_a_comparison_comes_out_of_its_namespaces_as_it_went_in():
    comparison = reckoned([block(0, 0.02, 0.04), block(1, 0.03, 0.04, way=Way.SCRAPED)], stamps(2))

    assert read(json.loads(json.dumps(asdict(comparison)))) == comparison


def test_cpu_time_of_another_process_is_what_it_says_itself():
    burn = "import time\nwhile time.process_time() < 0.2: pass\nprint(time.process_time(), flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", burn], stdin=-1, stdout=-1, text=True) as process:
        try:
            said = float(process.stdout.readline())

            assert said <= cpu_seconds(process.pid) < said + 0.1
        finally:
            process.kill()


def test_devices_of_node_exporter_are_counted_once_each():
    exposition = """\
# TYPE node_filesystem_size_bytes gauge
node_filesystem_size_bytes{device="/dev/sda1",fstype="ext4",mountpoint="/"} 1e+09
node_filesystem_size_bytes{device="/dev/sda1",fstype="ext4",mountpoint="/run/netns"} 1e+09
node_filesystem_size_bytes{device="/dev/sdb1",fstype="ext4",mountpoint="/mnt"} 1e+09
node_network_receive_bytes_total{device="eth0"} 12
node_disk_reads_completed_total{device="sda"} 3
"""

    assert devices_in(exposition) == {"disk": 1, "filesystem": 2, "network": 1}
    assert devices_in("") == {"disk": 0, "filesystem": 0, "network": 0}


def test_import_time_is_the_sum_of_what_each_module_took_itself():
    log = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |   zlib
{"ts": "...", "event": "started"}
import time:      1150 |       1250 | agent
"""

    assert imported_ms(log) == pytest.approx(1.25)


def test_the_image_is_measured_only_when_there_is_one(tmp_path):
    summary = tmp_path / "image.json"

    assert image_sizes(summary) is None

    mib = 1024 * 1024
    summary.write_text(json.dumps({"bytes": 60 * mib, "compressed_bytes": 20 * mib, "parts": {"CPython": 6 * mib}}))
    assert image_sizes(summary) == {"image": 60.0, "pulled": 20.0, "CPython": 6.0}


def test_the_hurried_agent_differs_in_its_intervals_only():
    environ = {"AGENT_CLUSTER": "c", "AGENT_NODE": "n", "AGENT_SAMPLE_INTERVAL": "20"}

    settings = hurried(environ, publishing=False)

    assert (settings.sample_interval, settings.samples_per_envelope, settings.publish_spread) == (INTERVAL, 3, 0.0)
    assert (settings.cluster, settings.node) == ("c", "n")


def test_what_the_agent_opens_while_it_samples_are_no_processes(tmp_path):
    """An audit hook inside the agent sees every path that is opened or listed, also by psutil."""
    seen = tmp_path / "seen"
    script = f"""
import os, re, sys
from agent.command_line import main
out = os.open({str(seen)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
wanted = re.compile(r"/proc/?$|/proc/[0-9]+(/|$)|/proc/stat$")
def hook(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and arguments and isinstance(arguments[0], str):
        if wanted.match(arguments[0]):
            os.write(out, f"{{event}} {{arguments[0]}}\\n".encode())
sys.addaudithook(hook)
main(["--stdout"], {{"AGENT_NODE": "n", "AGENT_SAMPLE_INTERVAL": "0.1", "AGENT_PUBLISH_INTERVAL": "0.1"}})
"""
    agent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: seen.exists() and seen.read_text().count("open /proc/stat") > 10, "ten samples")
    finally:
        agent.terminate()
        agent.wait(10)

    lines = seen.read_text().splitlines()
    listed = [line for line in lines if line.endswith((" /proc", " /proc/"))]
    opened = [line for line in lines if line not in listed and line != "open /proc/stat"]
    assert len(listed) <= 1  # once, at the start, for what is not a process there
    assert [line for line in opened if not line.startswith("open /proc/1/net/")] == []  # the door to the node's network
