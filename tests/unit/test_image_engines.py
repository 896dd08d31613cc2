"""Which container engine is taken, what it is told, what is said where none works. The engines are shell programs."""

import shutil
from pathlib import Path

import pytest

from tools.image import containers_conf as configuration
from tools.image.build import BuildFailed, build
from tools.image.engines import RUNNERS, Engine, NoEngine, find_engine

ARGUMENTS = {"VERSION": "1.2.3"}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts stand-ins on a PATH that has nothing else: `install(docker="exit 1")` with a shell program each."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for needed in ("sh", "git", "echo"):
        (programs / needed).symlink_to(shutil.which(needed))
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("CONTAINERS_CONF", "/named/by/the/machine")

    def install(**engines: str) -> Path:
        for name, program in engines.items():
            (programs / name).write_text(f"#!/bin/sh\n{program}\n")
            (programs / name).chmod(0o755)
        return programs

    return install


def test_the_first_engine_that_works_is_taken(install):
    install(docker="exit 0", podman="exit 0")

    assert find_engine("") == Engine("docker")


def test_a_docker_client_without_its_daemon_is_passed_over(install):
    install(docker='echo "Cannot connect to the Docker daemon" >&2; exit 1', podman="exit 0")

    assert find_engine("") == Engine("podman")


def test_the_wanted_engine_is_taken_and_no_other(install):
    install(docker="exit 0", buildah="exit 0")

    assert find_engine("buildah") == Engine("buildah")
    with pytest.raises(NoEngine, match="podman: not installed"):
        find_engine("podman")


def test_where_none_works_it_is_said_why_each_does_not_and_what_to_do(install):
    install(docker='echo "Cannot connect to the Docker daemon" >&2; exit 1', buildah="exit 3")

    with pytest.raises(NoEngine) as raised:
        find_engine(None)

    message = str(raised.value)
    assert "docker: Cannot connect to the Docker daemon" in message
    assert "podman: not installed" in message
    assert "buildah: exit code 3" in message
    assert "apt-get install podman" in message


def test_an_unknown_engine_is_refused_with_what_would_be_right(install):
    with pytest.raises(NoEngine, match="ENGINE must be one of docker, podman, buildah, got 'nerdctl'"):
        find_engine("nerdctl")
    with pytest.raises(NoEngine, match="ENGINE must be one of docker, podman, got 'buildah'"):
        find_engine("buildah", RUNNERS)


@pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
def test_every_engine_builds_without_a_network_and_saves_to_the_same_kind_of_file(name, tmp_path):
    engine = Engine(name)

    built = engine.build("agent/Dockerfile", "here/agent:1", "agent", {"A": "x y", "B": ""}, 1700000000)
    saved = engine.save("here/agent:1", tmp_path / "agent.tar")

    assert built[0] == saved[0] == name
    assert {"--network=none", "--target=agent", "--file=agent/Dockerfile", "--tag=here/agent:1"} <= set(built)
    assert {"--build-arg=A=x y", "--build-arg=B="} <= set(built)
    assert built[-1] == "."
    assert ("--timestamp=1700000000" in built) == (name != "docker")
    assert any(str(tmp_path / "agent.tar") in each for each in saved)


def test_a_failed_build_says_what_to_do_about_a_base_that_cannot_be_pulled(install, capfd):
    install(podman='echo "initializing source docker://...: no such host" >&2; exit 125')

    with pytest.raises(
        BuildFailed, match=r"building failed: `podman build .*` ended with 125.*BUILD_BASE=.*make_base\.sh"
    ):
        build(Engine("podman"), "here/agent:1", {"BUILD_BASE": ""})

    assert "no such host" in capfd.readouterr().err


def test_only_build_arguments_with_a_value_are_passed_on(install, tmp_path, capfd):
    install(podman='echo "$@"')

    build(Engine("podman"), "here/agent:1", {"BUILD_BASE": "mirror/python:3.13", "RUNTIME_BASE": ""})

    said = capfd.readouterr().out
    assert "--build-arg=BUILD_BASE=mirror/python:3.13" in said
    assert "RUNTIME_BASE" not in said
    assert "--build-arg=PIP_INSTALL_OPTIONS=--no-index --find-links wheels" in said


def test_the_machines_own_configuration_is_left_where_it_is_named(monkeypatch):
    monkeypatch.setenv("CONTAINERS_CONF", "/named/by/the/machine")

    assert Engine("podman").environment()["CONTAINERS_CONF"] == "/named/by/the/machine"
    assert Engine("podman").environment().items() >= {"CONTAINERS_CONF": "/named/by/the/machine"}.items()


def test_without_systemd_a_configuration_of_ours_is_named_and_with_it_none(monkeypatch, tmp_path):
    monkeypatch.delenv("CONTAINERS_CONF", raising=False)
    monkeypatch.setattr(configuration, "FILE", tmp_path / "containers.conf")
    monkeypatch.setattr(configuration, "SYSTEMD", tmp_path)
    with_systemd = configuration.containers_conf()
    monkeypatch.setattr(configuration, "SYSTEMD", tmp_path / "gone")

    without = configuration.containers_conf()

    assert with_systemd is None
    assert without == tmp_path / "containers.conf"
    assert 'cgroup_manager = "cgroupfs"' in without.read_text()
    assert '"nofile=' in without.read_text()
