"""The storm: kills at random moments, connections cut, answers refused. Seeded; everything it does is told.

For the oracle. The order of victims, how long they stay down and how the faults are set are functions of the seed;
at which instruction a kill hits is the machine's.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from local.supervisor import Stack

EVENT_HUBS, LOG_ANALYTICS, FUNCTIONS, AGENT = "event-hubs", "log-analytics", "functions", "agent"
SHARES: Mapping[str, int] = {FUNCTIONS: 12, EVENT_HUBS: 9, AGENT: 5, LOG_ANALYTICS: 4}
"""Of 30 kills. Not Azurite: it acknowledges what it has not written (it loses seconds), which is its own defect."""

FAULTS: Mapping[str, Mapping[str, Any]] = {
    EVENT_HUBS: {
        "duplicate_ratio": 0.02,
        "unacknowledged_ratio": 0.02,
        "server_busy_ratio": 0.02,
        "drop_connection_after_bytes": 150_000,
    },
    LOG_ANALYTICS: {"status_codes": [429, 500, 503], "ratio": 0.2, "timeout_ratio": 0.15, "timeout_seconds": 0.6},
}
_FAULTS_OFF: Mapping[str, Mapping[str, Any]] = {EVENT_HUBS: {}, LOG_ANALYTICS: {}}
_KILLED_WHILE_STARTING = 0.2
"""So many of the restarts are killed again before they are ready."""


class Storm:
    """Kills and faults on a running stack whose programs stay down until they are started."""

    def __init__(self, stack: Stack, seed: int, kills: int, pause: float, tell: Callable[[str], None]) -> None:
        """Between two kills lie `pause` seconds, on average, in which everything runs."""
        self._stack = stack
        self._random = random.Random(f"storm {seed}")
        self._wanted = kills
        self._pause = pause
        self._tell = tell
        self._trust = ssl.create_default_context(cafile=stack.env_for_clients()["SSL_CERT_FILE"])
        self.kills: Counter[str] = Counter()

    async def rage(self) -> None:
        """Everything that is to go wrong; returns with all programs up and the faults still on."""
        for name in FAULTS:
            await self._order(name, FAULTS[name])
        victims = self._victims()
        while victims:
            await asyncio.sleep(self._random.uniform(0.2, 1.8) * self._pause)
            together = [victims.pop()]
            if victims and victims[-1] != together[0] and self._random.random() < 0.25:
                together.append(victims.pop())
            again = self._random.random() < _KILLED_WHILE_STARTING and bool(victims)
            if again and together[0] in victims:
                victims.remove(together[0])
            else:
                again = False
            await asyncio.gather(*(self._fell(name, again and name == together[0]) for name in together))
        await asyncio.sleep(self._pause)

    async def calm(self) -> None:
        """Nothing goes wrong any more."""
        for name in FAULTS:
            await self._order(name, _FAULTS_OFF[name])

    async def injected(self) -> dict[str, Any]:
        """What the broker says it has injected since its last start."""
        found = await asyncio.to_thread(self._call, EVENT_HUBS, None)
        return dict(found["injected"])

    def _victims(self) -> list[str]:
        names = [name for name, share in SHARES.items() for _ in range(max(1, round(share * self._wanted / 30)))]
        while len(names) < self._wanted:
            names.append(FUNCTIONS)
        names = names[: self._wanted]
        self._random.shuffle(names)
        return names

    async def _fell(self, name: str, again: bool) -> None:
        down = self._random.uniform(0.0, 2.5)
        started_for = self._random.uniform(0.2, 1.5)
        await self._kill(name, f"down for {down:.1f} s" + (", then killed while starting" if again else ""))
        await asyncio.sleep(down)
        child = self._stack.process(name)
        if again:
            child.want()
            await asyncio.sleep(started_for)
            await self._kill(name, "while starting")
        await asyncio.to_thread(child.start)
        if name in FAULTS:
            await self._order(name, FAULTS[name])

    async def _kill(self, name: str, why: str) -> None:
        self.kills[name] += 1
        self._tell(f"kill {self.kills.total()}/{self._wanted} {name}, {why}")
        await asyncio.to_thread(self._stack.process(name).kill)

    async def _order(self, name: str, faults: Mapping[str, Any]) -> None:
        seeded = {**faults, "seed": self._random.getrandbits(31)}
        for _ in range(50):  # it may be down at this moment
            try:
                await asyncio.to_thread(self._call, name, seeded)
                return
            except OSError:
                await asyncio.sleep(0.2)
        raise RuntimeError(f"{name} takes no orders for faults at {self._stack.faults_urls[name]}")

    def _call(self, name: str, document: Mapping[str, Any] | None) -> dict[str, Any]:
        url = self._stack.faults_urls[name]
        data = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        context = self._trust if url.startswith("https") else None
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
