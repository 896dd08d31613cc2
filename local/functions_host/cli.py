"""`python -m local.functions_host`: starts a host, says when it is ready, stops it in order."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Never

from local.functions_host.app_settings import AppSettings
from local.functions_host.errors import HostError
from local.functions_host.host import Host
from local.functions_host.host_json import OVERRIDE_PREFIX, read_host_json
from local.functions_host.json_logs import configure_logging

_GRACE_SECONDS = 5.0
_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the host until SIGTERM or SIGINT; 0 after an orderly stop, 1 where it could not start or must end."""
    options = _parser().parse_args(arguments)
    configure_logging(logging.INFO)
    settings = AppSettings(os.environ)
    try:
        asyncio.run(_run(options, settings))
    except (HostError, OSError) as error:
        _log.error("the host cannot start", extra={"error": str(error)})
    except Exception:
        _log.exception("the host failed")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.functions_host",
        description="Run an Azure Functions app (Python v2) on this machine.",
    )
    parser.add_argument("--app", type=Path, required=True, help="directory with host.json and function_app.py")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve HTTP on")
    parser.add_argument("--port", type=int, default=0, help="port to serve HTTP on; 0 takes a free one")
    parser.add_argument("--ready-file", type=Path, help='written once HTTP serves: {"port": N, "pid": N}')
    return parser


async def _run(options: argparse.Namespace, settings: AppSettings) -> Never:
    app_directory = options.app.resolve()
    ready_file = options.ready_file.resolve() if options.ready_file else None
    configuration = read_host_json(app_directory / "host.json", settings.under(OVERRIDE_PREFIX))
    configure_logging(configuration.log_level)
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end, 0)
    host = Host(app_directory, configuration, settings, broken=lambda: end(1))
    starting = asyncio.create_task(host.start(options.host, options.port))
    await asyncio.wait({starting, ended}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        _log.info("stopped before it was ready")
        _exit(ended.result())
    port = starting.result()
    _log.info("ready", extra={"port": port, "app": str(app_directory)})
    if ready_file is not None:
        _write_ready_file(ready_file, port)
    code = await ended
    if code == 0:
        await host.stop(_GRACE_SECONDS)
        _log.info("stopped")
    _exit(code)


def _write_ready_file(path: Path, port: int) -> None:
    """Appear whole or not at all."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps({"port": port, "pid": os.getpid()}))
    draft.replace(path)


def _exit(code: int) -> Never:
    """End now: a function stuck in a thread would keep the interpreter from ending."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
