"""Settings with which podman and buildah work on a machine that systemd does not run, such as a virtual machine for CI.

    export CONTAINERS_CONF=$(.venv/bin/python -m tools.image.containers_conf)

The machine's own configuration is left alone; one that CONTAINERS_CONF names already is not replaced.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FILE = REPOSITORY / ".local/image/containers.conf"
SYSTEMD = Path("/run/systemd/system")
OPEN_FILES = PROCESSES = 4096
"""Container engines ask for the kernel's maximum, which a machine may refuse them."""


def containers_conf() -> Path | None:
    """Gives the file to name in CONTAINERS_CONF, written anew; None where the machine's own configuration will do."""
    if named := os.environ.get("CONTAINERS_CONF"):
        return Path(named)
    if SYSTEMD.is_dir() or sys.platform != "linux":
        return None
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(_content())
    return FILE


def _content() -> str:
    limits = [
        _limit("nofile", resource.RLIMIT_NOFILE, OPEN_FILES),
        _limit("nproc", resource.RLIMIT_NPROC, PROCESSES),
    ]
    lines = [
        "[containers]",
        f"default_ulimits = [{', '.join(limits)}]",
        "[engine]",
        'cgroup_manager = "cgroupfs"',
        'events_logger = "file"',
    ]
    if not shutil.which("crun") and shutil.which("runc"):
        lines.append('runtime = "runc"')
    return "\n".join(lines) + "\n"


def _limit(name: str, kind: int, wanted: int) -> str:
    hard = resource.getrlimit(kind)[1]
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    return f'"{name}={value}:{value}"'


if __name__ == "__main__":
    print(containers_conf() or "")
