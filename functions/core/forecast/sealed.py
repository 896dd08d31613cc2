"""What forecasts remember, as bytes: versioned, compressed, checked, never pickled.

Pure; for `exhaustion_memory.py` and `demand_memory.py`. Four bytes say what it is and in which version, then gzip of:
header length, header (JSON), body. gzip's own CRC tells damage.
"""

from __future__ import annotations

import zlib
from typing import Any, cast

import orjson
from isal import igzip, isal_zlib

_GzipError = cast(type[Exception], isal_zlib.error)


class ForecastStateUnreadable(ValueError):
    """State bytes are truncated, flipped, or of another version: begin anew."""


def seal(magic: bytes, header: Any, body: bytes) -> bytes:
    """Header and body as bytes; the magic is four bytes long."""
    text = orjson.dumps(header)
    return magic + igzip.compress(len(text).to_bytes(4, "little") + text + body, 1, mtime=0)


def unseal(magic: bytes, blob: bytes) -> tuple[Any, bytes]:
    """Header and body back. Raises ForecastStateUnreadable; what the header says is the caller's to check."""
    if blob[: len(magic)] != magic:
        raise ForecastStateUnreadable(f"state begins with {blob[:4]!r}; this build reads {magic!r}")
    try:
        data: bytes = igzip.decompress(blob[len(magic) :])  # type: ignore[no-untyped-call]
        size = 4 + int.from_bytes(data[:4], "little")
        return orjson.loads(data[4:size]), data[size:]
    except (ValueError, EOFError, OSError, _GzipError, zlib.error) as error:
        raise ForecastStateUnreadable(f"{len(blob)} bytes of state cannot be read: {error}") from None
