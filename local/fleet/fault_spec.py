"""Reads what faults to inject from the command line: NAME:node=3,after=120,duration=10m,magnitude=0.5.

    node       3, 0-4, 1+5+8-9, all, or a node's name; needed for faults unless pool is given, events default to all
    pool       system, user or spot: all nodes of the pool
    after      when it begins, from the simulation's start: seconds, or with a unit: 90s, 10m, 2h, 1d; default 0
    duration   how long it lasts, the same way; each fault has its default
    magnitude  how strong it is; what it means and its default are the fault's own (local.fleet.faults)

For the command line, benchmarks and tests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from local.fleet.faults import FAULTS, Fault
from local.fleet.pools import POOLS, node_name, pool_of
from local.fleet.waveforms import DAY
from telemetry.errors import SettingsError

_KEYS = ("node", "pool", "after", "duration", "magnitude")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": DAY}
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhd]?)")
_NUMBER = re.compile(r"[+-]?\d{1,9}(?:\.\d{1,6})?")
_NODES = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")
LONGEST = 30 * DAY
"""Faults and the wait for them may be as long as this."""


def parse_faults(specs: Sequence[str], nodes: int) -> list[Fault]:
    """The faults that specifications ask for, in a fleet of `nodes` nodes.

    Raises SettingsError with every problem of every specification.
    """
    problems: list[str] = []
    faults = [fault for spec in specs if (fault := _parse(spec, nodes, problems)) is not None]
    if problems:
        raise SettingsError(problems)
    return faults


def _parse(spec: str, nodes: int, problems: list[str]) -> Fault | None:
    name, _, rest = spec.partition(":")
    kind = FAULTS.get(name)
    if kind is None:
        near = get_close_matches(name, FAULTS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FAULTS)}"
        problems.append(f"--fault {spec}: no fault is called {name!r}; {hint}")
        return None
    found: list[str] = []
    values = _values(rest, found)
    hit = _nodes(values, nodes, kind, found)
    after = _seconds("after", values.get("after", "0"), 0.0, found)
    duration = _seconds("duration", values.get("duration", f"{kind.default_duration:g}"), 0.001, found)
    magnitude = _magnitude(values.get("magnitude"), kind, found)
    problems += [f"--fault {spec}: {problem}" for problem in found]
    return None if found else kind(tuple(hit), after, duration, magnitude)


def _values(rest: str, problems: list[str]) -> Mapping[str, str]:
    values: dict[str, str] = {}
    for part in rest.split(",") if rest else ():
        key, equals, value = (text.strip() for text in part.partition("="))
        if not equals or not value:
            problems.append(f"{part!r} must be KEY=VALUE; keys are {', '.join(_KEYS)}")
        elif key not in _KEYS:
            problems.append(f"no key is called {key!r}; keys are {', '.join(_KEYS)}")
        elif key in values:
            problems.append(f"{key} is given twice; give it once")
        else:
            values[key] = value
    return values


def _nodes(values: Mapping[str, str], nodes: int, kind: type[Fault], problems: list[str]) -> Sequence[int]:
    node, pool = values.get("node"), values.get("pool")
    if node is not None and pool is not None:
        problems.append("node and pool are both given; give one of them")
        return ()
    if pool is not None:
        hit = [index for index in range(nodes) if pool_of(index).name == pool]
        if not hit:
            names = ", ".join(sorted({pool_of(index).name for index in range(nodes)}, key=_POOL_ORDER.index))
            problems.append(f"pool must be one that the fleet has ({names}), got {pool!r}")
        return hit
    if node is None:
        if kind.is_fault:
            problems.append("node is missing: say node=3, node=0-4, node=1+5, node=all or pool=user")
        return range(nodes)
    if node == "all":
        return range(nodes)
    hit = []
    for part in node.split("+"):
        hit += _some_nodes(part, nodes, problems)
    return sorted(set(hit))


_POOL_ORDER = [pool.name for pool in POOLS]


def _some_nodes(text: str, nodes: int, problems: list[str]) -> Sequence[int]:
    match = _NODES.fullmatch(text)
    if match is None:
        for index in range(nodes):
            if node_name(index) == text:
                return (index,)
        problems.append(f"node must be like 3, 0-4, 1+5, all, or the name of a node, got {text!r}")
        return ()
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        problems.append(f"node must go upwards, got {text}; write {last}-{first}")
        return ()
    if last >= nodes:
        problems.append(f"node must be 0-{nodes - 1} in a fleet of {nodes}, got {text}")
        return ()
    return range(first, last + 1)


def _seconds(key: str, text: str, lowest: float, problems: list[str]) -> float:
    seconds = seconds_of(text)
    if not lowest <= seconds <= LONGEST:
        least = "0" if lowest == 0.0 else "more than 0"
        problems.append(f"{key} must be {least} to 30d, as seconds or like 90s, 10m, 2h, 1d, got {text!r}")
    return seconds


def seconds_of(text: str) -> float:
    """What `90`, `90s`, `10m`, `2h` or `1d` stands for; -1 for what is no such text."""
    match = _SECONDS.fullmatch(text)
    return float(match[1]) * _UNITS[match[2]] if match else -1.0


def _magnitude(text: str | None, kind: type[Fault], problems: list[str]) -> float:
    if text is None:
        return kind.default_magnitude
    lowest, highest = kind.magnitude_range
    if _NUMBER.fullmatch(text) is None or not lowest <= float(text) <= highest:
        problems.append(
            f"magnitude must be {lowest:g} to {highest:g} ({kind.magnitude_meaning}; "
            f"default {kind.default_magnitude:g}), got {text!r}"
        )
        return kind.default_magnitude
    return float(text)
