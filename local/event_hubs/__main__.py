"""Run the broker: `python -m local.event_hubs --data DIR --hub telemetry:4`."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from local.event_hubs.broker import Broker, BrokerSettings
from local.event_hubs.control import serve_control
from local.event_hubs.hub import SettingsError

_log = logging.getLogger("local.event_hubs")
_MIN_RETENTION_BYTES = 8 * 1024 * 1024
_STANDARD_LOG_FIELDS = set(logging.makeLogRecord({}).__dict__) | {"message"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    options = _parser().parse_args(arguments)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    try:
        asyncio.run(_serve(_settings(options), options.faults_port, options.ready_file))
    except SettingsError as error:
        _log.error("broker cannot start", extra={"reason": str(error)})
        return 2
    return 0


async def _serve(settings: BrokerSettings, faults_port: int | None, ready_file: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Broker(settings) as broker:
        ready = {"port": broker.port, "pid": os.getpid()}
        control = None
        if faults_port is not None:
            control = await serve_control(broker, "127.0.0.1", faults_port)
            ready["faults_port"] = control.sockets[0].getsockname()[1]
        if ready_file is not None:
            _write_atomically(ready_file, json.dumps(ready) + "\n")
        _log.info("broker ready", extra={**ready, "hubs": dict(settings.hubs), "data": str(settings.data)})
        await stop.wait()
        if control is not None:
            control.close()
    _log.info("broker stopped")


def _settings(options: argparse.Namespace) -> BrokerSettings:
    if options.retention_bytes < _MIN_RETENTION_BYTES:
        raise SettingsError(
            f"--retention-bytes must be at least {_MIN_RETENTION_BYTES} (eight messages of the largest size), "
            f"got {options.retention_bytes}"
        )
    if not options.retention_hours > 0:
        raise SettingsError(f"--retention-hours must be above 0, got {options.retention_hours}")
    return BrokerSettings(
        data=options.data,
        hubs=dict(_hub(text) for text in options.hub),
        host=options.host,
        port=options.port,
        consumer_groups=tuple(options.consumer_group),
        key=options.key,
        retention_hours=options.retention_hours,
        retention_bytes=options.retention_bytes,
        fsync=options.fsync,
    )


def _hub(text: str) -> tuple[str, int]:
    name, _, count = text.partition(":")
    if not count.isascii() or not count.isdigit() or len(count) > 4:
        raise SettingsError(f"--hub must be NAME:PARTITIONS, such as telemetry:4, got {text!r}")
    return name, int(count)


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.replace(path)


class _JsonFormatter(logging.Formatter):
    """One JSON object per record: time, level, message, and the fields of `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = {key: value for key, value in record.__dict__.items() if key not in _STANDARD_LOG_FIELDS}
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **fields,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.event_hubs",
        description="Event Hubs broker for one machine: AMQP 1.0, for the unmodified azure-eventhub SDK.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=5672, help="port to listen on, 0 for a free one")
    parser.add_argument("--data", type=Path, required=True, help="directory that keeps the events")
    parser.add_argument(
        "--hub", action="append", required=True, metavar="NAME:PARTITIONS", help="event hub to serve; repeatable"
    )
    parser.add_argument(
        "--consumer-group", action="append", default=[], metavar="NAME", help="besides $default; repeatable"
    )
    parser.add_argument("--key", help="SAS key that tokens are checked against; without it any token passes")
    parser.add_argument("--retention-hours", type=float, default=168.0, help="keep events this long (default 168)")
    parser.add_argument(
        "--retention-bytes",
        type=int,
        default=256 * 1024 * 1024,
        help="keep at most so many bytes per partition (default 256 MiB)",
    )
    parser.add_argument("--fsync", action="store_true", help="acknowledge only what is on the disk")
    parser.add_argument("--ready-file", type=Path, help="file to write the port and the pid to, as JSON, once ready")
    parser.add_argument(
        "--faults-port", type=int, help="serve /status and /faults on this loopback port, 0 for a free one"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
