"""A third-party collector gets into an image by EXTRA_REQUIREMENTS, and runs there as hardened as the rest."""

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.image.image_container import Container
from tools.image.build import WHEELS, build, download_wheels
from tools.image.engines import find_engine

IMAGE = "devops-monitor/agent-with-plugin:test"
PLUGIN = """
import colorsys  # of the standard library, and nobody else's need
from agent.collector import Reading
from telemetry.catalogue import Metric


class Answer:
    name = "answer"
    device_class = None
    metrics = (Metric("answer", "acme.answer", "1", "", "What six times seven is", upper=100.0),)

    def collect(self):
        yield Reading("answer", 42)


def make(host):
    return Answer()
"""


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A directory with the plug-in's wheel, as an index would have it."""
    directory = tmp_path / "index"
    directory.mkdir()
    with zipfile.ZipFile(directory / "acme_answer-1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("acme_answer.py", PLUGIN)
        about = "acme_answer-1.2.dist-info"
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: acme-answer\nVersion: 1.2\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/entry_points.txt", "[devops_monitor.collectors]\nanswer = acme_answer:make\n")
        wheel.writestr(f"{about}/RECORD", "")
    return directory


@pytest.fixture
def plain_wheels(tmp_path: Path):
    """The wheels of the image without plug-ins, which the build takes from the same place; put back afterwards."""
    kept, stamp = shutil.copytree(WHEELS, tmp_path / "kept"), WHEELS.with_suffix(".stamp")
    said = stamp.read_text()
    yield kept
    shutil.rmtree(WHEELS)
    shutil.copytree(kept, WHEELS)
    stamp.write_text(said)


def test_a_plug_in_is_built_in_and_its_readings_are_sent(engine, index, plain_wheels, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{index} {plain_wheels}")
    download_wheels("acme-answer==1.2")
    build(find_engine(engine.name), IMAGE, {"EXTRA_REQUIREMENTS": "acme-answer==1.2"})

    try:
        container = Container(engine, IMAGE, ["--once"], settings={"AGENT_COLLECTORS": "default,answer"})
        try:
            code = container.wait()
            output, log = container.output(), container.log()
        finally:
            container.remove()
    finally:
        subprocess.run([engine.name, "rmi", IMAGE], env=engine.environment(), capture_output=True, check=True)

    assert code == 0
    assert [line for line in log if line["level"] in ("warning", "error")] == []
    document = json.loads(output)
    assert "acme.answer" in json.dumps(document["devices"])
    assert 42 in [value for column in document["values"] for value in flat(column)]


def flat(column: list) -> list:
    return [number for each in column for number in (flat(each) if isinstance(each, list) else [each])]
