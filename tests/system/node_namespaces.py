"""A node and a pod on it, made of real namespaces: for tests that need both views of one kernel.

The node has a process 1, mounts, a network and a host name of its own; the pod has its own again, a root file system
of its own, and the node's file systems mounted as the chart does it. Nothing of it is seen outside, and all of it
goes with the node's process 1. Needs root, and loop devices for the node's disks.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.eventually import eventually

REPOSITORY = Path(__file__).parents[2]
TOOLS = ("unshare", "nsenter", "setpriv", "chroot", "ip", "mount", "mkfs.ext4")
UNPRIVILEGED = "setpriv --reuid 10001 --regid 10001 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
LIMIT = 60
"""Seconds any command may take."""

MAKE_NODE = """
hostname the-node
mount --make-rshared /
ip link set lo up
if [ -e /proc/sys/net/ipv6 ]; then echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; fi  # it would chatter
ip link add eth0 type veth peer name wire
ip address add 10.9.0.1/24 dev eth0
ip link set eth0 up
ip link set wire up
ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev eth0
mkdir data data/part bind later hidden pod stage spool
mount -o loop disk-1 data
mkdir data/part
mount --bind data/part bind
mount -t proc -o hidepid=2 proc hidden
"""
MAKE_POD = """
hostname the-pod
mount --rbind / stage
mount -t tmpfs -o mode=755 tmpfs pod
mkdir -p pod/host/root pod/host/proc pod/host/sys pod/proc pod/dev pod/etc pod/spool
mount --move stage pod/host/root
mount -o remount,bind,ro pod/host/root
mount --rbind /proc pod/host/proc
mount --rbind /sys pod/host/sys
mount --rbind /dev pod/dev
mount -t proc proc pod/proc
mount --bind spool pod/spool
touch pod/etc/hosts
mount --bind /etc/hosts pod/etc/hosts
for path in /usr /bin /lib /lib64 {needed}; do
    if [ -L $path ]; then
        cp -P $path pod$path
    elif [ -d $path ]; then
        mkdir -p pod$path
        mount --bind $path pod$path
    fi
done
mount -o remount,ro pod
exec chroot pod sleep infinity
"""


class Namespaces:
    """A set of namespaces, named by a process that lives in them."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def command(self, *command: str) -> list[str]:
        """What runs a command inside."""
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", "-u", "-i", "-r", "-w", *command]

    def sh(self, script: str, **environment: str) -> str:
        """Runs a script inside and gives what it writes; fails where it fails."""
        return self.run("bash", "-euc", script, **environment).stdout

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*command),
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert done.returncode == 0, f"{shlex.join(command)[:200]}: exit {done.returncode}: {done.stderr[-2000:]}"
        return done


class Node:
    """The node, its pod, and a directory that both know by the same name. To be used as a context."""

    def __enter__(self) -> "Node":
        missing = [tool for tool in TOOLS if shutil.which(tool) is None]
        assert not missing, f"install {', '.join(missing)} (Debian: util-linux, iproute2, e2fsprogs)"
        assert os.geteuid() == 0, "namespaces, loop devices and other users need root: run this test as root"
        self.directory = Path(tempfile.mkdtemp(prefix="node-"))
        self.directory.chmod(0o755)
        for disk in ("disk-1", "disk-2"):
            self._make_disk(self.directory / disk)
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            unshare = ["unshare", "-m", "-n", "-p", "-u", "-i", "--fork", "--kill-child", "--mount-proc"]
            self.inside = Namespaces(_first_child(self._start([*unshare, "sleep", "infinity"])))
            self.sh(MAKE_NODE)
            self.pod = Namespaces(self._start_pod())
            link = f"ip link add azv1 type veth peer name eth0 netns {self.pod.pid}"
            subprocess.run(["nsenter", "-t", str(self.inside.pid), "-n", *link.split()], check=True, timeout=LIMIT)
            self.pod.sh("ip link set lo up; ip link set eth0 up; ip address add 10.8.0.9/24 dev eth0")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:  # the first one's end is process 1's end, and with it everything inside ends
            process.kill()
            process.wait(LIMIT)
        shutil.rmtree(self.directory)

    def sh(self, script: str) -> str:
        """Runs a script on the node, in the common directory."""
        return self.inside.sh(f"cd {self.directory}\n{script}")

    def in_pod(self, *command: str) -> list[str]:
        """What runs a command in the pod, as the pod's user and without any privilege."""
        return self.pod.command(*UNPRIVILEGED.split(), *command)

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self._processes.append(process)
        return process

    def _start_pod(self) -> int:
        needed = " ".join(sorted({str(REPOSITORY), sys.base_prefix, sys.prefix}, key=len))
        script = f"set -eu\ncd {self.directory}\n{MAKE_POD.format(needed=needed)}"
        unshare = ["unshare", "-m", "-n", "-p", "-u", "-i", "--fork", "--kill-child", "--propagation", "slave"]
        process = self._start(self.inside.command(*unshare, "bash", "-c", script))
        nsenter = _first_child(process)  # it forks to enter the node's process ids, and unshare for the pod's
        pid = eventually(lambda: _child_of(nsenter) or process.poll(), "the pod's process 1")
        eventually(lambda: Path(f"/proc/{pid}/root/host").is_dir() or process.poll(), "the pod's root")
        assert process.poll() is None, "the pod could not be made; see what bash says above"
        return pid

    @staticmethod
    def _make_disk(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(8 * 2**20)
        subprocess.run(["mkfs.ext4", "-q", str(path)], check=True, timeout=LIMIT)


def _first_child(process: subprocess.Popen[bytes]) -> int:
    return eventually(lambda: _child_of(process.pid) or process.poll(), f"a child of {process.args}")


def _child_of(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None
