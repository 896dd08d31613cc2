"""Every error that crosses a room's border, in one tree.

TelemetryError
+-- PermanentError          the same input would fail again: dead-letter it, never retry
|   +-- EnvelopeRejected    an envelope that cannot be understood, with its machine-readable reason
+-- TransientError          the same input may succeed later: raise, so that the trigger retries the batch
|   +-- StateConflict       somebody else committed a node's state first: reload and fold again
|   +-- SinkUnavailable     Log Analytics or Blob Storage did not accept the rows
|   +-- StoreUnavailable    Table Storage did not answer
+-- SettingsError           the process cannot start as configured: all problems at once
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class RejectReason(StrEnum):
    """Why an envelope can never be stored. The values are part of the contract: KQL and HTTP clients filter by them."""

    TOO_LARGE = "too_large"
    BAD_COMPRESSION = "bad_compression"
    NOT_JSON = "not_json"
    DUPLICATE_KEY = "duplicate_key"
    UNSUPPORTED_VERSION = "unsupported_version"
    INVALID_FIELD = "invalid_field"
    EMPTY = "empty"
    TOO_MANY_SAMPLES = "too_many_samples"
    RAGGED = "ragged"
    NOT_A_NUMBER = "not_a_number"
    OUT_OF_RANGE = "out_of_range"
    TIME_NOT_INCREASING = "time_not_increasing"
    TIME_TOO_OLD = "time_too_old"
    TIME_IN_FUTURE = "time_in_future"
    TIME_SPAN_TOO_LONG = "time_span_too_long"
    LATE = "late"


class TelemetryError(Exception):
    """Base of every error this product raises on purpose."""


class PermanentError(TelemetryError):
    """Returned for the same input every time: retrying is useless."""


class TransientError(TelemetryError):
    """May go away by itself: the batch is raised and the trigger retries it."""


class EnvelopeRejected(PermanentError):
    """An envelope cannot be stored: `reason` is the rule it broke, `detail` what was found and what would be right."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail[:512]
        super().__init__(f"{reason.value}: {self.detail}")


class StateConflict(TransientError):
    """The state of `keys` (cluster, node) was changed by somebody else since it was loaded."""

    def __init__(self, keys: Sequence[tuple[str, str]]) -> None:
        self.keys = list(keys)
        shown = ", ".join("/".join(key) for key in self.keys[:3])
        super().__init__(f"state of {len(self.keys)} node(s) changed elsewhere ({shown}); reload and fold again")


class SinkUnavailable(TransientError):
    """Rows or dead letters were not accepted; none of the batch may be committed."""


class StoreUnavailable(TransientError):
    """Node states could not be read or written for a reason other than a conflict."""


class HistoryUnavailable(TransientError):
    """What was stored could not be read back from Log Analytics, or not whole."""


class SettingsError(TelemetryError):
    """The settings are unusable; `problems` lists every one of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(["unusable settings:", *(f"  - {problem}" for problem in self.problems)]))
