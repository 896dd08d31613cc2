"""What detection costs the chain: the share of its samples per second that it would have more of without.

The same backlog is drained by the product's function app and by the one in bench/undetected, which judges no window,
in turns; each turn is compared with its own pair, so that what slows the machine down for minutes slows both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median

from bench.chain import Drained, drain
from bench.figures import Figures
from local.supervisor.stack import Stack

UNDETECTED = Path(__file__).parent / "undetected"


def detection_cost_figures(figures: Figures, stack: Stack, *, quick: bool) -> None:
    """`chain.detection_cost`: 0.2 where a chain of 1,000 samples/s would make 1,250 without detection."""
    nodes, minutes, turns = (200, 3, 1) if quick else (1_000, 4, 3)
    pairs = [_pair(stack, nodes, minutes, turn) for turn in range(turns)]
    in_time = [1.0 - without.seconds / whole.seconds for whole, without in pairs]
    in_cpu = [1.0 - without.cpu_seconds / whole.cpu_seconds for whole, without in pairs]
    figures.add(
        "chain.detection_cost", median(in_time), f"share of samples/s, {min(in_time):.2g} to {max(in_time):.2g}"
    )
    figures.add("chain.detection_cost_cpu", median(in_cpu), "share of the functions host's CPU time")


def _pair(stack: Stack, nodes: int, minutes: float, turn: int) -> tuple[Drained, Drained]:
    """A backlog drained with detection and one without; every other turn begins with the other one."""
    found = {}
    for detecting in (True, False) if turn % 2 == 0 else (False, True):
        with nullcontext() if detecting else _undetected(stack):
            found[detecting] = asyncio.run(drain(stack, nodes, minutes, f"cost-{turn}-{detecting}".lower()))
    return found[True], found[False]


@contextmanager
def _undetected(stack: Stack) -> Iterator[None]:
    """Has the stack's next functions host run the other app, and the product's again afterwards."""
    process = stack.process("functions")
    product = process.program

    def arguments() -> list[str]:
        given = list(product.arguments())
        given[given.index("--app") + 1] = str(UNDETECTED)
        return given

    process.program = replace(product, arguments=arguments)
    try:
        yield
    finally:
        process.program = product
