"""`python -m bench.soak`: a whole cluster's telemetry through the local stack for minutes: lag, memory, losses.

Lag of an envelope: from the broker's time stamp to the end of the run that committed it, when its snapshot is there.
Growth of a process: Theil-Sen slope of its resident memory over the second half of the run, times the run's length.
Lost: acknowledged envelopes that are not in the broker's log, not told of by a run, or not stored exactly once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.memory import MemoryLog
from bench.oracle.comparison import Row
from bench.oracle.reckoning import EnvelopeId, Logged, identify, read
from bench.oracle.traffic import silence_sdk
from bench.oracle.witnesses import RUNS, NotConsumed, Witnesses
from local.kql import KqlFailed
from local.supervisor import Stack, StackError

PUBLISH_SECONDS = 30.0
MAX_LAG_SECONDS = 2 * PUBLISH_SECONDS
MAX_GROWTH_MIB = 20.0
"""Of any process in five minutes; a longer run may grow in proportion, a shorter one has no finer measure."""
WARMING_MIB = {"azurite": 40.0}
"""What a process may grow on top: Azurite's JavaScript heap fills to some 200 MiB within the first 10 minutes and stays
there (120,000 updates of 1,000 node states moved it no further)."""
_SETTLE_SECONDS = 120.0
_FLEET_STOP_SECONDS = 60.0


@dataclass
class Measured:
    """What a soak came to."""

    lags: list[float]
    """Seconds, one per event of the log, sorted."""
    memory: MemoryLog
    minutes: float
    acknowledged: int
    lost: list[str]
    """What is missing or unbalanced, for a person."""
    received: int
    stored: int
    duplicates: int
    dead_lettered: int

    @property
    def lag_p95(self) -> float:
        """Seconds within which 95 % of all envelopes were committed."""
        return percentile(self.lags, 0.95)

    @property
    def growth(self) -> dict[str, float]:
        """MiB over the whole run, per process."""
        return {name: rate * self.minutes for name, rate in self.memory.growth().items()}

    def problems(self) -> list[str]:
        """Why the soak has failed; empty when it has not."""
        found = list(self.lost)
        if self.lag_p95 >= MAX_LAG_SECONDS:
            found.append(
                f"lag p95 is {self.lag_p95:.1f} s; it must be below {MAX_LAG_SECONDS:g} s, two publish intervals"
            )
        for name, grown in self.growth.items():
            most = MAX_GROWTH_MIB * max(1.0, self.minutes / 5) + WARMING_MIB.get(name, 0.0)
            if grown > most:
                found.append(f"{name} grew by {grown:.1f} MiB in {self.minutes:g} min; at most {most:.1f} are accepted")
        return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the soak; 0 when nothing was lost, late or grew, else 1."""
    given = _parser().parse_args(arguments)
    data = given.data or Path(tempfile.mkdtemp(prefix="soak-"))
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

    tell(f"{given.nodes} nodes for {given.minutes:g} min, data in {data}")
    try:
        measured = asyncio.run(soak(data, given.nodes, given.minutes, given.seed, tell))
    except (StackError, NotConsumed, KqlFailed, RuntimeError, OSError) as error:
        print(f"soak: {type(error).__name__}: {error}\ndata and logs are left in {data}", file=sys.stderr)
        return 1
    print_lines(measured)
    problems = measured.problems()
    if problems:
        print("\n".join([*problems, f"data and logs are left in {data}"]), file=sys.stderr)
        return 1
    if given.data is None:
        shutil.rmtree(data)
    return 0


async def soak(data: Path, nodes: int, minutes: float, seed: int, tell: Callable[[str], None]) -> Measured:
    """Runs the stack and the fleet, watching both, and settles the accounts."""
    silence_sdk()
    # The thread that starts the stack must outlive it: the programs end with it.
    stack = Stack(data, faults=True, agent=False, ports="free", restart=False)
    stack.start()
    try:
        witnesses = Witnesses(stack)
        memory = MemoryLog()
        record = data / "acknowledged.jsonl"
        with _fleet(stack, data, record, nodes, minutes, seed) as fleet:
            try:
                await _watch(stack, witnesses, fleet, memory, data, tell)
            finally:
                fleet.terminate()
                await asyncio.to_thread(fleet.wait, _FLEET_STOP_SECONDS)
        if fleet.returncode:
            raise RuntimeError(f"the fleet ended with {fleet.returncode}; see {data / 'fleet.log'}")
        tell("the fleet has published everything; waiting until it is consumed")
        await witnesses.until_consumed(_SETTLE_SECONDS)
        runs = await asyncio.to_thread(witnesses.query, RUNS)
        await asyncio.to_thread(stack.process("functions").stop)  # it holds the partitions: nobody else may read them
        log = await witnesses.read_log()
        acknowledged = [_id(json.loads(line)) for line in record.read_text().splitlines()]
        return settle(log, runs, acknowledged, memory, minutes)
    finally:
        await asyncio.to_thread(stack.stop)


def settle(
    log: Sequence[Logged], runs: Sequence[Row], acknowledged: Sequence[EnvelopeId], memory: MemoryLog, minutes: float
) -> Measured:
    """Compares what was acknowledged with the log and the runs; nothing was killed, so the books are exact."""
    ended: dict[tuple[str, int], float] = {}
    lost: list[str] = []
    sums = {name: sum(run[name] for run in runs) for name in ("Received", "Stored", "Duplicates", "DeadLettered")}
    for run in runs:
        end_ms = run["WindowStart"].timestamp() * 1000 + run["DurationMs"]
        for sequence in range(run["FirstSequenceNumber"], run["LastSequenceNumber"] + 1):
            ended.setdefault((run["PartitionId"], sequence), end_ms)
    in_log = {identify(read(event.raw)) for event in log}
    missing = set(acknowledged) - in_log
    if missing:
        lost.append(f"{len(missing)} acknowledged envelopes are not in the broker's log, such as {min(missing)}")
    untold = [event.place for event in log if event.place not in ended]
    if untold:
        lost.append(f"{len(untold)} events of the log are told of by no run, such as {untold[0]}")
    if sums["Received"] != sums["Stored"] + sums["Duplicates"] + sums["DeadLettered"]:
        lost.append(f"received is not stored + duplicates + dead-lettered: {sums}")
    if sums["Stored"] + sums["DeadLettered"] != len(in_log):
        lost.append(
            f"{len(in_log)} different envelopes are in the log, but {sums['Stored']} were stored and "
            f"{sums['DeadLettered']} dead-lettered"
        )
    lags = sorted((ended[event.place] - event.enqueued_ms) / 1000 for event in log if event.place in ended)
    return Measured(
        lags, memory, minutes, len(set(acknowledged)), lost,
        sums["Received"], sums["Stored"], sums["Duplicates"], sums["DeadLettered"],
    )  # fmt: skip


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value at a share of a sorted series; 0 for an empty one."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def print_lines(measured: Measured) -> None:
    """The result, one `name value` a line; the table of memory goes to standard error."""
    growth, latest = measured.growth, measured.memory.latest()
    print(f"{'process':16} {'MiB at end':>12} {'grown by MiB':>14}", file=sys.stderr)
    for name in latest:
        print(f"{name:16} {latest[name]:12.1f} {growth[name]:14.1f}", file=sys.stderr)
    worst = max(growth, key=lambda name: growth[name])
    lines = {
        "acked": measured.acknowledged,
        "received": measured.received,
        "stored": measured.stored,
        "duplicates": measured.duplicates,
        "dead_lettered": measured.dead_lettered,
        "lag_p50_s": round(percentile(measured.lags, 0.5), 2),
        "lag_p95_s": round(measured.lag_p95, 2),
        "lag_max_s": round(percentile(measured.lags, 1.0), 2),
        "rss_growth_mib": round(growth[worst], 1),
        "rss_growth_worst": worst,
        "lost": len(measured.lost),
    }
    for name, value in lines.items():
        print(f"soak.{name} {value}")


def _fleet(stack: Stack, data: Path, record: Path, nodes: int, minutes: float, seed: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "local.fleet", "--nodes", str(nodes), "--minutes", str(minutes)]
    command += ["--publish-interval", f"{PUBLISH_SECONDS:g}", "--seed", str(seed)]
    command += ["--record", str(record), "--status-file", str(data / "fleet.json")]
    with (data / "fleet.log").open("wb") as log:
        environment = {**os.environ, **stack.env_for_clients()}
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


async def _watch(
    stack: Stack,
    witnesses: Witnesses,
    fleet: subprocess.Popen[bytes],
    memory: MemoryLog,
    data: Path,
    tell: Callable[[str], None],
) -> None:
    """Looks at everything once a second until the fleet has ended; a program that dies ends the soak."""
    began = time.monotonic()
    looks = 0
    while fleet.poll() is None:
        await asyncio.sleep(max(0.0, began + looks - time.monotonic()))
        looks += 1
        pids = {name: child.pid for name, child in stack.processes.items()}
        dead = [name for name, pid in pids.items() if pid is None]
        if dead:
            raise RuntimeError(f"{', '.join(dead)} ended by itself; see {stack.data.logs}")
        memory.sample(time.monotonic() - began, {**pids, "fleet": fleet.pid})
        if looks % 5 == 0:
            last, done = await asyncio.to_thread(lambda: (witnesses.last_sequences(), witnesses.checkpoints()))
            behind = sum(end - done.get(partition, -1) for partition, end in last.items())
            events = sum(end + 1 for end in last.values())
            total = sum(memory.latest().values())
            tell(f"{events} events published, {behind} not yet checkpointed, {total:.0f} MiB in all")


def _id(line: dict[str, Any]) -> EnvelopeId:
    return EnvelopeId(line["cluster"], line["node"], line["instance"], line["seq"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--nodes", type=int, default=1000, help="simulated nodes (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=5.0, help="for how long (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the fleet (default %(default)s)")
    parser.add_argument("--data", type=Path, help="directory to keep everything in (default: a temporary one)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
