"""What the simulator says while it runs: counts, status file, record of acknowledgements, labels, log lines.

For local.fleet.simulation and local.fleet.__main__.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from local.fleet.faults import Label
from local.fleet.publishers import Outgoing
from local.json_lines import JsonLines

log = logging.getLogger(__name__)

_CLEAR_LINE = "\r\x1b[K"
_LOG_EVERY = 10.0


class Ledger:
    """Counts envelopes, and writes down each one that is acknowledged."""

    def __init__(self, record: Path | None) -> None:
        self._record: TextIO | None = record.open("a", encoding="utf-8") if record else None
        self.published = 0
        self.acknowledged = 0
        self.simulated_ms = 0

    @property
    def pending(self) -> int:
        """Published and not acknowledged."""
        return self.published - self.acknowledged

    def take(self, at_ms: int) -> None:
        """Counts an envelope that is published at a simulated moment."""
        self.published += 1
        self.simulated_ms = at_ms

    def acknowledge(self, batch: Sequence[Outgoing]) -> None:
        """Counts and records envelopes that Event Hubs acknowledged."""
        self.acknowledged += len(batch)
        if self._record is not None:
            ack_ms = time.time_ns() // 1_000_000
            for sent in batch:
                line = {
                    "cluster": sent.cluster,
                    "node": sent.node,
                    "instance": sent.instance,
                    "seq": sent.seq,
                    "ack_ms": ack_ms,
                }
                self._record.write(json.dumps(line) + "\n")
            self._record.flush()

    def close(self) -> None:
        """Closes the record."""
        if self._record is not None:
            self._record.close()


class Report:
    """Tells the state of a ledger once a second: to the status file, and to the terminal or the log."""

    def __init__(
        self, ledger: Ledger, nodes: int, active_faults: Callable[[int], Sequence[str]], status_file: Path | None
    ) -> None:
        self._ledger = ledger
        self._nodes = nodes
        self._active_faults = active_faults
        self._status_file = status_file
        self._acknowledged = 0
        self._told = self._logged = time.monotonic()

    def tell(self, *, final: bool = False) -> None:
        """Replaces the status file atomically, redraws the terminal's line; in a log every 10 s or at the end."""
        ledger, now = self._ledger, time.monotonic()
        status: dict[str, Any] = {
            "published": ledger.published,
            "acknowledged": ledger.acknowledged,
            "pending": ledger.pending,
            "simulated_time": iso(ledger.simulated_ms),
            "active_faults": list(self._active_faults(ledger.simulated_ms)),
        }
        if self._status_file is not None:
            unfinished = self._status_file.with_name(self._status_file.name + ".new")
            unfinished.write_text(json.dumps(status) + "\n")
            unfinished.replace(self._status_file)
        rate = (ledger.acknowledged - self._acknowledged) / max(now - self._told, 0.001)
        self._acknowledged, self._told = ledger.acknowledged, now
        if sys.stderr.isatty() and not final:
            faults = ", ".join(status["active_faults"]) or "none"
            sys.stderr.write(
                f"{_CLEAR_LINE}{self._nodes} nodes  {status['simulated_time']}  {ledger.acknowledged} acknowledged  "
                f"{ledger.pending} pending  {rate:.0f}/s  faults: {faults}"
            )
            sys.stderr.flush()
        elif final or now - self._logged >= _LOG_EVERY:
            self._logged = now
            log.info("fleet stopped" if final else "fleet", extra={"nodes": self._nodes, **status})


def write_labels(path: Path, labels: Iterable[Label]) -> None:
    """Writes the ground truth, a line of JSON each."""
    path.write_text("".join(json.dumps(asdict(label)) + "\n" for label in labels), encoding="utf-8")


def iso(at_ms: int) -> str:
    """A moment as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def configure_logging() -> None:
    """Sends log lines to standard error as JSON, one line each.

    The SDK shouts at every broken connection; senders tell that themselves, once.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ProgressSafeLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


class ProgressSafeLines(JsonLines):
    """The same lines, each wiping the progress line it is printed over where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, after wiping the progress line where there is one."""
        return (_CLEAR_LINE if sys.stderr.isatty() else "") + super().format(record)
