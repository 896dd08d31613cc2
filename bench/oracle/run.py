"""One run: the stack goes up, nodes publish, the storm rages, all is consumed, the verdict falls. For `__main__`."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.oracle.evidence import Evidence, Verdict, judge
from bench.oracle.nodes import CLOSING_AHEAD_MS, closing_envelope
from bench.oracle.storm import AGENT, FUNCTIONS, Storm
from bench.oracle.traffic import SILENT_AFTER_SECONDS, Traffic, silence_sdk
from bench.oracle.witnesses import RUNS, SILENCES, Witnesses
from local.supervisor import Stack

AGENT_NODE = ("oracle-agent", "real")
AGENT_SETTINGS = {
    "AGENT_CLUSTER": AGENT_NODE[0],
    "AGENT_NODE": AGENT_NODE[1],
    "AGENT_POOL": "oracle",
    "AGENT_SAMPLE_INTERVAL": "0.5",
    "AGENT_PUBLISH_INTERVAL": "1.5",
    "AGENT_PUBLISH_SPREAD": "0",
}
_CONSUME_SECONDS = 150.0
"""The longest wait of the function's retry policy is a minute, and a run may just have failed."""
_SPOOL_SECONDS = 60.0


@dataclass(frozen=True)
class Options:
    """What to run."""

    seed: int
    kills: int
    nodes: int
    minutes: float | None
    """Over how long to spread the kills; None: as they come."""
    data: Path


@dataclass
class Outcome:
    """What a run came to."""

    verdict: Verdict
    kills: int
    silences: int
    """How often `sweep` has closed the windows of a silent node."""
    seconds: float


async def run(options: Options, tell: Callable[[str], None]) -> Outcome:
    """Runs it all. Raises StackError, NotConsumed: then there is no verdict, and that is a failure too."""
    silence_sdk()
    os.environ.update(AGENT_SETTINGS, SILENT_AFTER_SECONDS=SILENT_AFTER_SECONDS)
    began = time.monotonic()
    # The thread that starts the stack must outlive it: the programs end with it.
    stack = Stack(options.data, faults=True, agent=True, ports="free", restart=False)
    tell("starting the stack")
    stack.start()
    try:
        tell(f"stack up after {time.monotonic() - began:.1f} s; {options.nodes} nodes and one agent publish")
        return await _run_on(stack, options, tell, began)
    finally:
        await asyncio.to_thread(stack.stop)


async def _run_on(stack: Stack, options: Options, tell: Callable[[str], None], began: float) -> Outcome:
    pause = 2.0 if options.minutes is None else max(0.2, options.minutes * 60 / max(1, options.kills) - 3.0)
    storm = Storm(stack, options.seed, options.kills, pause, tell)
    traffic = Traffic(stack.connection_string, options.seed, options.nodes, time.time_ns() // 1_000_000, 0.5)
    witnesses = Witnesses(stack)
    publishing = asyncio.create_task(traffic.run())
    raging = asyncio.create_task(storm.rage())
    while not raging.done():
        done, _ = await asyncio.wait({publishing, raging}, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        if publishing in done:
            raging.cancel()
            await publishing  # it ends by itself only when it fails
        tell(f"{time.monotonic() - began:.0f} s, {len(traffic.acknowledged)} envelopes acknowledged")
    await raging
    await storm.calm()
    tell("the storm is over; waiting until everything is published and consumed")
    traffic.stop()
    await publishing
    await _empty_spool(stack, tell)
    await witnesses.until_consumed(_CONSUME_SECONDS)
    now_ms = time.time_ns() // 1_000_000
    newest = {(node.cluster, node.name): node.newest_ms for node in traffic.nodes} | {AGENT_NODE: now_ms}
    closing = {node: time_ms + CLOSING_AHEAD_MS for node, time_ms in newest.items()}
    await traffic.send([closing_envelope(cluster, node, at) for (cluster, node), at in closing.items()])
    await witnesses.until_consumed(_CONSUME_SECONDS)
    tell(f"{time.monotonic() - began:.0f} s, everything is consumed; reckoning")
    windows = await asyncio.to_thread(witnesses.query, "NodeMetrics()")
    dead_letters = await asyncio.to_thread(witnesses.query, "DeadLetters()")
    runs = await asyncio.to_thread(witnesses.query, RUNS)
    silences = len(await asyncio.to_thread(witnesses.query, SILENCES))
    snapshots = await asyncio.to_thread(witnesses.snapshots, closing)
    await asyncio.to_thread(stack.process(FUNCTIONS).stop)  # it holds the partitions: nobody else may read them
    evidence = Evidence(
        log=await witnesses.read_log(),
        acknowledged=traffic.acknowledged,
        poison=traffic.poison,
        agent_cluster=AGENT_NODE[0],
        windows=windows,
        dead_letters=dead_letters,
        kept=await asyncio.to_thread(witnesses.kept_dead_letters),
        runs=runs,
        snapshots=snapshots,
        last_sent=closing,
    )
    return Outcome(judge(evidence), storm.kills.total(), silences, time.monotonic() - began)


async def _empty_spool(stack: Stack, tell: Callable[[str], None]) -> None:
    """Stops the agent when it has sent everything; it has 5 s for that, so it may take more than one try."""
    agent = stack.process(AGENT)
    status_file = agent.program.ready_file
    deadline = time.monotonic() + _SPOOL_SECONDS
    while True:
        await asyncio.to_thread(agent.stop)
        status = json.loads(status_file.read_text())
        if status["dropped"]:
            raise RuntimeError(f"the agent gave up {status['dropped']} envelope(s); its log: {agent.program.log}")
        if status["spooled"] == 0:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{status['spooled']} envelopes stay in the agent's spool; log: {agent.program.log}")
        tell(f"{status['spooled']} envelopes are left in the agent's spool; starting it again")
        await asyncio.to_thread(agent.start)
        await asyncio.sleep(2)
