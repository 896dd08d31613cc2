"""Request bodies of the Logs Ingestion API: rows packed into gzip'd JSON arrays below the service's limit.

Pure; used by the Log Analytics adapter and by benchmarks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isal import igzip

MAX_BODY_BYTES = 900_000
"""The service takes 1 MB per call, uncompressed; this leaves room."""


def request_bodies(rows: Sequence[bytes]) -> Iterator[bytes]:
    """Packs rows into as few gzip'd JSON arrays as the limit allows."""
    chunk: list[bytes] = []
    size = 0
    for row in rows:
        if chunk and size + len(row) + 1 > MAX_BODY_BYTES:
            yield _pack(chunk)
            chunk, size = [], 0
        chunk.append(row)
        size += len(row) + 1
    if chunk:
        yield _pack(chunk)


def _pack(chunk: Sequence[bytes]) -> bytes:
    return igzip.compress(b"[" + b",".join(chunk) + b"]", 1)
