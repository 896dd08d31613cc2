"""`python -m local.log_analytics`: serves until SIGTERM or SIGINT, then applies what waits and stops."""

import argparse
import asyncio
import json
import os
import signal
import ssl
import sys
from pathlib import Path

import duckdb
from aiohttp import web

from local.log_analytics.logs import log
from local.log_analytics.schema import SchemaError
from local.log_analytics.service import DEFAULT_WORKSPACE_ID, Service, Settings


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Return the command line's values; leaves with status 2 and a usage line when they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m local.log_analytics", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one; see --ready-file")
    parser.add_argument("--data", type=Path, required=True, help="folder of the workspace's rows")
    parser.add_argument("--tables", type=Path, required=True, help="table schemas (tables.json)")
    parser.add_argument("--dcr", type=Path, required=True, help="data collection rule (dcr.json)")
    parser.add_argument("--functions", type=Path, required=True, help="folder of saved functions (NAME.kql)")
    parser.add_argument("--certificate", type=Path, required=True, help="server certificate chain, PEM")
    parser.add_argument("--private-key", type=Path, required=True, help="its private key, PEM")
    parser.add_argument("--token", help="the bearer token to ask for; without it any token will do")
    parser.add_argument("--workspace-id", default=DEFAULT_WORKSPACE_ID)
    parser.add_argument("--ready-file", type=Path, help='gets {"port", "pid"} when the port is open')
    parser.add_argument("--faults", action="store_true", help="allow POST /faults")
    parser.add_argument("--memory-limit", default="512MB", help="of DuckDB")
    parser.add_argument("--threads", type=int, default=2, help="of DuckDB")
    parser.add_argument("--requests-per-minute", type=int, default=12_000, help="limit of the rule")
    parser.add_argument("--query-seconds", type=float, default=180.0, help="time limit of a query")
    return parser.parse_args(arguments)


async def serve(options: argparse.Namespace) -> None:
    """Serve until a signal; SchemaError or OSError when it cannot start."""
    service = Service(
        Settings(
            data=options.data.resolve(),
            tables=options.tables,
            dcr=options.dcr,
            functions=options.functions,
            token=options.token,
            workspace_id=options.workspace_id,
            faults=options.faults,
            memory_limit=options.memory_limit,
            threads=options.threads,
            requests_per_minute=options.requests_per_minute,
            query_limit_seconds=options.query_seconds,
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.certificate, options.private_key)
    # Inflating is ours: the limits of the ingestion API apply before and after it.
    runner = web.AppRunner(service.application(), access_log=None, auto_decompress=False, shutdown_timeout=5.0)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.port, ssl_context=context).start()
        port = runner.addresses[0][1]
        if options.ready_file:
            _write_atomically(options.ready_file, {"port": port, "pid": os.getpid()})
        log("started", host=options.host, port=port, tables=service.store.row_counts())
        await stop.wait()
    finally:
        await runner.cleanup()
    log("stopped")


def main() -> int:
    """Run the service; 0 after a clean stop, 1 when it could not start."""
    options = parse_arguments(sys.argv[1:])
    try:
        asyncio.run(serve(options))
    except (SchemaError, OSError, ValueError, duckdb.Error) as error:
        log("cannot_start", error=str(error))
        return 1
    return 0


def _write_atomically(path: Path, document: object) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(document))
    unfinished.replace(path)


if __name__ == "__main__":
    raise SystemExit(main())
