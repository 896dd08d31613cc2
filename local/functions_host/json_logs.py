"""One JSON line per log record on standard error. For the host's command line only."""

import logging
import sys

from local.json_lines import JsonLines

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
