"""`python -m local.kubelet`: serves one node's Summary over https until SIGTERM or SIGINT.

The folder --data gets what a pod finds in its service account's folder: `token`, and `ca.crt`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shutil
import signal
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import web

from local.certificates import ensure_certificates
from local.json_lines import JsonLines
from local.kubelet.access import Access
from local.kubelet.node import SimulatedNode
from local.kubelet.service import Service

log = logging.getLogger("local.kubelet")


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Gives the command line's values; leaves with status 2 and a usage line when they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m local.kubelet", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=10250, help="0 takes a free one (default %(default)s)")
    parser.add_argument("--data", type=Path, required=True, help="folder for token, ca.crt, tokens.json, certificates")
    parser.add_argument("--certificate", type=Path, help="PEM chain to show instead of one by an authority of our own")
    parser.add_argument("--private-key", type=Path, help="its key, PEM")
    parser.add_argument("--document", type=Path, help="answer this file, read at every request, instead of a made node")
    parser.add_argument("--pods", type=int, default=30, help="of the made node (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the made node")
    parser.add_argument("--churn", type=float, help="seconds until a StatefulSet's pod is replaced")
    parser.add_argument("--crash-every", type=float, help="seconds until one container in ten restarts")
    parser.add_argument("--faults", action="store_true", help="allow GET and POST /faults")
    parser.add_argument("--ready-file", type=Path, help='gets {"port", "pid"} when the port is open')
    options = parser.parse_args(arguments)
    if (options.certificate is None) != (options.private_key is None):
        parser.error("--certificate and --private-key go together")
    if not 0 <= options.pods <= 10_000:
        parser.error(f"--pods must be 0-10000, got {options.pods}")
    for name in ("churn", "crash_every"):
        if (value := getattr(options, name)) is not None and not 1 <= value <= 1e6:
            parser.error(f"--{name.replace('_', '-')} must be 1-1000000 s, got {value}")
    return options


async def serve(options: argparse.Namespace) -> None:
    """Serves until a signal; OSError when it cannot start."""
    options.data.mkdir(parents=True, exist_ok=True)
    token_file, ca_file = options.data / "token", options.data / "ca.crt"
    access = Access.make(options.data / "tokens.json", token_file)
    service = Service(_document(options), access, faults=options.faults)
    runner = web.AppRunner(service.application(), access_log=None, shutdown_timeout=1.0)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.port, ssl_context=_context(options, ca_file)).start()
        port = runner.addresses[0][1]
        if options.ready_file:
            _write_atomically(options.ready_file, json.dumps({"port": port, "pid": os.getpid()}))
        environment = {
            "AGENT_KUBELET_URL": f"https://{options.host}:{port}",
            "AGENT_KUBELET_TOKEN_FILE": str(token_file.resolve()),
            "AGENT_KUBELET_CA_FILE": str(ca_file.resolve()),
        }
        log.info("kubelet ready", extra={"environment": environment})
        await stop.wait()
    finally:
        await runner.cleanup()
    log.info("kubelet stopped", extra={"requests": service.requests})


def _document(options: argparse.Namespace) -> Callable[[float], bytes]:
    if options.document is not None:
        path: Path = options.document
        return lambda now: path.read_bytes()
    node = SimulatedNode(
        options.pods, seed=options.seed, started=time.time(), churn=options.churn, crash_every=options.crash_every
    )
    return lambda now: json.dumps(node.summary(now), separators=(",", ":")).encode()


def _context(options: argparse.Namespace, ca_file: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if options.certificate is not None:
        context.load_cert_chain(options.certificate, options.private_key)
        return context
    made = ensure_certificates(options.data / "certificates")
    shutil.copyfile(made.ca, ca_file)
    context.load_cert_chain(made.certificate, made.private_key)
    return context


def _write_atomically(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(text)
    unfinished.replace(path)


def main() -> int:
    """Runs the stand-in; 0 after a clean stop, 1 when it could not start."""
    options = parse_arguments(sys.argv[1:])
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        asyncio.run(serve(options))
    except OSError as error:
        log.error("kubelet cannot start", extra={"reason": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
