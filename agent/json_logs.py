"""Logs for machines: one JSON line per event on standard error. For the command line.

The rest of the agent logs as `log.warning("spool_drops", extra={"oldest": 3})`: a snake_case event, fields in
`extra`. What libraries log keeps its text and gets the event `library_message`.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object: ts, level, event, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Gives the line, without its newline."""
        line: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        if record.name.partition(".")[0] == "agent":
            line["event"] = record.getMessage()
        else:
            line |= {"event": "library_message", "logger": record.name, "text": record.getMessage()}
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure_logging(level: str, stream: TextIO | None = None) -> None:
    """Sends every record from `level` up to standard error (or `stream`) as JSON lines, warnings included.

    The Azure SDK shouts at each broken connection and retries by itself; the agent tells of outages once, so the
    SDK is heard at debug level only, and never with its frames, which contain tokens.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    logging.getLogger("azure").setLevel(logging.INFO if level == "debug" else logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
