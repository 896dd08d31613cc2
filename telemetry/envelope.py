"""The envelope: the samples of one publish interval of one node, column by column.

Standard library only: the agent imports this on every node. The document, compact JSON, gzip'd when that pays:

    {"version": 1,
     "cluster": "aks-prod", "node": "aks-pool1-123-vmss00000a",
     "instance": "9f86d081884c",            one agent process; a restart is another instance
     "seq": 17,                             1, 2, 3, ... within the instance
     "resource": {"pool": "pool1", "cpus": 8, ...},   the node's constants; in the first and every 20th envelope
     "devices": {"disk": ["sda", ...], "filesystem": ["/", ...], "network": ["eth0", ...],
                 "pod": ["shop/cart-0", ...]},     only the classes that the node has devices of
     "time": [1792000000000, ...],          one epoch millisecond per sample, strictly increasing
     "keys": ["cpu", ..., "disk.read", ...],           which metrics (telemetry.catalogue) ...
     "values": [[0.12, ...], ..., [[1024, ...], ...], ...]}   ... and for each its column, one number or null per
                                            sample; for a device metric one such column per device

All numbers stand together so that a reader can take them, of many envelopes at once, as one array without making an
object of each: that is most of the cost of receiving. The order of the members is part of the format for speed only;
any order is understood. Receivers ignore metrics and device classes they do not know, so that nothing is lost of what
they do know whichever is rolled out first; what is new is stored from the day on that the function app knows it.
Everything else that is unknown is refused.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from telemetry.catalogue import DEVICE_CLASSES
from telemetry.errors import EnvelopeRejected, RejectReason

VERSION = 1
GZIP_MAGIC = b"\x1f\x8b"
MAX_ENVELOPE_BYTES = 1024 * 1024
"""An Event Hubs message cannot be larger."""
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
"""What an envelope may inflate to: 100 times what the largest honest node sends."""
RESOURCE_EVERY = 20
"""Every how many envelopes the node's constants are repeated."""

IDENTITIES = {device_class.key: device_class.identity for device_class in DEVICE_CLASSES}
"""Device class -> key of its list of device names."""

Column = list[float | None]
Resource = Mapping[str, str | int | float]


@dataclass(slots=True)
class Envelope:
    """What one agent process says in one publish interval.

    `metrics` maps a catalogue key to its column; `devices` maps a class ("disk") to its device names (under the
    class's identity key, "device") and its metrics (one column per device).
    """

    cluster: str
    node: str
    instance: str
    seq: int
    time: list[int]
    metrics: dict[str, Column]
    devices: dict[str, dict[str, list[str] | list[Column]]] = field(default_factory=dict)
    resource: Resource | None = None

    def document(self) -> dict[str, object]:
        """The JSON document of this envelope as plain dicts and lists."""
        document: dict[str, object] = {
            "version": VERSION,
            "cluster": self.cluster,
            "node": self.node,
            "instance": self.instance,
            "seq": self.seq,
        }
        if self.resource is not None:
            document["resource"] = dict(self.resource)
        keys, values = list(self.metrics), list[object](self.metrics.values())
        for name, block in self.devices.items():
            for key, column in block.items():
                if key != IDENTITIES[name]:
                    keys.append(f"{name}.{key}")
                    values.append(column)
        document["devices"] = {name: block[IDENTITIES[name]] for name, block in self.devices.items()}
        document["time"] = self.time
        document["keys"] = keys
        document["values"] = values
        return document


def encode(envelope: Envelope) -> bytes:
    """Serialises an envelope to the bytes that go to Event Hubs; gzip'd when that makes them smaller.

    Raises ValueError on NaN or infinity: the agent sends null for what it could not read.
    """
    plain = json.dumps(envelope.document(), separators=(",", ":"), allow_nan=False).encode()
    packed = zlib.compress(plain, 6, 31)
    return packed if len(packed) < len(plain) else plain


def decode(raw: bytes) -> Envelope:
    """Reads the bytes of an envelope back; for tests and tools, which trust them. `telemetry.validation` does not."""
    document = json.loads(inflate(raw))
    metrics: dict[str, Column] = {}
    devices = {name: {IDENTITIES[name]: names} for name, names in document["devices"].items()}
    for key, values in zip(document["keys"], document["values"], strict=True):
        name, _, rest = key.partition(".")
        if name in devices:
            devices[name][rest] = values
        else:
            metrics[key] = values
    return Envelope(
        document["cluster"],
        document["node"],
        document["instance"],
        document["seq"],
        document["time"],
        metrics,
        devices,
        document.get("resource"),
    )


def inflate(raw: bytes, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
    """Gives the JSON bytes of an envelope, never more than `limit` of them.

    Raises EnvelopeRejected: too_large, bad_compression.
    """
    if len(raw) > MAX_ENVELOPE_BYTES:
        raise EnvelopeRejected(
            RejectReason.TOO_LARGE, f"{len(raw)} bytes; an envelope has at most {MAX_ENVELOPE_BYTES}"
        )
    if raw[:2] != GZIP_MAGIC:
        return raw
    stream = zlib.decompressobj(31)
    try:
        plain = stream.decompress(raw, limit + 1)
    except zlib.error as error:
        raise EnvelopeRejected(RejectReason.BAD_COMPRESSION, f"gzip magic, then {error}") from None
    if len(plain) > limit:
        raise EnvelopeRejected(RejectReason.TOO_LARGE, f"inflates to more than {limit} bytes")
    if not stream.eof:
        raise EnvelopeRejected(RejectReason.BAD_COMPRESSION, "the gzip stream ends early: truncated on its way")
    if stream.unused_data:
        raise EnvelopeRejected(
            RejectReason.BAD_COMPRESSION,
            f"{len(stream.unused_data)} bytes follow the gzip stream; there must be none",
        )
    return plain


def columns_of(samples: Sequence[Mapping[str, float | None]]) -> dict[str, Column]:
    """Turns samples (one mapping each) into columns; what a sample lacks is null, what all lack is left out."""
    keys = dict.fromkeys(key for sample in samples for key, value in sample.items() if value is not None)
    return {key: [sample.get(key) for sample in samples] for key in keys}
