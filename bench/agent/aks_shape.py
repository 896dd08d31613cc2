"""A node of AKS as the kernel shows it: many processes, mounts and interfaces. For the agent's benchmark.

`python -m bench.agent.aks_shape PLAN RESULT` builds it around itself and compares there. It has to be started in
mount, network and process namespaces of its own, which `compare_in_aks_shape` does, and which take everything away
again at the end; nothing of it is visible outside. Needs root.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.agent.comparison import Comparison, Cost, Plan, Way, compare
from bench.agent.programs import REPOSITORY, Unmeasurable

PROCESSES = 500
MOUNTS = 100
INTERFACES = 40
_COVERED = ("/run", "/var/lib")
"""Hidden below empty file systems, so that nothing is made on this machine's own."""
_DISKS = ("/var/lib/resource", "/var/lib/kubelet/plugins/kubernetes.io/csi/disk.csi.azure.com/0d1e/globalmount")
"""A temporary disk, and the disk of a persistent volume."""
_DISK_BYTES = 8 * 1024 * 1024
_TIMEOUT = 300


def compare_in_aks_shape(plan: Plan, tell: Callable[[str], None]) -> Comparison:
    """Like `comparison.compare`, inside the shape. Raises Unmeasurable where it cannot be built."""
    if os.geteuid() != 0:
        raise Unmeasurable("the AKS-shaped host is made of namespaces and mounts: run it as root, or with --skip-aks")
    for tool in ("unshare", "ip", "mount", "mkfs.ext4"):
        if shutil.which(tool) is None:
            raise Unmeasurable(f"{tool} is not installed; it is in Debian's util-linux, iproute2, mount, e2fsprogs")
    for needed in (REPOSITORY, Path(sys.executable), Path(tempfile.gettempdir())):
        if needed.is_relative_to(_COVERED[0]) or needed.is_relative_to(_COVERED[1]):
            raise Unmeasurable(f"{needed} must not be below {' or '.join(_COVERED)}, which the AKS-shaped host covers")
    with tempfile.TemporaryDirectory(prefix="bench-aks-") as folder:
        result = Path(folder) / "result.json"
        namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL"]
        module = [sys.executable, "-m", "bench.agent.aks_shape", json.dumps(asdict(plan)), str(result)]
        inside = subprocess.Popen([*namespaces, *module], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
        said: list[str] = []
        try:
            assert inside.stderr is not None
            for line in inside.stderr:
                said.append(line.rstrip())
                if line.startswith("tell: "):
                    tell(line.removeprefix("tell: ").rstrip())
            inside.wait(_TIMEOUT)
        finally:
            if inside.poll() is None:
                inside.kill()
                inside.wait()
        if inside.returncode or not result.exists():
            raise Unmeasurable(f"the AKS-shaped host failed with {inside.returncode}: " + "\n".join(said[-20:]))
        return read(json.loads(result.read_text()))


def read(document: Mapping[str, Any]) -> Comparison:
    """A comparison that was written as JSON."""
    costs = {Way(way): Cost(**cost) for way, cost in document["costs"].items()}
    devices = {name: tuple(pair) for name, pair in document["devices"].items()}
    return Comparison(**{**document, "costs": costs, "devices": devices})


def main(plan: str, result: str) -> None:
    """Builds the shape, compares in it, writes the result."""

    def tell(text: str) -> None:
        print(f"tell: {text}", file=sys.stderr, flush=True)

    if os.getpid() != 1:
        raise SystemExit("bench.agent.aks_shape changes the mounts it sees: it must be alone in its namespaces")
    idle = _build()
    tell(f"{_processes()} processes, {len(_mounts())} mounts, {len(_interfaces())} interfaces")
    try:
        given = json.loads(plan)
        comparison = compare(Plan(**{**given, "ways": tuple(map(Way, given["ways"]))}), tell)
    finally:
        for process in idle:
            process.kill()
        for process in idle:
            process.wait()
    Path(result).write_text(json.dumps(asdict(comparison)))


def _build() -> list[subprocess.Popen[bytes]]:
    """Builds interfaces and mounts; gives the idle processes."""
    for folder in _COVERED:
        _run("mount", "-t", "tmpfs", "tmpfs", folder)
    for number, folder in enumerate(_DISKS):
        _mount_disk(Path("/run/disk") / str(number), folder)
    _link_interfaces()
    pod = 0
    while len(_mounts()) < MOUNTS:
        _mount_pod(f"{pod:08x}-0000-4000-8000-000000000000", volume=pod == 0)
        pod += 1
    return [subprocess.Popen(["sleep", "infinity"]) for _ in range(PROCESSES - _processes())]


def _mount_disk(image: Path, folder: str) -> None:
    image.parent.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(_DISK_BYTES)
    _run("mkfs.ext4", "-q", str(image))
    Path(folder).mkdir(parents=True, exist_ok=True)
    _run("mount", "-o", "loop", str(image), folder)


def _mount_pod(uid: str, *, volume: bool) -> None:
    """The mounts of a pod of one container, as containerd and the kubelet make them: root, /dev/shm, token."""
    task = Path(f"/run/containerd/io.containerd.runtime.v2.task/k8s.io/{uid}/rootfs")
    layers = [Path(f"/run/layers/{uid}/{name}") for name in ("lower", "upper", "work")]
    pod = Path(f"/var/lib/kubelet/pods/{uid}/volumes")
    token = pod / "kubernetes.io~projected/kube-api-access"
    shm = Path(f"/run/containerd/io.containerd.grpc.v1.cri/sandboxes/{uid}/shm")
    for folder in (task, *layers, token, shm):
        folder.mkdir(parents=True)
    options = ",".join(f"{name}dir={path}" for name, path in zip(("lower", "upper", "work"), layers, strict=True))
    _run("mount", "-t", "overlay", "overlay", "-o", options, str(task))
    _run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(token))
    _run("mount", "-t", "tmpfs", "-o", "size=64k", "shm", str(shm))
    if volume:
        mount = pod / "kubernetes.io~csi/pvc-0d1e/mount"
        mount.mkdir(parents=True)
        _run("mount", "--bind", _DISKS[1], str(mount))


def _link_interfaces() -> None:
    """The node's own interface and its virtual function; for the rest pods' ends, here and of Calico."""
    _run("ip", "link", "set", "lo", "up")
    pairs = [("eth0", "enP52914s1")]
    pairs += [(f"azv{number:08x}", f"cali{number:08x}") for number in range((INTERFACES - len(_interfaces()) - 1) // 2)]
    for one, other in pairs:
        _run("ip", "link", "add", one, "type", "veth", "peer", "name", other)
        _run("ip", "link", "set", one, "up")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()}")


def _processes() -> int:
    return sum(entry.name.isdigit() for entry in Path("/proc").iterdir())


def _mounts() -> Sequence[str]:
    return Path("/proc/self/mounts").read_text().splitlines()


def _interfaces() -> Sequence[str]:
    return Path("/proc/net/dev").read_text().splitlines()[2:]


if __name__ == "__main__":
    main(*sys.argv[1:])
