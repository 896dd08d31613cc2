"""Faults for chaos experiments: refusals and answers that never come, as ordered by POST /faults.

Decisions come from one seeded generator, so an experiment repeats. Only ingestion suffers; queries are the
experiment's eyes. Used by the ingestion API and its routes only.
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any


class Fault(Enum):
    """What happens to a request besides the status codes."""

    NONE = "none"
    TIMEOUT_BEFORE = "timeout_before"
    TIMEOUT_AFTER = "timeout_after"


@dataclass(frozen=True)
class FaultSettings:
    """What POST /faults takes; the default is no faults."""

    status_codes: tuple[int, ...] = (429, 500, 503)
    ratio: float = 0.0
    timeout_ratio: float = 0.0
    timeout_seconds: float = 3.0
    seed: int = 0

    @classmethod
    def parse(cls, document: Any) -> "FaultSettings":
        """Return the settings of a JSON object; ValueError says what is wrong with it."""
        if not isinstance(document, dict):
            raise ValueError("faults must be a JSON object")
        unknown = set(document) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(asdict(cls()))}")
        codes = document.get("status_codes", list(cls.status_codes))
        if not isinstance(codes, list) or not codes or not all(_is_error_status(code) for code in codes):
            raise ValueError(f"status_codes must be an array of HTTP statuses 400-599, got {codes!r}")
        ratio = _number(document, "ratio", cls.ratio, 1)
        timeout_ratio = _number(document, "timeout_ratio", cls.timeout_ratio, 1)
        if ratio + timeout_ratio > 1:
            raise ValueError(f"ratio {ratio} and timeout_ratio {timeout_ratio} must not add up to more than 1")
        seconds = _number(document, "timeout_seconds", cls.timeout_seconds, 600)
        seed = document.get("seed", 0)
        if not isinstance(seed, int):
            raise ValueError(f"seed must be a whole number, got {seed!r}")
        return cls(tuple(codes), ratio, timeout_ratio, seconds, seed)


class FaultInjector:
    """Decides each request's fate and counts what it decided."""

    def __init__(self) -> None:
        self.order(FaultSettings())

    def order(self, settings: FaultSettings) -> None:
        """Start over with these settings and counters at zero."""
        self.settings = settings
        self._random = random.Random(settings.seed)
        self._counts: Counter[str] = Counter()

    def decide(self) -> int | Fault:
        """Return an HTTP status to refuse with, or how to treat the request."""
        decision = self._draw()
        self._counts[decision.value if isinstance(decision, Fault) else str(decision)] += 1
        return decision

    def report(self) -> dict[str, Any]:
        """Return the settings and how many requests met which fate."""
        return {**asdict(self.settings), "counts": dict(self._counts)}

    def _draw(self) -> int | Fault:
        draw = self._random.random()
        if draw < self.settings.ratio:
            return self._random.choice(self.settings.status_codes)
        if draw < self.settings.ratio + self.settings.timeout_ratio:
            return self._random.choice((Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER))
        return Fault.NONE


def _is_error_status(code: object) -> bool:
    return isinstance(code, int) and 400 <= code <= 599


def _number(document: Mapping[str, Any], key: str, default: float, most: float) -> float:
    value = document.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ValueError(f"{key} must be a number from 0 to {most:g}, got {value!r}")
    return float(value)
