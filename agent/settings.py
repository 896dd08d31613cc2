"""The agent's settings, from environment variables, checked once at start. For the command line.

All problems are reported together, each with the value that was found and what would be right. An empty variable
counts as unset. A variable that begins with AGENT_ but is unknown is a problem too: it is a typing error.
"""

from __future__ import annotations

import math
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.collector import Host, Kubelet
from agent.collectors.disk import DEFAULT_EXCLUDE as DISK_EXCLUDE
from agent.collectors.filesystem import DEFAULT_MOUNT_EXCLUDE, DEFAULT_TYPE_EXCLUDE
from agent.collectors.network import DEFAULT_EXCLUDE as NETWORK_EXCLUDE
from agent.hub_settings import HubSettings, read_hub
from agent.registry import built_in, enabled_by_default, third_party
from agent.sampler import time_limit
from agent.selection import Selection
from telemetry.errors import SettingsError

LOG_LEVELS = ("debug", "info", "warning", "error")
MAX_SAMPLES = 600
"""Samples in one envelope; receivers refuse more."""
MAX_SPREAD = 10.0

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_NAME_RULE = "1-128 letters, digits, '.', '_', '-', beginning and ending with a letter or digit"
_HOST = r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)"
_KUBELET_URL = re.compile(rf"https://{_HOST}:(\d{{1,5}})/?")
_LISTEN = re.compile(rf"{_HOST}:(\d{{1,5}})")
KNOWN = frozenset(
    {
        "AGENT_CLUSTER",
        "AGENT_NODE",
        "AGENT_POOL",
        "AGENT_SAMPLE_INTERVAL",
        "AGENT_PUBLISH_INTERVAL",
        "AGENT_PUBLISH_SPREAD",
        "AGENT_SPOOL_DIR",
        "AGENT_SPOOL_MAX_BYTES",
        "AGENT_SPOOL_MAX_AGE",
        "AGENT_SPOOL_FSYNC",
        "AGENT_STATUS_FILE",
        "AGENT_LOG_LEVEL",
        "AGENT_COLLECTORS",
        "AGENT_DISK_INCLUDE",
        "AGENT_DISK_EXCLUDE",
        "AGENT_MOUNT_INCLUDE",
        "AGENT_MOUNT_EXCLUDE",
        "AGENT_FS_TYPE_INCLUDE",
        "AGENT_FS_TYPE_EXCLUDE",
        "AGENT_NET_INCLUDE",
        "AGENT_NET_EXCLUDE",
        "AGENT_PROCFS",
        "AGENT_SYSFS",
        "AGENT_ROOTFS",
        "AGENT_HTTP_LISTEN",
        "AGENT_KUBELET_URL",
        "AGENT_KUBELET_TOKEN_FILE",
        "AGENT_KUBELET_CA_FILE",
        "AGENT_KUBELET_VERIFY",
    }
)
"""Every variable of the agent's own; the event hub's are in `agent.hub_settings`."""
_SERVICE_LINK = re.compile(r"AGENT(_.+)?_(SERVICE_(HOST|PORT)|PORT)(_.*)?")
"""What Kubernetes puts into every pod beside a Service named agent: nobody's typing error."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where /metrics, /healthz and /readyz are served."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Where envelopes wait for their acknowledgement, and how many may."""

    directory: Path = Path("/var/lib/devops-monitor/spool")
    max_bytes: int = 64 * 1024 * 1024
    max_age: float = 86_400.0
    fsync: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the agent can be told."""

    cluster: str
    node: str
    collectors: tuple[str, ...]
    """Names of those that run, in their order."""
    host: Host
    pool: str | None = None
    sample_interval: float = 10.0
    publish_interval: float = 30.0
    publish_spread: float = 10.0
    """Envelopes are sent up to so many seconds later, every node by its own share: all sample at the same instants."""
    log_level: str = "info"
    status_file: Path | None = None
    listen: Listen | None = None
    """None when nothing is served."""
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    hub: HubSettings | None = None
    """None when nothing is published."""

    @property
    def samples_per_envelope(self) -> int:
        """How many samples fill a publish interval."""
        return max(1, math.floor(self.publish_interval / self.sample_interval + 1e-9))

    def summary(self) -> dict[str, object]:
        """Gives what a person wants to see at start; no secret among it."""
        return {
            "cluster": self.cluster,
            "node": self.node,
            "pool": self.pool,
            "sample_interval": self.sample_interval,
            "publish_interval": self.publish_interval,
            "collectors": list(self.collectors),
            "spool_dir": str(self.spool.directory),
            "http_listen": f"{self.listen.host}:{self.listen.port}" if self.listen else None,
            "event_hub": self.hub.name if self.hub else None,
            "credential": None
            if self.hub is None
            else "connection string"
            if self.hub.namespace is None
            else "identity",
        }


def read_settings(environ: Mapping[str, str], *, publishing: bool) -> Settings:
    """Reads and checks the settings; without `publishing` the cluster and the event hub may be missing.

    Raises SettingsError with every problem.
    """
    reader = _Reader(environ)
    reader.refuse_unknown()
    cluster = reader.name("AGENT_CLUSTER", required=publishing) or "local"
    if not reader.get("AGENT_NODE") and reader.get("NODE_NAME"):
        node = reader.name("NODE_NAME")
    else:
        node = reader.name("AGENT_NODE") or name_from_hostname(socket.gethostname())
    other_problems = len(reader.problems)
    sample_interval = reader.number("AGENT_SAMPLE_INTERVAL", 10.0, 0.1, 3600)
    publish_interval = reader.number("AGENT_PUBLISH_INTERVAL", max(30.0, sample_interval), 0.1, 3600)
    if len(reader.problems) > other_problems:
        pass  # comparing a default with the other setting would report a problem that is none
    elif publish_interval < sample_interval:
        reader.problem(
            f"AGENT_PUBLISH_INTERVAL must be at least AGENT_SAMPLE_INTERVAL ({sample_interval:g} s), "
            f"got {publish_interval:g}"
        )
    elif publish_interval / sample_interval > MAX_SAMPLES:
        reader.problem(
            f"AGENT_PUBLISH_INTERVAL must be at most {MAX_SAMPLES} times AGENT_SAMPLE_INTERVAL "
            f"({MAX_SAMPLES * sample_interval:g} s), got {publish_interval:g}"
        )
    spread = reader.number("AGENT_PUBLISH_SPREAD", min(sample_interval, MAX_SPREAD), 0, 60)
    defaults = SpoolSettings()
    collectors = reader.collectors("AGENT_COLLECTORS")
    status_file = reader.get("AGENT_STATUS_FILE")
    settings = Settings(
        cluster=cluster,
        node=node or "",
        pool=reader.get("AGENT_POOL"),
        sample_interval=sample_interval,
        publish_interval=publish_interval,
        publish_spread=spread,
        log_level=reader.choice("AGENT_LOG_LEVEL", "info", LOG_LEVELS),
        status_file=Path(status_file) if status_file else None,
        collectors=collectors,
        host=_host(reader, collectors, sample_interval),
        listen=reader.listen("AGENT_HTTP_LISTEN"),
        spool=SpoolSettings(
            directory=Path(reader.get("AGENT_SPOOL_DIR") or defaults.directory),
            max_bytes=int(reader.number("AGENT_SPOOL_MAX_BYTES", defaults.max_bytes, 64 * 1024, 2**40)),
            max_age=reader.number("AGENT_SPOOL_MAX_AGE", defaults.max_age, 1, 7 * 86_400),
            fsync=reader.choice("AGENT_SPOOL_FSYNC", "false", ("true", "false")) == "true",
        ),
        hub=read_hub(environ, reader.problems, required=publishing),
    )
    if reader.problems:
        raise SettingsError(reader.problems)
    return settings


def _host(reader: _Reader, collectors: tuple[str, ...], sample_interval: float) -> Host:
    procfs, rootfs = reader.procfs("AGENT_PROCFS", "/proc"), reader.directory("AGENT_ROOTFS", "/")
    if procfs != "/proc" and rootfs == "/" and "filesystem" in collectors:
        reader.problem(
            f"AGENT_ROOTFS must be where the node's root directory is mounted, as AGENT_PROCFS ({procfs!r:.160}) says "
            "that this is a container; set it, or leave filesystem out of AGENT_COLLECTORS"
        )
    return Host(
        procfs=procfs,
        sysfs=reader.directory("AGENT_SYSFS", "/sys"),
        rootfs=rootfs,
        disks=reader.selection("AGENT_DISK", DISK_EXCLUDE),
        mounts=reader.selection("AGENT_MOUNT", DEFAULT_MOUNT_EXCLUDE),
        fs_types=reader.selection("AGENT_FS_TYPE", DEFAULT_TYPE_EXCLUDE),
        interfaces=reader.selection("AGENT_NET", NETWORK_EXCLUDE),
        kubelet=_kubelet(reader, needed="kubernetes" in collectors),
        # One call that hangs has to be given up well before its collector would be.
        time_limit=time_limit(sample_interval) / 4,
    )


def _kubelet(reader: _Reader, *, needed: bool) -> Kubelet:
    url = reader.get("AGENT_KUBELET_URL")
    if url is None and needed:
        reader.problem("AGENT_KUBELET_URL must be set for the collector kubernetes: https://HOST:10250")
    elif url is not None and not ((match := _KUBELET_URL.fullmatch(url)) and 0 < int(match[2]) <= 65_535):
        reader.problem(
            f"AGENT_KUBELET_URL must be https://HOST:PORT without a path, an IPv6 address in brackets, got {url!r:.160}"
        )
    defaults = Kubelet()
    kubelet = Kubelet(
        url=(url or "").rstrip("/"),
        token_file=Path(reader.get("AGENT_KUBELET_TOKEN_FILE") or defaults.token_file),
        ca_file=Path(reader.get("AGENT_KUBELET_CA_FILE") or defaults.ca_file),
        verify=reader.choice("AGENT_KUBELET_VERIFY", "true", ("true", "false")) == "true",
    )
    if needed:
        reader.readable("AGENT_KUBELET_TOKEN_FILE", kubelet.token_file)
        if kubelet.verify:
            reader.readable("AGENT_KUBELET_CA_FILE", kubelet.ca_file)
    return kubelet


def name_from_hostname(hostname: str) -> str:
    """Makes a valid node name of a host name: lower case, what is not allowed becomes '-'."""
    cleaned = re.sub(r"[^a-z0-9._-]", "-", hostname.lower())[:128].strip("._-")
    return cleaned or "unnamed-node"


class _Reader:
    """Takes single variables, notes what is wrong with them, and goes on with their default."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def problem(self, text: str) -> None:
        self.problems.append(text)

    def get(self, variable: str) -> str | None:
        return self._environ.get(variable, "").strip() or None

    def refuse_unknown(self) -> None:
        for variable in sorted(self._environ):
            if variable.startswith("AGENT_") and variable not in KNOWN and not _SERVICE_LINK.fullmatch(variable):
                self.problem(f"{variable} is not a setting of the agent{_suggestion(variable)}; correct or remove it")

    def name(self, variable: str, *, required: bool = False) -> str | None:
        value = self.get(variable)
        if value is None:
            if required:
                self.problem(f"{variable} must be set to publish: {_NAME_RULE}")
        elif not _NAME.fullmatch(value):
            self.problem(f"{variable} must be {_NAME_RULE}, got {value!r:.160}")
        return value

    def number(self, variable: str, default: float, low: float, high: float) -> float:
        text = self.get(variable)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            self.problem(f"{variable} must be a number from {low:.12g} to {high:.12g}, got {text!r:.80}")
            return default
        return value

    def choice(self, variable: str, default: str, allowed: tuple[str, ...]) -> str:
        value = (self.get(variable) or default).lower()
        if value not in allowed:
            self.problem(f"{variable} must be one of {', '.join(allowed)}, got {value!r:.80}")
            return default
        return value

    def collectors(self, variable: str) -> tuple[str, ...]:
        """Names of collectors; `default` stands for those that run where nothing is set."""
        text = self.get(variable)
        if text is None:
            return enabled_by_default()
        named = [name.strip() for name in text.split(",") if name.strip()]
        chosen = tuple(
            dict.fromkeys(n for name in named for n in (enabled_by_default() if name == "default" else (name,)))
        )
        strange = [name for name in chosen if name not in built_in()]
        if not chosen or (strange and not third_party().issuperset(strange)):
            known = ", ".join(("default", *built_in(), *sorted(third_party())))
            self.problem(f"{variable} must be a comma-separated list of {known}, got {text!r:.160}")
            return enabled_by_default()
        return chosen

    def selection(self, prefix: str, default: str) -> Selection:
        include, exclude = f"{prefix}_INCLUDE", f"{prefix}_EXCLUDE"
        if self.get(include) and self.get(exclude):
            self.problem(f"{include} and {exclude} are both set; set the first to name what is wanted, or the second")
        return Selection(self.pattern(exclude) or default, self.pattern(include))

    def pattern(self, variable: str) -> str | None:
        text = self.get(variable)
        try:
            re.compile(text or "")
        except (re.error, OverflowError, RecursionError) as error:
            self.problem(
                f"{variable} must be a regular expression ({error}), got {text!r:.160}; one that matches nothing: ^$"
            )
            return None
        return text

    def listen(self, variable: str) -> Listen | None:
        text = self.get(variable)
        if text is None:
            return None
        match = _LISTEN.fullmatch(text)
        if match is None or not int(match[2]) <= 65_535:
            self.problem(
                f"{variable} must be HOST:PORT with a port from 0 to 65535, like 0.0.0.0:9464 or [::]:9464, "
                f"got {text!r:.160}"
            )
            return None
        return Listen(match[1].strip("[]"), int(match[2]))

    def readable(self, variable: str, path: Path) -> None:
        if not os.access(path, os.R_OK):
            self.problem(f"{variable} must be a file that can be read, got {str(path)!r:.160}")

    def directory(self, variable: str, default: str) -> str:
        text = self.get(variable) or default
        if not Path(text).is_dir():
            self.problem(f"{variable} must be a directory that exists, got {text!r:.160}")
        return os.path.normpath(text)

    def procfs(self, variable: str, default: str) -> str:
        path = self.directory(variable, default)
        if Path(path).is_dir() and not all(os.access(f"{path}/{name}", os.R_OK) for name in ("stat", "meminfo")):
            self.problem(
                f"{variable} must be where the node's /proc is mounted, got {path!r:.160}, where no stat and meminfo "
                "can be read"
            )
        return path


def _suggestion(variable: str) -> str:
    import difflib  # only for a process that will not start

    close = difflib.get_close_matches(variable, KNOWN, 1, cutoff=0.75)
    return f"; did you mean {close[0]}?" if close else ""
