"""Runs the agent's image hardened, and lets a test stand within its network namespace, which has only a loopback.

Needs root on Linux: it looks into the namespaces and the /proc entries of the container's processes.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.eventually import eventually
from tools.image.engines import RUNNERS, Engine, find_engine

PYTHON = "/usr/local/bin/python3.13"
SPOOL = "/var/lib/devops-monitor"
HARDENED = (
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--user=10001:10001",
    "--memory=128m",
    "--pids-limit=64",
    "--network=none",
)
NODE_MOUNTS = ("--volume=/proc:/host/proc:ro", "--volume=/sys:/host/sys:ro", "--volume=/:/host/root:ro,rslave")
NODE_SETTINGS = {"AGENT_PROCFS": "/host/proc", "AGENT_SYSFS": "/host/sys", "AGENT_ROOTFS": "/host/root"}
WITHIN = 60.0


def find_runner(wanted: str) -> Engine:
    """The engine that runs what was built: podman runs what buildah builds."""
    return find_engine("podman" if wanted == "buildah" else wanted, RUNNERS)


class Container:
    """A hardened container of the image with the node's file systems mounted; removed with its volume by `remove`."""

    def __init__(
        self,
        engine: Engine,
        image: str,
        arguments: Sequence[str] = (),
        *,
        settings: Mapping[str, str] | None = None,
        files: Mapping[str, Path] | None = None,
        entrypoint: str | None = None,
    ) -> None:
        self._engine = engine
        self._directory = (
            tempfile.TemporaryDirectory()
        )  # podman's monitor leaves a note about memory where it is started
        self.name = f"agent-image-test-{uuid.uuid4().hex[:12]}"
        environment = {"AGENT_NODE": "node-1", "AGENT_CLUSTER": "test", **NODE_SETTINGS, **(settings or {})}
        options = [
            *HARDENED,
            # podman would put a writable /tmp over a read-only root; a kubelet does not.
            *(["--read-only-tmpfs=false"] if engine.name == "podman" else []),
            *NODE_MOUNTS,
            f"--volume={self.name}:{SPOOL}",
            *(f"--volume={source}:{target}:ro" for target, source in (files or {}).items()),
            *(f"--env={name}={value}" for name, value in environment.items()),
            *([f"--entrypoint={entrypoint}"] if entrypoint else []),
        ]
        self._run("run", "--detach", f"--name={self.name}", *options, image, *arguments)

    @property
    def pid(self) -> int:
        """The first process of the container, as the node numbers it."""
        return int(self.state()["Pid"])

    def state(self) -> dict:
        return json.loads(self._run("inspect", self.name).stdout)[0]["State"]

    def wait(self) -> int:
        """The exit code, when the container has ended."""
        return int(self._run("wait", self.name).stdout.strip())

    def stop(self) -> int:
        """SIGTERM as the kubelet sends it, and the exit code."""
        self._run("stop", "--time=15", self.name)
        return int(self.state()["ExitCode"])

    def output(self) -> str:
        return self._run("logs", self.name).stdout

    def log(self) -> list[dict]:
        lines = self._run("logs", self.name).stderr.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        return self._run("exec", self.name, *command, check=False)

    def python(self, program: str, *arguments: str) -> str:
        """What a program prints that is run by the image's own interpreter, in the container."""
        ended = self.execute(PYTHON, "-c", program, *arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def remove(self) -> None:
        self._run("kill", self.name, check=False)  # at once: the first process of a container minds no SIGTERM
        self._run("rm", "--force", self.name, check=False)
        self._run("volume", "rm", "--force", self.name, check=False)
        self._directory.cleanup()

    def status(self) -> dict[str, str]:
        """/proc/PID/status of the first process, read from outside."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def memory_limit(self) -> int:
        """What the kernel allows, from the control group: version 2, or the memory controller of version 1."""
        groups = [line.split(":", 2) for line in Path(f"/proc/{self.pid}/cgroup").read_text().splitlines()]
        paths = {controllers: path.lstrip("/") for _, controllers, path in groups}
        if "memory" in paths:
            limit = Path("/sys/fs/cgroup/memory") / paths["memory"] / "memory.limit_in_bytes"
        else:
            limit = Path("/sys/fs/cgroup") / paths[""] / "memory.max"
        return int(limit.read_text())

    def listener(self, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """A socket of this process that listens on the container's own loopback interface."""

        def listen() -> socket.socket:
            listening = socket.socket(socket.AF_INET, kind)
            listening.bind(("127.0.0.1", port))
            if kind == socket.SOCK_STREAM:
                listening.listen()
            return listening

        return self._within_network(listen)

    def connection(self, port: int) -> socket.socket:
        """A connection to a port of the container's own loopback interface."""
        return self._within_network(lambda: socket.create_connection(("127.0.0.1", port), 5))

    def get(self, port: int, path: str) -> tuple[int, str]:
        """Status and body of an HTTP answer from within the container's network."""
        with self.connection(port) as connection:
            fields = "Host: agent\r\nAccept: application/openmetrics-text; version=1.0.0, */*;q=0.1\r\n"
            connection.sendall(f"GET {path} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    def when_listening(self, port: int) -> None:
        def answers() -> bool:
            try:
                self.connection(port).close()
            except ConnectionRefusedError:
                return False
            return True

        eventually(answers, f"somebody listening on port {port} of the container")

    def _within_network(self, make: Callable[[], socket.socket]) -> socket.socket:
        """Calls `make` in the container's network namespace: a socket stays in the namespace it was made in."""
        made: list[socket.socket] = []
        failed: list[BaseException] = []

        def enter_and_make() -> None:
            namespace = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
            try:
                os.setns(namespace, os.CLONE_NEWNET)  # of this thread only
                made.append(make())
            except BaseException as error:
                failed.append(error)
            finally:
                os.close(namespace)

        thread = threading.Thread(target=enter_and_make)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return made[0]

    def _run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            [self._engine.name, *command],
            cwd=self._directory.name,
            env=self._engine.environment(),
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )
        assert not check or ended.returncode == 0, f"{self._engine.name} {command[0]}: {ended.stderr}"
        return ended
