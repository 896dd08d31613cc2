"""What goes on on a node and is never measured itself: demand, traffic, leaks, stalls; metrics follow from it.

`Group` is some nodes of one pool at their moments. `causes_of` says what goes on there without any fault; faults
(local.fleet.faults) then change these causes, never the metrics, so that one fault moves everything that would move.
For the modules of local.fleet only. Arrays are (nodes, times) unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from local.fleet.noise import PERIODS, Floats, Integers, Noise
from local.fleet.pools import MB, Pool
from local.fleet.waveforms import bursts, business_hours, jobs, saw_tooth

HORIZONS = (10.0, 60.0, 300.0, 900.0)
"""Over how many seconds demand is averaged: the sample itself, then the three load averages."""
RAMPS = np.array(HORIZONS)[:, None, None]

#                 15 s  60 s  300 s 20 min 90 min 6 h  36 h
_WALKS: Mapping[str, Sequence[float]] = {
    "demand": (0.45, 0.45, 0.55, 0.50, 0.45, 0.25, 0.15),
    "modes": (0.30, 0.30, 0.50, 0.50, 0.30, 0.20, 0.20),
    "memory": (0.02, 0.03, 0.08, 0.15, 0.40, 0.70, 0.60),
    "cache": (0.02, 0.05, 0.15, 0.30, 0.50, 0.60, 0.50),
    "write": (0.70, 0.50, 0.40, 0.30, 0.30, 0.20, 0.10),
    "read": (0.70, 0.60, 0.50, 0.40, 0.30, 0.30, 0.20),
    "traffic": (0.40, 0.40, 0.50, 0.40, 0.35, 0.25, 0.15),
    "direction": (0.30, 0.30, 0.40, 0.40, 0.30, 0.30, 0.30),
    "processes": (0.10, 0.15, 0.30, 0.50, 0.50, 0.40, 0.40),
    "files": (0.05, 0.20, 0.40, 0.50, 0.40, 0.30, 0.30),
}
"""Autocorrelated noises and how much of each octave is in them."""
_WEIGHTS = np.array(list(_WALKS.values())).T
_HORIZON_WEIGHTS = np.array(
    [[weight / (1.0 + horizon / period) for weight, period in zip(_WALKS["demand"], PERIODS, strict=True)]
     for horizon in HORIZONS]
)  # fmt: skip
"""Averaging over a horizon takes the octaves away that are faster than it."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Nodes of one pool, each at its own moments."""

    pool: Pool
    nodes: Sequence[int]
    noise: Noise
    time_ms: Integers
    seconds: Floats
    """The same moments in epoch seconds."""
    elapsed: Floats
    """The same moments in seconds since the simulation's start, which faults count from."""
    interval: float
    """Seconds from sample to sample, over which the rates of single events are taken."""


@dataclass(slots=True, eq=False)
class Causes:
    """The hidden state of a group's nodes."""

    walks: Mapping[str, Floats]
    """The autocorrelated noises by name, standard Gaussians."""
    activity: Floats
    """Demand of the node's own, proper work, in shares of all its CPUs; what disk and network follow."""
    demand: Floats
    """All demand for CPU, averaged over each of HORIZONS: shape (horizons, nodes, times)."""
    steal: Floats
    """Share of CPU time that the hypervisor gives to others."""
    memory: Floats
    """Share of memory that programs hold."""
    read: Floats
    """Bytes per second read from disks."""
    write: Floats
    """Bytes per second written to disks."""
    root_write: Floats
    """Bytes per second written to the root disk alone, besides."""
    stall: Floats
    """How far disks do not answer, 0 to 1."""
    waiting: Floats
    """The same averaged over each of HORIZONS, for tasks that wait for disks count into the load averages."""
    filling: Floats
    """Share of the root filesystem filled by something that is not normally there."""
    images: Floats
    """Share of the root filesystem taken by container images pulled since the start."""
    traffic: Floats
    """Bytes per second received."""
    sent: Floats
    """Bytes per second sent."""
    loss: Floats
    """Share of packets that are lost."""
    forks: Floats
    """Processes created per second beyond what the activity explains."""
    leaked_files: Floats
    """Files that were opened and never closed."""
    kills: Floats
    """Processes per second that the kernel kills because memory ran out."""


def causes_of(group: Group) -> Causes:
    """What goes on on the nodes of a group when nothing is wrong."""
    load, noise, seconds = group.pool.load, group.noise, group.seconds
    octaves = noise.octaves(tuple(_WALKS), seconds)
    walks = dict(zip(_WALKS, np.einsum("ok,oknt->knt", _WEIGHTS, octaves), strict=True))
    season = business_hours(seconds - noise.constant("timezone", -1.0, 1.0) * 3600.0, load.weekend)
    level = noise.constant("level", *load.level) * (load.night + (1.0 - load.night) * season)
    batch = jobs(noise, "jobs", seconds, 2_700.0, load.job_probability, RAMPS)
    swing = np.einsum("ho,ont->hnt", _HORIZON_WEIGHTS, octaves[:, 0])
    jitter = load.jitter * noise.constant("jitter", 0.8, 1.25)
    demand = level * np.exp(jitter * swing) + load.jobs * batch * (1.0 + 0.05 * swing)
    demand[0] += 0.02 * bursts(noise, "requests", seconds, 40.0, 0.08)
    demand[0] *= np.exp(0.06 * noise.gaussian("sample", group.time_ms))
    demand += 0.012
    activity = demand[0].copy()
    return Causes(
        walks=walks,
        activity=activity,
        demand=demand,
        steal=0.0012 * np.exp(walks["modes"]),
        memory=_memory(group, walks, season, batch[1]),
        read=_read(group, walks),
        write=_write(group, walks, activity),
        root_write=np.zeros_like(seconds),
        stall=np.zeros_like(seconds),
        waiting=np.zeros_like(demand),
        filling=np.zeros_like(seconds),
        images=np.zeros_like(seconds),
        **_network(group, walks, activity, season),
        loss=np.zeros_like(seconds),
        forks=np.zeros_like(seconds),
        leaked_files=np.zeros_like(seconds),
        kills=np.zeros_like(seconds),
    )


def _memory(group: Group, walks: Mapping[str, Floats], season: Floats, batch: Floats) -> Floats:
    """Base + season + slow drift + two garbage-collection saw-teeth + jobs."""
    noise, load = group.noise, group.pool.load
    heap = noise.constant("heap", 0.015, 0.06)
    young = saw_tooth(noise, "young-collection", group.seconds, 90.0, 400.0)
    old = saw_tooth(noise, "full-collection", group.seconds, 1_500.0, 9_000.0)
    return (
        noise.constant("memory", *load.memory)
        + 0.045 * season
        + 0.016 * walks["memory"]
        + heap * (old + 0.16 * young)
        + load.job_memory * batch
    )


def _read(group: Group, walks: Mapping[str, Floats]) -> Floats:
    """Few reads, for the page cache serves most; cold data and scans come in heavy-tailed bursts."""
    noise = group.noise
    steady = noise.constant("read", 0.01, 0.12) * MB * np.exp(0.8 * walks["read"])
    return steady + 2.2 * MB * bursts(noise, "scan", group.seconds, 180.0, 0.10)


def _write(group: Group, walks: Mapping[str, Floats], activity: Floats) -> Floats:
    """Logs in step with the activity, write-back that jumps from sample to sample, compactions."""
    noise = group.noise
    rate = group.pool.load.write_rate * noise.constant("write", 0.6, 1.5)
    write_back = np.exp(0.30 * walks["write"] + 0.25 * noise.gaussian("write-back", group.time_ms))
    return rate * ((0.25 + 1.3 * activity) * write_back + 1.6 * bursts(noise, "compaction", group.seconds, 240.0, 0.14))


def _network(group: Group, walks: Mapping[str, Floats], activity: Floats, season: Floats) -> dict[str, Floats]:
    """Traffic in step with the activity; more of it is answered outwards in busy hours."""
    noise, pool = group.noise, group.pool
    rate = pool.load.traffic * pool.cpus * noise.constant("traffic", 0.6, 1.6)
    received = rate * (0.03 + activity) ** 1.15 * np.exp(0.28 * walks["traffic"])
    received *= np.exp(0.10 * noise.gaussian("receive", group.time_ms))
    ratio = noise.constant("ratio", 0.7, 1.5) * (0.9 + 0.2 * season)
    sent = received * ratio * np.exp(0.16 * walks["direction"] + 0.08 * noise.gaussian("send", group.time_ms))
    received = received + 6.0 * MB * bursts(noise, "pull", group.seconds, 600.0, 0.05)
    return {"traffic": received, "sent": sent}
