"""What can be known of the agent's image from its files: agent/Dockerfile, .dockerignore, and what they name."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "agent/Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")


def lint(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HADOLINT, "-"], input=text, capture_output=True, text=True, check=False, timeout=30)


def instructions(text: str) -> list[tuple[str, str]]:
    """Name and arguments of every instruction, with lines put together and comments left out."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (name, " ".join(rest.split()))
        for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def stages(text: str) -> dict[str, list[tuple[str, str]]]:
    """The instructions of every stage by its name; of what comes before the first, by ''."""
    found: dict[str, list[tuple[str, str]]] = {"": []}
    name = ""
    for instruction, rest in instructions(text):
        if instruction == "FROM":
            name = rest.partition(" AS ")[2] or "last"
            found[name] = []
        found[name].append((instruction, rest))
    return found


@pytest.fixture(scope="module")
def text() -> str:
    return DOCKERFILE.read_text()


def test_hadolint_has_nothing_to_say(text):
    ended = lint(text)

    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ("FROM ${BUILD_BASE} AS build", "FROM debian:latest AS build", "DL3007"),
        ('ENTRYPOINT ["/usr/local/bin/python3.13", "-m", "agent"]', "ENTRYPOINT python3.13 -m agent", "DL3025"),
        ("USER 10001:10001", "USER root", "DL3002"),
        ("WORKDIR /build", "WORKDIR build", "DL3000"),
    ],
)
def test_hadolint_finds_what_is_wrong(text, right, wrong, rule):
    assert right in text

    assert rule in lint(text.replace(right, wrong)).stdout


def test_without_a_target_the_agent_is_built_and_the_scan_stands_before(text):
    names = list(stages(text))

    assert names == ["", "build", "agent", "scan", "last"]
    assert stages(text)["last"] == [("FROM", "agent")]


def test_bases_are_arguments_whose_defaults_have_a_tag_that_stands_still(text):
    defaults = dict(rest.split("=", 1) for name, rest in stages(text)[""] if name == "ARG")

    assert set(defaults) == {"BUILD_BASE", "RUNTIME_BASE", "SCANNER"}
    assert defaults.pop("RUNTIME_BASE") == "scratch"
    for reference in defaults.values():
        assert re.fullmatch(r"docker\.io/[a-z/]+:\d[\w.-]+", reference), reference


def test_the_agents_stage_runs_nothing_and_takes_only_what_was_gathered(text):
    stage = stages(text)["agent"]

    assert {name for name, _ in stage}.isdisjoint({"RUN", "ADD", "VOLUME", "SHELL", "CMD"})
    assert all(rest.startswith("--from=build") for name, rest in stage if name == "COPY")
    assert ("USER", "10001:10001") in stage
    assert stage[-1] == ("ENTRYPOINT", '["/usr/local/bin/python3.13", "-m", "agent"]')


def test_the_build_needs_no_buildkit(text):
    """`az acr build` has none."""
    assert "--mount" not in text
    assert "<<" not in text
    assert not text.startswith("# syntax")


def test_the_scan_fails_the_build_on_high_and_critical_findings_of_the_finished_image(text):
    stage = stages(text)["scan"]

    assert ("COPY", "--from=agent / /scanned") in stage
    (command,) = [rest for name, rest in stage if name == "RUN"]
    assert command.startswith("trivy rootfs ")
    assert {"--severity HIGH,CRITICAL", "--exit-code 1"} <= {
        " ".join(pair) for pair in zip(command.split(), command.split()[1:], strict=False)
    }
    assert command.endswith(" /scanned")


def test_every_file_that_is_copied_exists_and_is_not_ignored(text):
    allowed = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [source for name, rest in stages(text)["build"] if name == "COPY" for source in rest.split()[:-1]]

    assert copied
    for source in copied:
        path = source.replace("[s]", "s")
        assert any(path == each or path.startswith(f"{each}/") for each in allowed), source
        assert path == ".local/image/wheels" or (REPOSITORY / path).exists(), source


def test_everything_else_is_ignored():
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if not line.startswith("#")]

    assert lines[0] == "*"
    assert {line for line in lines if line.startswith("!")} == {
        "!agent",
        "!telemetry",
        "!constraints.txt",
        "!tools/image/gather.py",
        "!tools/image/imports.py",
        "!.local/image/wheels",
    }


def test_the_wheels_are_put_where_the_dockerfile_looks_for_them(text):
    from tools.image.build import WHEELS

    assert str(WHEELS.relative_to(REPOSITORY)) == ".local/image/wheels"
    assert " .local/image/wheel[s] wheels/" in text


def test_no_mirror_or_proxy_of_a_machine_is_written_down():
    for path in (DOCKERFILE, REPOSITORY / ".dockerignore", *(REPOSITORY / "tools/image").glob("*.*")):
        content = path.read_text()
        assert re.findall(r"https?://(?!\$|\*)[\w.-]+", content) == [], path
        assert not re.search(r"index-url|extra-index|trusted-host", content), path


def test_requirements_of_the_image_are_pinned_and_in_the_constraints():
    requirements = [
        line.split("#")[0].strip() for line in (REPOSITORY / "agent/requirements.txt").read_text().splitlines()
    ]
    pinned = (REPOSITORY / "constraints.txt").read_text().split()

    assert [each for each in requirements if each and each not in pinned] == []
