"""Asks this node's kubelet for its Summary: what every pod uses. For the kubernetes collector.

    GET https://NODE:10250/stats/summary        Authorization: Bearer <the pod's service account token>

The standard library's client, because it costs no memory beyond what TLS costs anyway. All errors are one
`KubeletError` whose text says what to do.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from http.client import HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from urllib.parse import urlsplit

from agent import __version__
from agent.collector import Kubelet

PATH = "/stats/summary"
DEFAULT_PORT = 10250
MAX_BYTES = 16 * 1024 * 1024
"""An answer that is longer is refused; 250 pods take about one megabyte."""

_CHUNK = 1 << 16
_TOKEN = re.compile(r"[\x21-\x7e]+")
_CLOSED = (ConnectionError, HTTPException, ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""How it shows that the kubelet has closed a kept connection: it was restarted, or nothing was asked for too long."""
_OTHER_NAME = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_REFUSALS = {
    401: "does not know the token of AGENT_KUBELET_TOKEN_FILE ({token_file}): it must be this pod's service account "
    "token, and the kubelet must run with authentication-token-webhook",
    403: "does not let this service account read it: its ClusterRole needs a rule with apiGroups [''], resources "
    "[nodes/stats], verbs [get] (the chart's value rbac.create)",
    404: "does not have it: AGENT_KUBELET_URL must be a kubelet's address, https://HOST:10250",
}


class KubeletError(Exception):
    """There is no Summary to be had; the text says why and what to do."""


class KubeletClient:
    """Asks one kubelet, over a connection that is kept from one question to the next.

    Token and authority are read when they are used, because Kubernetes renews the files: the token every hour.
    """

    def __init__(self, kubelet: Kubelet, seconds: float) -> None:
        """An answer may take `seconds` altogether, however it trickles in."""
        url = urlsplit(kubelet.url)
        self._kubelet = kubelet
        self._host, self._port = url.hostname or "", url.port or DEFAULT_PORT
        self._seconds = seconds
        self._connection: HTTPSConnection | None = None

    def summary(self) -> object:
        """Gives the Summary as JSON has it. Raises KubeletError."""
        deadline = time.monotonic() + self._seconds
        headers = {
            "Authorization": f"Bearer {self._token()}",
            "Accept": "application/json",
            "User-Agent": f"devops-monitor-agent/{__version__}",
        }
        kept = self._connection is not None
        try:
            try:
                answer = self._exchange(headers, deadline)
            except _CLOSED:
                if not kept:
                    raise
                answer = self._exchange(headers, deadline)
        except (OSError, HTTPException) as error:
            raise self._error(self._reason(error)) from error
        try:
            return json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise self._error(f"answers what is no JSON ({error})") from error

    def close(self) -> None:
        """Closes the connection; the next question opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _token(self) -> str:
        path = self._kubelet.token_file
        try:
            token = path.read_text("ascii").strip()
        except (OSError, ValueError) as error:
            raise KubeletError(f"AGENT_KUBELET_TOKEN_FILE cannot be read: {error}") from error
        if not _TOKEN.fullmatch(token):
            raise KubeletError(
                f"AGENT_KUBELET_TOKEN_FILE must hold one token, got {len(token)} characters with blanks or none: {path}"
            )
        return token

    def _exchange(self, headers: dict[str, str], deadline: float) -> bytearray:
        connection, self._connection = self._connection or self._connect(deadline), None
        try:
            answer = self._ask(connection, headers, deadline)
        except BaseException:
            connection.close()
            raise
        if connection.sock is not None:  # http.client closes it where the kubelet says `Connection: close`
            self._connection = connection
        return answer

    def _connect(self, deadline: float) -> HTTPSConnection:
        connection = HTTPSConnection(self._host, self._port, timeout=_left(deadline), context=self._context())
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        return connection

    def _context(self) -> ssl.SSLContext:
        # Not create_default_context: it insists on key identifiers that many clusters' authorities do not have.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not self._kubelet.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        try:
            context.load_verify_locations(self._kubelet.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise KubeletError(
                f"AGENT_KUBELET_CA_FILE must be a file of PEM certificates ({error}), got {self._kubelet.ca_file}"
            ) from error
        return context

    def _ask(self, connection: HTTPSConnection, headers: dict[str, str], deadline: float) -> bytearray:
        sock = connection.sock
        sock.settimeout(_left(deadline))
        connection.request("GET", PATH, headers=headers)
        with connection.getresponse() as response:
            if response.status != 200:
                fallback = f"answers {PATH} with status {response.status}"
                reason = _REFUSALS.get(response.status, fallback).format(token_file=self._kubelet.token_file)
                raise self._error(reason)
            return self._body(sock, response, deadline)

    def _body(self, sock: socket.socket, response: HTTPResponse, deadline: float) -> bytearray:
        body = bytearray()
        while True:
            sock.settimeout(_left(deadline))
            part = response.read1(_CHUNK)
            if not part:
                break
            body += part
            if len(body) > MAX_BYTES:
                raise self._error(f"answers with more than {MAX_BYTES >> 20} MiB, which is refused")
        if response.length:  # read1 says nothing about an answer that ends early
            raise IncompleteRead(b"", response.length)
        return body

    def _error(self, reason: str) -> KubeletError:
        return KubeletError(f"the kubelet at {self._kubelet.url} {reason}")

    def _reason(self, error: OSError | HTTPException) -> str:
        match error:
            case ssl.SSLCertVerificationError(verify_code=code) if code in _OTHER_NAME:
                return (
                    f"shows a certificate for another name ({error.verify_message}); "
                    "AGENT_KUBELET_URL must have a name or address that is in it"
                )
            case ssl.SSLCertVerificationError():
                return (
                    f"shows a certificate not signed by AGENT_KUBELET_CA_FILE ({error.verify_message}); name its CA, "
                    "on AKS turn on kubelet serving certificate rotation, or trust any with AGENT_KUBELET_VERIFY=false"
                )
            case ssl.SSLError():
                return f"does not speak TLS as it should ({error.reason or error})"
            case TimeoutError():
                return f"has not answered within {self._seconds:g} s"
            case ConnectionRefusedError():
                return "refuses connections; AGENT_KUBELET_URL must be this node's address, https://HOST:10250"
            case IncompleteRead():
                return "broke off in the middle of its answer"
            case HTTPException():
                return f"does not speak HTTP as it should ({type(error).__name__}: {error})"
            case _:
                return f"cannot be reached ({error})"


def _left(deadline: float) -> float:
    """Gives the seconds until then, as sockets want them. Raises TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
