"""One JSON line per log record on standard error. For the host's command line only."""

import json
import logging
import sys
from datetime import UTC, datetime

# host.json names .NET's levels; Python's worker maps them like this.
LOG_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 10,
}

HOST_LOGGER = "local.functions_host"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object; keys given by `extra=` become fields of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON, exceptions included as a string field."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure_logging(level: int) -> None:
    """Send every logger's records to standard error as JSON lines, from `level` up.

    The Azure SDKs and the worker library narrate every request at INFO, and the SDK's AMQP layer shouts at
    each broken connection; the host reports those itself, once per change of state.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("azure").setLevel(max(level, logging.WARNING))
    logging.getLogger("azure.eventhub").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
