"""Valid envelopes, and ways to break them: bit by bit, token by token, member by member.

For `bench.fuzz` and tests. Everything is drawn from one random generator, so a seed gives the same mutants again.
"""

from __future__ import annotations

import copy
import re
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import orjson

from telemetry.catalogue import DEVICE_CLASSES, NODE_METRICS

START = 29_833_333 * 60_000
"""Epoch ms of the first sample of every valid envelope."""
RECEIVED = START + 120_000

_TOKEN = re.compile(rb'"[^"]*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|[\[\]{}:,]')
_LITERALS = (
    b"0", b"-0", b"1", b"-1", b"1.0", b"0.5", b"1e999", b"-1e999", b"1e-400", b"NaN", b"Infinity", b"nan", b"null",
    b"true", b"false", b'""', b'"0.5"', b"[]", b"{}", b"[[]]", b"[1]", b"[1,2]", b'["a"]', b'{"a":1}', b"01", b"1.",
    b"9007199254740993", b"9223372036854775808", b"18446744073709551616", b"9" * 25, b"9" * 400, b"1" * 30 + b".5",
    b'"\\u0000"', b'"\\ud800"', b'"a\\"b"', b'"\\\\"', b'"\xff"', b'"a,b"', b'"[1]"', b'"devices"', b'"time"', b" ",
    b"",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 1.0, 0.5, 2**53 + 1, 2**63, 1e308, -1e-300, "", "a", "a/b", "../..", "a\nb", "\x00",
    "<b>", "' or 1", "x" * 300, "\u202e", [], {}, [[]], [None], [0.5], [[0.5]], {"a": 1}, ["sda"], START, [START],
)  # fmt: skip
_KEYS = ("version", "cluster", "node", "seq", "time", "keys", "values", "devices", "resource", "disk", "cpu", "a", "")


def corpus() -> list[bytes]:
    """Valid envelopes of many kinds: plain JSON, accepted as they are."""
    found = []
    for samples in (1, 2, 3, 6):
        for disks, filesystems, interfaces in ((None, None, None), (1, 1, 1), (2, 0, 3), (None, 2, None)):
            counts = dict(zip(("disk", "filesystem", "network"), (disks, filesystems, interfaces), strict=True))
            found.append(_document(samples, {name: n for name, n in counts.items() if n is not None}))
    found.append(_document(3, {"disk": 1, "pod": 3, "custom": 2}))
    found.append(_document(3, {"disk": 1, "pod": 2}, nulls=True))
    found.append(_document(1, {}, keys=[]))
    found.append(_document(3, {"gpu": 2}, keys=["cpu", "gpu.busy", "new"]))
    return found


def _document(samples: int, counts: dict[str, int], *, nulls: bool = False, keys: list[str] | None = None) -> bytes:
    if keys is None:
        keys = [metric.key for metric in NODE_METRICS[: 3 + samples]]
        keys += [f"{c.key}.{metric.key}" for c in DEVICE_CLASSES if c.key in counts for metric in c.metrics[:2]]
    document: dict[str, Any] = {
        "version": 1, "cluster": "aks-test", "node": f"node-{samples}", "instance": "0123456789ab", "seq": samples + 16,
    }  # fmt: skip
    if samples % 2:
        document["resource"] = {"pool": "pool1", "cpus": 8}
    document["devices"] = {name: [f"{name}{index}" for index in range(count)] for name, count in counts.items()}
    document["time"] = [START + index * 10_000 for index in range(samples)]
    document["keys"] = keys
    column = [None if nulls and index == 1 else round(0.1 + 0.07 * index, 4) for index in range(samples)]
    document["values"] = [
        [column] * counts[key.partition(".")[0]] if key.partition(".")[0] in counts else column for key in keys
    ]
    return orjson.dumps(document)


class Mutator:
    """Makes broken (and sometimes still valid) envelopes out of valid ones."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._corpus = corpus()
        self._documents = [orjson.loads(plain) for plain in self._corpus]
        self._tokens = [[match.span() for match in _TOKEN.finditer(plain)] for plain in self._corpus]
        self._ways: tuple[Callable[[int], bytes], ...] = (
            self._bytes,
            self._token,
            self._token,
            self._member,
            self._member,
        )

    def mutant(self) -> bytes:
        """One mutated envelope; every fifth compressed, a few of those broken once more."""
        random = self._random
        plain = random.choice(self._ways)(random.randrange(len(self._corpus)))
        if random.random() > 0.2:
            return plain
        raw = zlib.compress(plain, 1, 31)
        return raw if random.random() > 0.3 else self._broken(raw)

    def _bytes(self, index: int) -> bytes:
        return self._broken(self._corpus[index])

    def _broken(self, whole: bytes) -> bytes:
        random = self._random
        raw = bytearray(whole)
        for _ in range(random.choice((1, 1, 1, 2, 5))):
            at = random.randrange(len(raw) + 1)
            upto = min(len(raw), at + random.choice((1, 1, 2, 8, 64)))
            match random.randrange(6):
                case 0:
                    raw[at:upto] = random.randbytes(upto - at)
                case 1:
                    del raw[at:upto]
                case 2:
                    raw[at:at] = raw[at:upto]
                case 3:
                    del raw[at:]
                case 4:
                    raw[at:at] = random.choice(_LITERALS)
                case _ if at < len(raw):
                    raw[at] ^= 1 << random.randrange(8)
        return bytes(raw)

    def _token(self, index: int) -> bytes:
        """Exchanges, removes or doubles tokens; what is left has the structure of JSON more often than not."""
        random, plain, tokens = self._random, self._corpus[index], self._tokens[index]
        pieces = [plain[start:end] for start, end in tokens]
        for _ in range(random.choice((1, 1, 2, 3))):
            at = random.randrange(len(pieces))
            scalars = [i for i, piece in enumerate(pieces) if piece[:1] not in b"[]{}:,"]
            if random.random() < 0.8 and scalars:
                at = random.choice(scalars)
            match random.randrange(4):
                case 0:
                    pieces[at] = random.choice(_LITERALS)
                case 1:
                    other = random.choice(scalars) if scalars else at
                    pieces[at], pieces[other] = pieces[other], pieces[at]
                case 2:
                    pieces[at] = b""
                case 3:
                    pieces[at] = b"%b,%b" % (pieces[at], random.choice(_LITERALS))
        return b"".join(pieces)

    def _member(self, index: int) -> bytes:
        """Changes the parsed document somewhere: what comes out is JSON."""
        document = copy.deepcopy(self._documents[index])
        for _ in range(self._random.choice((1, 1, 2))):
            self._change(document)
        return orjson.dumps(document)

    def _change(self, document: Any) -> None:
        random, place = self._random, document
        while True:
            keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = random.choice(keys)
            if not isinstance(place[key], dict | list) or random.random() < 0.35:
                break
            place = place[key]
        if isinstance(place, dict):
            self._change_object(place, random.choice(keys) if keys else "")
        else:
            self._change_list(place, random.choice(keys) if keys else 0)

    def _change_object(self, place: dict[str, Any], key: str) -> None:
        random = self._random
        match random.randrange(4):
            case 0:
                place.pop(key, None)
            case 1:
                place[key] = copy.deepcopy(random.choice(_VALUES))
            case 2:
                place[random.choice(_KEYS)] = place.pop(key, None)
            case 3:
                members = list(place.items())
                random.shuffle(members)
                place.clear()
                place.update(members)

    def _change_list(self, place: list[Any], at: int) -> None:
        random = self._random
        match random.randrange(5):
            case 0:
                del place[at : at + 1]
            case 1:
                place[at : at + 1] = [copy.deepcopy(random.choice(_VALUES))]
            case 2:
                place[at:at] = copy.deepcopy(place[at : at + 1])
            case 3:
                random.shuffle(place)
            case 4:
                place[at : at + 1] = [random.uniform(-0.2, 1.2)]
