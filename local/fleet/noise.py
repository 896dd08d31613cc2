"""Counter-based random numbers: every one is a pure function of (seed, stream, node, moment).

Nothing evolves and nothing is stored, so the same seed gives the same sample whatever the interval of asking, the
number of nodes simulated beside it, or the moment the simulation began. A number is a hash (the finaliser of
splitmix64) of its address. Autocorrelated noise comes from hashed Gaussians on lattices of several periods,
interpolated between lattice points: slow octaves make drift, fast ones jitter, together close to the 1/f noise of
real node metrics.

For the modules of local.fleet only.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_Words = NDArray[np.uint64]

PERIODS = (15.0, 60.0, 300.0, 1200.0, 5400.0, 21_600.0, 129_600.0)
"""Lattice periods of the octaves, seconds."""

_GOLDEN = 0x9E3779B97F4A7C15
_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)
_INDEX_STEP = np.uint64(0xD1B54A32D192ED03)
_LOW_16 = np.uint64(0xFFFF)
_64_BITS = (1 << 64) - 1


class Noise:
    """The random numbers of some nodes under one seed; arrays are (nodes, times) unless said otherwise."""

    def __init__(self, seed: int, nodes: Sequence[int]) -> None:
        self._seed = seed
        self._nodes = np.asarray(nodes, dtype=np.uint64) * np.uint64(_GOLDEN)
        self._keys_of: dict[str, _Words] = {}
        self._constants: dict[str, Floats] = {}
        self._octave_keys: dict[tuple[str, ...], _Words] = {}

    def constant(self, stream: str, low: float = 0.0, high: float = 1.0) -> Floats:
        """One uniform number of [low, high) per node, shape (nodes, 1): a trait that never changes."""
        share = self._constants.get(stream)
        if share is None:
            share = self._constants[stream] = _uniform(self._keys(stream))[:, None]
        return low + (high - low) * share

    def uniform(self, stream: str, index: Integers) -> Floats:
        """A uniform number of [0, 1) for each index (a slot, a cycle, a millisecond) of each node."""
        return _uniform(_mix(self._keys(stream)[:, None] + index.astype(np.uint64) * _INDEX_STEP))

    def gaussian(self, stream: str, index: Integers) -> Floats:
        """A standard Gaussian, never beyond 3.5, for each index of each node; independent of its neighbours."""
        return _gaussian(_mix(self._keys(stream)[:, None] + index.astype(np.uint64) * _INDEX_STEP))

    def octaves(self, streams: Sequence[str], seconds: Floats) -> Floats:
        """Standard Gaussian noise per period and stream, shape (len(PERIODS), streams, nodes, times).

        Each is continuous in time, has variance 1 everywhere and forgets within about one period.
        """
        keys = self._keys_of_octaves(tuple(streams))
        position = seconds / np.array(PERIODS)[:, None, None, None]
        left = np.floor(position)
        part = position - left
        ramp = part * part * (3.0 - 2.0 * part)
        gaussians = _at_lattice_points if _is_dense(seconds) else _at_each_moment
        before, after = gaussians(keys, left.astype(np.int64))
        mixed: Floats = (before * (1.0 - ramp) + after * ramp) / np.sqrt(ramp * ramp + (1.0 - ramp) ** 2)
        return mixed

    def _keys(self, stream: str) -> _Words:
        keys = self._keys_of.get(stream)
        if keys is None:
            keys = self._keys_of[stream] = _mix(self._nodes + np.uint64(_stream_key(self._seed, stream)))
        return keys

    def _keys_of_octaves(self, streams: tuple[str, ...]) -> _Words:
        """(len(PERIODS), streams, nodes)."""
        keys = self._octave_keys.get(streams)
        if keys is None:
            found = [[self._keys(f"{stream}/{period:g}") for stream in streams] for period in PERIODS]
            keys = self._octave_keys[streams] = np.array(found)
        return keys


def _is_dense(seconds: Floats) -> bool:
    """Whether there are many moments, and the finest lattice has at most a few points for each."""
    times = seconds.shape[1]
    return times >= 60 and bool(np.ptp(seconds) <= 4.0 * PERIODS[0] * times)


def _at_each_moment(keys: _Words, left: Integers) -> tuple[Floats, Floats]:
    """The Gaussians of the lattice points left and right of each moment: (periods, streams, nodes, times) each."""
    first = keys[..., None] + left.astype(np.uint64) * _INDEX_STEP
    return _gaussian(_mix(first)), _gaussian(_mix(first + _INDEX_STEP))


def _at_lattice_points(keys: _Words, left: Integers) -> tuple[Floats, Floats]:
    """The same, computed once per lattice point, of which there are far fewer than moments."""
    before = np.empty((*keys.shape, left.shape[-1]))
    after = np.empty_like(before)
    rows = np.arange(left.shape[2])[:, None]
    for octave, (own, place) in enumerate(zip(keys, left[:, 0], strict=True)):
        first = int(place.min())
        lattice = np.arange(first, int(place.max()) + 2).astype(np.uint64) * _INDEX_STEP
        values = _gaussian(_mix(own[..., None] + lattice))
        before[octave], after[octave] = values[:, rows, place - first], values[:, rows, place - first + 1]
    return before, after


def _stream_key(seed: int, stream: str) -> int:
    return ((seed + 1) * _GOLDEN ^ zlib.crc32(stream.encode()) * 0xFF51AFD7ED558CCD) & _64_BITS


def _mix(words: _Words) -> _Words:
    """The finaliser of splitmix64: every bit of the input changes about half of the bits of the output."""
    words = words ^ (words >> np.uint64(30))
    words *= _MULTIPLIER_1
    words ^= words >> np.uint64(27)
    words *= _MULTIPLIER_2
    words ^= words >> np.uint64(31)
    return words


def _uniform(words: _Words) -> Floats:
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _gaussian(words: _Words) -> Floats:
    """The sum of four uniform numbers, which is as good as a Gaussian here and cannot be far out."""
    total = (words & _LOW_16) + ((words >> np.uint64(16)) & _LOW_16)
    total += ((words >> np.uint64(32)) & _LOW_16) + (words >> np.uint64(48))
    scaled: Floats = (total.astype(np.float64) - 131_070.0) * (3.0**0.5 / 65_536.0)
    return scaled
