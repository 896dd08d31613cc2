"""docs/add-a-collector.md does what it says: its code is run as it stands."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from agent_process import REPOSITORY, AgentProcess

from telemetry.envelope import decode
from telemetry.validation import validate
from tests.node_tree import NodeTree, aks_node, write
from tests.plugin_distribution import install

DOCUMENT = (REPOSITORY / "docs/add-a-collector.md").read_text()
BLOCKS = dict(re.findall(r"^\*\*([^*\n]+)\*\*:\n\n```\w+\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE))
"""Code of the document by the name of its file."""


def test_the_document_has_the_files_that_are_run_here():
    assert list(BLOCKS) == [
        "agent/collectors/entropy.py",
        "telemetry/catalogue.py",
        "pyproject.toml",
        "acme_gpu.py",
    ]


@pytest.fixture
def copy(tmp_path) -> Path:
    """The rooms of this repository that a built-in collector touches, with the document's added."""
    for room in ("agent", "telemetry", "infra/log_analytics", "infra/queries"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / room, tmp_path / room, ignore=ignore)
    (tmp_path / "docs").mkdir()
    (tmp_path / "agent/collectors/entropy.py").write_text(BLOCKS["agent/collectors/entropy.py"])
    catalogue = tmp_path / "telemetry/catalogue.py"
    before, end, after = catalogue.read_text().partition("\n)\n\n_DISK = ")
    assert end, "NODE_METRICS is followed by something else now; mend this test"
    catalogue.write_text(f"{before}\n{BLOCKS['telemetry/catalogue.py'].rstrip()}{end}{after}")
    return tmp_path


def run(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=directory, env=environment, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return done


def test_one_file_and_one_entry_make_a_built_in_collector(copy):
    entropy = float(Path("/proc/sys/kernel/random/entropy_avail").read_text())

    envelope = decode(run(copy, "agent", "--once").stdout)
    run(copy, "telemetry.tables")

    assert envelope.metrics["entropy"] == pytest.approx([entropy] * 2, abs=200)
    assert "| `entropy` | `system.entropy.available` * | bit |" in (copy / "docs/metrics.md").read_text()
    assert "EntropyAvailableAvg" in (copy / "infra/log_analytics/tables.json").read_text()


def test_it_is_style_and_types_as_the_rest(copy):
    shutil.copy(REPOSITORY / "pyproject.toml", copy)
    (copy / "acme_gpu.py").write_text(BLOCKS["acme_gpu.py"])
    files = ["agent/collectors/entropy.py", "telemetry/catalogue.py", "acme_gpu.py"]

    run(copy, "ruff", "check", *files)
    run(copy, "ruff", "format", "--check", *files)
    run(copy, "mypy", "--strict", "-m", "agent.collectors.entropy", "-m", "acme_gpu")


@pytest.fixture
def tree(tmp_path) -> NodeTree:
    """A node with two GPUs."""
    tree = aks_node(tmp_path / "node", pods=2, processes=2)
    for card, busy in (("card0", 25), ("card1", 75)):
        device = tree.sys / "class/drm" / card / "device"
        write(device / "gpu_busy_percent", f"{busy}\n")
        write(device / "mem_info_vram_used", f"{busy * 2**20}\n")
        write(device / "hwmon/hwmon3/energy1_input", "5000000\n")
    return tree


def install_plugin(directory: Path) -> None:
    entries = tomllib.loads(BLOCKS["pyproject.toml"])["project"]["entry-points"]["devops_monitor.collectors"]
    source = BLOCKS["acme_gpu.py"]
    install(directory, "acme_gpu", source, *(f"{name} = {target}" for name, target in entries.items()))


def agent_with(tmp_path: Path, tree: NodeTree, *plugins: Path, collectors: str) -> AgentProcess:
    return AgentProcess(
        tmp_path / "agent",
        "--once",
        PYTHONPATH=":".join(map(str, (REPOSITORY, *plugins))),
        AGENT_COLLECTORS=collectors,
        AGENT_PROCFS=str(tree.proc),
        AGENT_SYSFS=str(tree.sys),
        AGENT_ROOTFS=str(tree.root),
    )


def test_a_plugins_metrics_reach_the_wire(tmp_path, tree):
    install_plugin(tmp_path / "site")
    agent = agent_with(tmp_path, tree, tmp_path / "site", collectors="default,gpu")

    assert agent.process.wait(20) == 0
    envelope = decode(agent.out.read_bytes())

    validate(agent.out.read_bytes(), envelope.time[-1])
    custom = envelope.devices["custom"]
    assert dict(zip(custom["metric"], custom["value"], strict=True)) == {
        "acme.gpu.utilization/card0": [0.25, 0.25],
        "acme.gpu.memory.usage/card0": [25 * 2**20] * 2,
        "acme.gpu.power/card0": [None, 0.0],
        "acme.gpu.utilization/card1": [0.75, 0.75],
        "acme.gpu.memory.usage/card1": [75 * 2**20] * 2,
        "acme.gpu.power/card1": [None, 0.0],
    }
    assert envelope.metrics["mem"] == [0.25, 0.25]
    assert agent.log() == []


def test_bad_plugins_beside_it_are_named_and_cost_nothing_else(tmp_path, tree):
    site = tmp_path / "site"
    install_plugin(site)
    install(site, "broken_import", "raise RuntimeError('built for another kernel')", "broken")
    install(site, "broken_make", "def make_refusing(host): raise OSError(19, 'No such device')", "refusing")
    install(site, "wrong_name", "class C:\n    name = 'x'\ndef make_misnamed(host): return C()", "misnamed")
    raising = "class C:\n name, device_class = 'raising', None\n def collect(self): raise ValueError('lost')\n"
    install(site, "raising_collect", f"{raising}def make_raising(host): return C()", "raising")
    agent = agent_with(tmp_path, tree, site, collectors="broken,refusing,misnamed,raising,gpu,default")

    assert agent.process.wait(20) == 0
    envelope = decode(agent.out.read_bytes())

    unusable = {line["collector"]: line["problem"] for line in agent.log() if line["event"] == "collector_unusable"}
    assert unusable == {
        "broken": "RuntimeError: built for another kernel",
        "refusing": "OSError: [Errno 19] No such device",
        "misnamed": "ValueError: its name must be that of its entry point, 'misnamed', got 'x'",
    }
    failed = [line for line in agent.log() if line["event"] == "collector_failed"]
    assert [(line["collector"], line["problem"]) for line in failed] == [("raising", "ValueError: lost")]
    assert len(envelope.devices["custom"]["metric"]) == 6
    assert {"load.1m", "mem", "uptime", "tcp"} <= set(envelope.metrics)


def test_a_collector_that_nobody_offers_keeps_the_agent_from_starting(tmp_path, tree):
    install_plugin(tmp_path / "site")
    agent = agent_with(tmp_path, tree, tmp_path / "site", collectors="cpu,tpu")

    assert agent.process.wait(20) == 2

    (line,) = agent.log()
    (problem,) = line["problems"]
    assert problem.startswith("AGENT_COLLECTORS must be a comma-separated list of default, cpu, ")
    assert problem.endswith(", gpu, got 'cpu,tpu'")
