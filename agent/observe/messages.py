"""Requests and responses of HTTP/1.1, as much of it as scrapes and probes need. For `server` and `endpoint`."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

MAX_HEAD = 8192
"""Bytes of request line and header fields; Prometheus and the kubelet send some hundred."""

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE = re.compile(r"([A-Z]{1,20}) (\S+) HTTP/1\.([01])")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Request(NamedTuple):
    """What was asked for."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By their names in lower case."""

    @property
    def has_no_body(self) -> bool:
        """Whether all of it has been read with its head."""
        return self.headers.keys().isdisjoint(("content-length", "transfer-encoding"))


class Response(NamedTuple):
    """What is answered."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: Mapping[str, str] = {}

    @classmethod
    def text(cls, status: HTTPStatus, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
        """Answers with a sentence for a person."""
        return cls(status, "text/plain; charset=utf-8", f"{sentence}\n".encode(), headers or {})

    def head(self) -> bytes:
        """Gives status line and header fields."""
        fields = "".join([f"{name}: {value}\r\n" for name, value in self.headers.items()])
        return (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n"
            f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime())}\r\n"
            f"Content-Type: {self.content_type}\r\n"
            f"Content-Length: {len(self.body)}\r\n"
            "Cache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\n"
            f"Connection: close\r\n{fields}\r\n"
        ).encode("latin-1")


class Refused(Exception):
    """A request that cannot be understood, with the response to it."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        self.response = Response.text(status, sentence)
        super().__init__(sentence)


def end_of_head(received: bytes, searched: int) -> int | None:
    """Gives where the head ends, None while it is not complete; the first `searched` bytes were looked at before.

    Raises Refused for what is too large or no HTTP at all.
    """
    end = _END_OF_HEAD.search(received, max(0, searched - 3))
    if (len(received) if end is None else end.start()) > MAX_HEAD:
        text = f"The request's header fields must not be larger than {MAX_HEAD} bytes."
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text)
    if not received[:1].isalpha():
        raise Refused(HTTPStatus.BAD_REQUEST, "This is not HTTP. Speak HTTP/1.1, without TLS.")
    return end.end() if end else None


def parsed(head: bytes) -> Request:
    """Reads a head. Raises Refused for what is none."""
    first, *lines = head.decode("latin-1").replace("\r\n", "\n").rstrip("\n").split("\n")
    request_line = _REQUEST_LINE.fullmatch(first)
    fields = [line.partition(":") for line in lines]
    if request_line is None or not all(_FIELD_NAME.fullmatch(name) and colon for name, colon, _ in fields):
        raise Refused(HTTPStatus.BAD_REQUEST, "This is not HTTP/1.1: GET /metrics HTTP/1.1 would be.")
    headers = {name.lower(): value.strip(" \t") for name, _, value in fields}
    method, target, minor = request_line.groups()
    if minor == "1" and "host" not in headers:
        raise Refused(HTTPStatus.BAD_REQUEST, "HTTP/1.1 asks for a Host header.")
    try:
        path = urlsplit(target).path
    except ValueError:
        raise Refused(HTTPStatus.BAD_REQUEST, "The request's target is no URL.") from None
    return Request(method, path, headers)
