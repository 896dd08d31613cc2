"""Plays pods of the rendered chart with podman, which reads the same manifests as a kubelet."""

from __future__ import annotations

import copy
import itertools
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from agent import __version__
from tools.helm.render import CHART, Manifest, load_values, merged, render
from tools.image.engines import Engine, find_engine

IMAGE = os.environ.get("IMAGE") or f"devops-monitor/agent:{__version__}"
NODE = "node-1"
HOST = "10.0.2.2"
"""This machine's loopback as a pod sees it with the network below."""
NETWORK = "slirp4netns:allow_host_loopback=true"
"""A network namespace of the pod's own, without a bridge or rules on this machine."""
WITHIN = 60.0
_numbers = itertools.count(1)


class PodFailed(Exception):
    """podman ended with an error; the message is what it said."""


class Podman:
    """Runs podman commands; fails with what podman said."""

    def __init__(self) -> None:
        self._engine: Engine = find_engine("podman", ("podman",))

    def run(self, *arguments: str, fails: bool = False) -> str:
        done = subprocess.run(
            ["podman", *arguments],
            env=self._engine.environment(),
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )
        if done.returncode != 0 and not fails:
            raise PodFailed(f"podman {' '.join(arguments[:3])} ... ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def has_image(self, image: str) -> bool:
        return self.run("image", "list", "--quiet", image) != ""


class RunningPod:
    """A pod of the chart, with one container. `url` leads to its metrics port."""

    def __init__(self, podman: Podman, name: str, container: str, port: int) -> None:
        self._podman, self.name, self._container, self.port = podman, name, f"{name}-{container}", port
        self.url = f"http://127.0.0.1:{port}"

    @property
    def pid(self) -> int:
        return int(self._inspect("{{.State.Pid}}"))

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        status, code = self._inspect("{{.State.Status}} {{.State.ExitCode}}").split()
        return int(code) if status in ("exited", "stopped") else None

    def events(self) -> list[str]:
        """Names of the log lines so far."""
        return [line["event"] for line in map(json.loads, self.log().splitlines())]

    def log(self) -> str:
        """What the container wrote to standard error, all of it JSON lines."""
        done = subprocess.run(
            ["podman", "logs", self._container], capture_output=True, text=True, timeout=WITHIN, check=True
        )
        return done.stderr

    def output(self) -> str:
        return self._podman.run("logs", self._container)

    def stop(self, seconds: int) -> None:
        self._podman.run("pod", "stop", "--time", str(seconds), self.name)

    def _inspect(self, template: str) -> str:
        return self._podman.run("inspect", "--format", template, self._container).strip()


def chart(**changes: Any) -> tuple[list[Manifest], Manifest]:
    """The chart for a local cluster with changes to its values: all manifests, and the pod of its DaemonSet."""
    repository, _, tag = IMAGE.rpartition(":")
    image = {"image": {"repository": repository, "tag": tag}}
    manifests = render(merged(merged(load_values(CHART / "local-values.yaml"), image), changes))
    template = next(each for each in manifests if each["kind"] == "DaemonSet")["spec"]["template"]
    return manifests, {"apiVersion": "v1", "kind": "Pod", **template}


def connection_string(port: int) -> str:
    """Where the broker on this machine's loopback is for a pod."""
    key = "SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
    return f"Endpoint=sb://{HOST}:{port};{key}"


@contextmanager
def playing(
    podman: Podman, directory: Path, manifests: list[Manifest], pod: Manifest, container: dict[str, Any]
) -> Iterator[RunningPod]:
    """Runs one container of a pod, and removes pod and volumes in the end.

    What podman 4.3 cannot do is done here: it is told what the downward API and Secrets say; it would run the probes
    inside the container, which has no shell; after an init container it waits 20 s for a lock of its own.
    """
    name = f"chart-{os.getpid()}-{next(_numbers)}"
    port = free_port()
    played = _for_podman(manifests, pod, container, name, port)
    file = directory / f"{name}.yaml"
    file.write_text(yaml.safe_dump_all([*(each for each in manifests if each["kind"] == "ConfigMap"), played]))
    volumes = [each["name"] for each in played["spec"]["volumes"] if "emptyDir" in each]
    try:
        podman.run("play", "kube", "--network", NETWORK, str(file))
        yield RunningPod(podman, name, container["name"], port)
    finally:
        podman.run("pod", "rm", "--force", "--time", "0", name, fails=True)
        for volume in volumes:
            podman.run("volume", "rm", "--force", volume, fails=True)


def _for_podman(manifests: list[Manifest], pod: Manifest, container: dict[str, Any], name: str, port: int) -> Manifest:
    played, only = copy.deepcopy(pod), copy.deepcopy(container)
    played["metadata"] = {"name": name, "labels": pod["metadata"]["labels"]}
    played["spec"].pop("initContainers", None)
    played["spec"]["containers"] = [only]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        only.pop(probe, None)
    secrets = {each["metadata"]["name"]: each["stringData"] for each in manifests if each["kind"] == "Secret"}
    only["env"] = [_told(variable, secrets) for variable in only.get("env", [])]
    for declared in only.get("ports", []):
        declared |= {"hostPort": port, "hostIP": "127.0.0.1"}
    mounted = {mount["name"] for mount in only["volumeMounts"]}
    played["spec"]["volumes"] = [each for each in played["spec"]["volumes"] if each["name"] in mounted]
    for volume in played["spec"]["volumes"]:
        if "emptyDir" in volume:  # a named volume for podman, and names are one for all pods
            for mount in only["volumeMounts"]:
                mount["name"] = f"{name}-spool" if mount["name"] == volume["name"] else mount["name"]
            volume["name"] = f"{name}-spool"
    return played


def _told(variable: dict[str, Any], secrets: dict[str, dict[str, str]]) -> dict[str, str]:
    if "value" in variable:
        return variable
    source = variable["valueFrom"]
    if "secretKeyRef" in source:
        value = secrets[source["secretKeyRef"]["name"]][source["secretKeyRef"]["key"]]
    else:
        value = {"spec.nodeName": NODE}[source["fieldRef"]["fieldPath"]]
    return {"name": variable["name"], "value": value}


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
