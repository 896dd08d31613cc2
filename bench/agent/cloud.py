"""The two things of Azure that the local broker has not: TLS, and Entra, which gives tokens for a workload identity.

`python -m bench.agent.cloud`: passes what comes on HOST:5671 by TLS on to the broker, and answers
POST /TENANT/oauth2/v2.0/token on a free port. A token is given for the federated token in the file only, so the
agent's own credential has to have done its work. For the agent's benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import random
import signal
import ssl
import time
from pathlib import Path

import certifi
import trustme
from aiohttp import web

from local.certificates import Certificates

AMQPS = 5671
SCOPE = "https://eventhubs.azure.net//.default"
TOKEN_SECONDS = 86_399
_CHUNK = 1 << 16


def free_host() -> str:
    """An address of this machine that nobody else uses, as port 5671 cannot be chosen."""
    return ".".join(["127", *(str(random.randint(1, 254)) for _ in range(3))])


def issue_certificates(folder: Path, host: str) -> Certificates:
    """Issues a certificate for `host` by an authority of its own, trusted by nothing but the bundle."""
    authority = trustme.CA(organization_name="DevOps Monitor benchmark")
    issued = authority.issue_cert(host)
    files = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server-key.pem", folder / "bundle.pem")
    files.ca.write_bytes(authority.cert_pem.bytes())
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    files.private_key.write_bytes(issued.private_key_pem.bytes())
    files.bundle.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + authority.cert_pem.bytes())
    return files


def main() -> None:
    """Serves until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m bench.agent.cloud", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--broker-port", type=int, required=True)
    for file in ("certificate", "private-key", "federated-token-file", "ready-file"):
        parser.add_argument(f"--{file}", type=Path, required=True)
    asyncio.run(_serve(parser.parse_args()))


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.private_key)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", options.broker_port)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await asyncio.gather(_pass_on(reader, there[1]), _pass_on(there[0], writer))

    front = await asyncio.start_server(connect, options.host, AMQPS, ssl=context)
    entra = web.AppRunner(_entra(options.federated_token_file), access_log=None)
    await entra.setup()
    site = web.TCPSite(entra, options.host, 0, ssl_context=context)
    await site.start()
    port = entra.addresses[0][1]
    unfinished = options.ready_file.with_suffix(".new")
    unfinished.write_text(json.dumps({"entra_port": port}))
    unfinished.replace(options.ready_file)
    await stop.wait()
    front.close()
    await entra.cleanup()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while part := await reader.read(_CHUNK):
            writer.write(part)
            await writer.drain()
    finally:
        writer.close()


def _entra(federated_token_file: Path) -> web.Application:
    async def issue_token(request: web.Request) -> web.Response:
        form = await request.post()
        wanted = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": federated_token_file.read_text(),
            "scope": SCOPE,
        }
        wrong = {name: form.get(name) for name, value in wanted.items() if form.get(name) != value}
        if wrong:
            print(f"refused: {wrong!r}", flush=True)
            return web.json_response({"error": "invalid_request", "error_description": repr(wrong)}, status=400)
        print(f"token issued to {form.get('client_id')!r}", flush=True)
        return web.json_response({"token_type": "Bearer", "expires_in": TOKEN_SECONDS, "access_token": _jwt()})

    application = web.Application()
    application.add_routes([web.post("/{tenant}/oauth2/v2.0/token", issue_token)])
    return application


def _jwt() -> str:
    """A token of the size of Entra's; nobody here checks its signature."""
    claims = {"aud": "https://eventhubs.azure.net", "exp": int(time.time()) + TOKEN_SECONDS, "padding": "x" * 900}
    parts = (json.dumps({"typ": "JWT", "alg": "RS256"}).encode(), json.dumps(claims).encode(), b"s" * 256)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


if __name__ == "__main__":
    main()
