"""`python -m bench.oracle`: a storm over the whole stack, and the verdict; exit status 1 when a law is broken."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.oracle.comparison import Law
from bench.oracle.evidence import SABOTAGES, Verdict, judge
from bench.oracle.run import Options, Outcome, run
from bench.oracle.witnesses import NotConsumed
from local.kql import KqlFailed
from local.supervisor import StackError

_EXPLAINED = 10
_LINE = 400
"""Characters of a line of an error: it may quote logs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the oracle; 0: no law is broken, 1: one is, or there is no verdict."""
    given = _parser().parse_args(arguments)
    seed = random.SystemRandom().getrandbits(31) if given.seed is None else given.seed
    data = given.data or Path(tempfile.mkdtemp(prefix="oracle-"))
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

    tell(f"seed {seed}, data in {data}")
    try:
        outcome = asyncio.run(run(Options(seed, given.kills, given.nodes, given.minutes, data), tell))
    except (StackError, NotConsumed, KqlFailed, RuntimeError, OSError) as error:
        text = "\n".join(line[:_LINE] for line in f"{type(error).__name__}: {error}".splitlines())
        print(f"oracle: no verdict: {text}\nseed {seed}; data and logs are left in {data}", file=sys.stderr)
        return 1
    verdict = outcome.verdict
    if given.sabotage:
        verdict = judge(SABOTAGES[given.sabotage][1](verdict.evidence))
    print_lines(verdict, outcome, seed)
    if verdict.discrepancies:
        explain(verdict)
        print(f"data and logs are left in {data}", file=sys.stderr)
        return 1
    if given.data is None:
        shutil.rmtree(data)
    return 0


def print_lines(verdict: Verdict, outcome: Outcome, seed: int) -> None:
    """The result, one `name value` a line."""
    reckoning, runs = verdict.reckoning, verdict.evidence.runs
    lines = {
        "acked": verdict.acknowledged,
        **{law.value: verdict.weight(law) for law in (Law.LOST, Law.DOUBLE_COUNTED, Law.CORRUPT, Law.UNBALANCED)},
        "kills": outcome.kills,
        "windows": len(reckoning.closed()),
        "received": reckoning.events,
        "stored": len(reckoning.stored),
        "envelopes_duplicated": reckoning.duplicates,
        "dead_lettered": len(reckoning.dead_letters),
        "redelivered": sum(run["Received"] for run in runs) - reckoning.events,
        "runs": len(runs),
        "silences_swept": outcome.silences,
        "seconds": round(outcome.seconds),
        "seed": seed,
    }
    for name, value in lines.items():
        print(f"oracle.{name} {value}")


def explain(verdict: Verdict) -> None:
    """The first discrepancies, for a person."""
    for discrepancy in verdict.discrepancies[:_EXPLAINED]:
        print(discrepancy, file=sys.stderr)
    if len(verdict.discrepancies) > _EXPLAINED:
        print(f"... and {len(verdict.discrepancies) - _EXPLAINED} more", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.oracle", description=__doc__)
    parser.add_argument("--seed", type=int, help="of everything random (default: another one every time)")
    parser.add_argument("--kills", type=int, default=30, help="how many SIGKILLs (default %(default)s)")
    parser.add_argument("--minutes", type=float, help="spread the kills over so long (default: about 5 s each)")
    parser.add_argument("--nodes", type=int, default=12, help="simulated nodes beside the real agent (default 12)")
    parser.add_argument("--data", type=Path, help="directory to keep everything in (default: a temporary one)")
    parser.add_argument("--sabotage", choices=SABOTAGES, help="spoil the evidence, to see the oracle fail")
    return parser


if __name__ == "__main__":
    sys.exit(main())
