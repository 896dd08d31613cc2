"""How the kubelet can misbehave, as ordered by POST /faults. For the service."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """What becomes of an answer."""

    NONE = "none"
    SLOW = "slow"
    """It begins `seconds` later."""
    TRICKLE = "trickle"
    """It comes in fifty parts, one every `seconds` / 50."""
    TRUNCATED = "truncated"
    """Its length is announced; the connection breaks half way."""
    CUT = "cut"
    """It comes in chunks; the connection breaks within one."""
    HUGE = "huge"
    """`mebibytes` of blanks come before it."""
    STATUS = "status"
    """It is an error with `status`."""


@dataclass(frozen=True)
class FaultOrder:
    """What POST /faults takes; the default is none."""

    fault: Fault = Fault.NONE
    seconds: float = 1.0
    mebibytes: int = 20
    status: int = 500

    @classmethod
    def parse(cls, document: Any) -> FaultOrder:
        """Gives the order of a JSON object; ValueError says what is wrong with it."""
        if not isinstance(document, dict):
            raise ValueError("the order must be a JSON object")
        unknown = set(document) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(asdict(cls()))}")
        if document.get("fault", "none") not in list(Fault):
            raise ValueError(f"fault must be one of {', '.join(Fault)}, got {document['fault']!r}")
        for name, kinds, low, high in (
            ("seconds", (int, float), 0, 600),
            ("mebibytes", (int,), 1, 256),
            ("status", (int,), 400, 599),
        ):
            value = document.get(name, low)
            if type(value) not in kinds or not low <= value <= high:
                raise ValueError(f"{name} must be a number from {low} to {high}, got {value!r}")
        return cls(**{**document, "fault": Fault(document.get("fault", "none"))})
