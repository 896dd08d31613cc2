"""The command line of the simulator: read completely, every problem told at once. For local.fleet.__main__."""

from __future__ import annotations

import argparse
import math
import re
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from local.fleet.fault_spec import parse_faults, seconds_of
from local.fleet.faults import FAULTS, Fault
from telemetry.errors import SettingsError

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_MAX_NODES = 100_000
_MAX_SAMPLES = 600
"""Receivers refuse more in an envelope."""
_LONGEST_SINCE = 2 * 86_400.0
"""Samples older than that are not told of under their own time in Log Analytics, as in Azure."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to simulate, how fast, and where to publish it."""

    nodes: int
    cluster: str
    seed: int
    sample_interval: float
    publish_interval: float
    minutes: float | None
    """None: until told to stop."""
    speed: float
    start_ms: int
    behind_s: float
    """How far the start is behind the clock where the simulation is to catch up with it; 0: it is not."""
    faults: tuple[Fault, ...]
    connection_string: str | None = field(repr=False)
    """None: envelopes go to standard output."""
    hub: str
    senders: int
    status_file: Path | None
    record: Path | None
    labels: Path | None

    @property
    def until_ms(self) -> int | None:
        """When the simulation ends, in simulated time."""
        return None if self.minutes is None else self.start_ms + round(self.minutes * 60_000)


def read_options(arguments: Sequence[str] | None, environ: Mapping[str, str]) -> Options:
    """Reads the command line, and from the environment what it leaves open.

    Raises SettingsError with every problem; exits for --help and for flags that do not exist, as argparse does.
    """
    given = parser().parse_args(arguments)
    problems: list[str] = []

    def number(flag: str, text: str, lowest: float, highest: float, convert: Callable[[str], float] = float) -> float:
        try:
            value = convert(text)
        except ValueError:
            value = math.nan
        if lowest <= value <= highest:
            return value
        kind = "a whole number" if convert is int else "a number"
        problems.append(f"{flag} must be {kind} from {lowest:.10g} to {highest:.10g}, got {text!r}")
        return lowest

    nodes = int(number("--nodes", given.nodes, 1, _MAX_NODES, int))
    nodes_unknown = bool(problems)
    seed = int(number("--seed", given.seed, 0, 2**63 - 1, int))
    sample_interval = number("--sample-interval", given.sample_interval, 0.1, 3600)
    publish_interval = number("--publish-interval", given.publish_interval, 0.1, 3600)
    _check_intervals(sample_interval, publish_interval, problems)
    minutes = None if given.minutes is None else number("--minutes", given.minutes, 0.001, 60 * 24 * 366)
    if given.forever == (given.minutes is not None):
        problems.append("one of --minutes M and --forever must be given: how long to simulate")
    if given.forever and given.labels is not None:
        problems.append("--labels needs --minutes: without an end there is no end of labels")
    if not _NAME.fullmatch(given.cluster):
        problems.append(
            "--cluster must be 1-128 letters, digits, '.', '_' or '-', beginning and ending with a letter or digit, "
            f"got {given.cluster!r:.160}"
        )
    connection_string, hub = _hub(given, environ, problems)
    behind_s = _behind(given, problems)
    options = Options(
        nodes=nodes,
        cluster=given.cluster,
        seed=seed,
        sample_interval=sample_interval,
        publish_interval=publish_interval,
        minutes=minutes,
        speed=number("--speed", given.speed, 0, 100_000),
        start_ms=_start(given.start or "now", problems) - round(behind_s * 1000),
        behind_s=behind_s,
        faults=_faults(given.fault, _MAX_NODES if nodes_unknown else nodes, problems),
        connection_string=connection_string,
        hub=hub,
        senders=int(number("--senders", given.senders, 1, 64, int)),
        status_file=_file("--status-file", given.status_file, problems),
        record=_file("--record", given.record, problems),
        labels=_file("--labels", given.labels, problems),
    )
    if problems:
        raise SettingsError(problems)
    return options


def _check_intervals(sample: float, publish: float, problems: list[str]) -> None:
    samples = publish / sample
    if abs(samples - round(samples)) > 1e-9 or not 1 <= round(samples) <= _MAX_SAMPLES:
        problems.append(
            f"--publish-interval must be 1 to {_MAX_SAMPLES} times --sample-interval ({sample:g} s), "
            f"a whole number of times, got {publish:g} s"
        )


def _faults(specs: Sequence[str], nodes: int, problems: list[str]) -> tuple[Fault, ...]:
    try:
        return tuple(parse_faults(specs, nodes))
    except SettingsError as error:
        problems += error.problems
        return ()


def _hub(given: argparse.Namespace, environ: Mapping[str, str], problems: list[str]) -> tuple[str | None, str]:
    if given.stdout:
        return None, ""
    connection_string = given.connection_string or environ.get("EVENTHUB_CONNECTION_STRING") or ""
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if "=" in part)
    hub = given.hub or environ.get("EVENTHUB_NAME") or parts.get("EntityPath", "")
    if not connection_string:
        problems.append(
            "no event hub to publish to: give --connection-string or set EVENTHUB_CONNECTION_STRING, or use --stdout"
        )
    elif not parts.get("Endpoint", "").startswith("sb://"):
        problems.append("the connection string must have Endpoint=sb://HOST/ (its value is not shown)")
    if not hub:
        problems.append("no name of the event hub: give --hub telemetry or set EVENTHUB_NAME")
    return connection_string, hub


def _behind(given: argparse.Namespace, problems: list[str]) -> float:
    if given.since is None:
        return 0.0
    if given.start is not None or given.speed != "1":
        problems.append("--since goes with neither --start nor --speed: it starts in the past and catches up by itself")
    seconds = seconds_of(given.since)
    if not 0.0 < seconds <= _LONGEST_SINCE:
        problems.append(f"--since must be more than 0 and at most 2d, like 90m, 7h, 1d, got {given.since!r}")
        return 0.0
    return seconds


def _start(text: str, problems: list[str]) -> int:
    if text == "now":
        return time.time_ns() // 1_000_000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        problems.append(f"--start must be 'now' or an ISO 8601 time like 2026-03-02T08:00:00Z, got {text!r}")
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    start_ms = round(moment.timestamp() * 1000)
    if not 0 <= start_ms <= 253_370_764_800_000:
        problems.append(f"--start must be a time from 1970 to 9998, got {text!r}")
    return start_ms


def _file(flag: str, text: str | None, problems: list[str]) -> Path | None:
    if text is None:
        return None
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        problems.append(f"{flag} must be a file in a directory that exists, got {text!r}")
    return path


def parser() -> argparse.ArgumentParser:
    """The command line; numbers are checked by `read_options`, so that all problems can be told together."""
    found = argparse.ArgumentParser(
        prog="python -m local.fleet",
        description="Simulates the nodes of an AKS cluster and publishes their telemetry to Event Hubs.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("--nodes", default="10", metavar="N", help="how many nodes (default 10)")
    add("--cluster", default="sim", metavar="NAME", help="name of the cluster (default sim)")
    add("--seed", default="1", metavar="N", help="the same seed gives the same samples (default 1)")
    add("--sample-interval", default="10", metavar="S", help="seconds from sample to sample (default 10)")
    add("--publish-interval", default="30", metavar="S", help="seconds from envelope to envelope (default 30)")
    add("--minutes", metavar="M", help="end after so many simulated minutes")
    add("--forever", action="store_true", help="end only when told to")
    add("--speed", default="1", metavar="X", help="simulated seconds per second; 0: as fast as possible (default 1)")
    add("--start", metavar="TIME", help="simulated time to start at: ISO 8601, or now (default)")
    add(
        "--since",
        metavar="AGO",
        help="start so long ago (7h, 1d), catch up as fast as possible, then go on in real time",
    )
    add("--fault", action="append", default=[], metavar="SPEC", help="something that happens, see below; repeatable")
    add("--connection-string", metavar="TEXT", help="of the Event Hubs namespace (default EVENTHUB_CONNECTION_STRING)")
    add("--hub", metavar="NAME", help="event hub (default EVENTHUB_NAME, or EntityPath of the connection string)")
    add("--senders", default="4", metavar="N", help="connections to send over, one batch in flight each (default 4)")
    add("--stdout", action="store_true", help="print each envelope as a line of JSON instead of publishing")
    add("--status-file", metavar="FILE", help="keep counts here as JSON, replaced once a second")
    add("--record", metavar="FILE", help="append a line of JSON for every acknowledged envelope")
    add("--labels", metavar="FILE", help="write the ground truth: a line of JSON per node and fault (--minutes only)")
    return found


def _epilog() -> str:
    lines = [
        "faults: NAME:KEY=VALUE,... with node=3 | 0-4 | 1+5 | all | NODE'S NAME, or pool=user; after=2m;",
        "duration=10m; magnitude=X. Example: --fault cpu_runaway:node=3,after=120,duration=600",
        "",
    ]
    for name, fault in FAULTS.items():
        about = (fault.__doc__ or "").partition("\n")[0]
        if fault.magnitude_meaning != "not used":
            about += f" magnitude: {fault.magnitude_meaning} (default {fault.default_magnitude:g})."
        lines += textwrap.wrap(about, 100, initial_indent=f"  {name:20} ", subsequent_indent=" " * 23)
    lines += ["", "Times more than 10 min ahead of the clock are refused by the pipeline: with --speed other than 1,",
              "start in the past. Detectors know a node after 150 minutes: to see a fault found at once, let it",
              "begin in the past of a --since: --since 7h --forever --fault cpu_runaway:node=1,after=405m"]  # fmt: skip
    return "\n".join(lines)
