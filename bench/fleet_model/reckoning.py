"""From windows above a threshold to incidents, and what of them is right. For rivals, who have no rule of their own."""

from __future__ import annotations

from bench.fleet_model.fleets import AFTER, DAY, Flags, Judged
from functions.core.policy.incidents import ENDS_AFTER
from functions.core.policy.rules import LASTING

WEEK = 7 * DAY


def persistent(above: Flags, every: int) -> list[tuple[int, int]]:
    """(window, node) where incidents begin, of windows every so many minutes: above for as long as LASTING."""
    need = -(-LASTING.of // every)
    quiet_for = ENDS_AFTER // every
    found = []
    for node, windows in enumerate(above.T):
        run, quiet, is_open = 0, 0, False
        for at, is_above in enumerate(windows.tolist()):
            run = run + 1 if is_above else 0
            quiet = 0 if is_above else quiet + 1
            is_open = is_open and quiet < quiet_for
            if run >= need and not is_open:
                is_open = True
                found.append((at, node))
    return found


def judged_incidents(told: list[tuple[int, int]], judged: Judged) -> tuple[dict[str, list[bool]], float]:
    """Faults found by kind, and false incidents per node and week."""
    found: dict[str, list[bool]] = {}
    right: set[int] = set()
    for event in judged.events:
        mine = [
            number
            for number, (at, node) in enumerate(told)
            if node == event.node and event.start <= at < event.end + AFTER
        ]
        right.update(mine)
        found.setdefault(event.kind, []).append(bool(mine))
    weeks = judged.faulty.size / WEEK
    return found, (len(told) - len(right)) / weeks
