"""The AMQP 1.0 performatives that clients send (parts 2 and 5 of the standard), read into typed tuples.

Only this package may import it. Every parser raises DecodeError on bytes that are not what they claim to be.
"""

from typing import Any, NamedTuple

from local.event_hubs.amqp_types import NULL, DecodeError, Described, decode, skip

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
SASL_MECHANISMS, SASL_INIT, SASL_OUTCOME = 0x40, 0x41, 0x44


class Open(NamedTuple):
    """A client opens the connection. Times in seconds."""

    container_id: str
    max_frame_size: int
    idle_timeout: float | None


class Begin(NamedTuple):
    """A client begins a session."""

    next_outgoing_id: int
    incoming_window: int


class Attach(NamedTuple):
    """A client attaches a link. `source` and `target` are the raw bytes to echo, addresses are decoded."""

    name: str
    handle: int
    is_receiver: bool
    source: bytes
    target: bytes
    address: str
    selector: str | None
    desired_capabilities: tuple[str, ...]
    epoch: int | None


class Flow(NamedTuple):
    """A client tells its windows, and the credit of one link if `handle` is given."""

    next_incoming_id: int | None
    incoming_window: int
    handle: int | None
    delivery_count: int
    link_credit: int
    drain: bool
    echo: bool


class Transfer(NamedTuple):
    """A client sends one frame of a delivery."""

    handle: int
    delivery_id: int | None
    message_format: int
    settled: bool
    more: bool
    aborted: bool
    payload: bytes


class Detach(NamedTuple):
    """A client detaches a link."""

    handle: int


def descriptor_of(frame: bytes) -> int:
    """Return which performative a frame body holds. Raises DecodeError."""
    if len(frame) < 4 or frame[0] != 0x00:
        raise DecodeError(f"a frame body must start with a described list, got {frame[:4].hex()}")
    descriptor, _ = decode(frame, 1)
    if not isinstance(descriptor, int):
        raise DecodeError(f"a performative's descriptor must be an ulong, got {descriptor!r}")
    return descriptor


def parse_open(frame: bytes) -> Open:
    """Read an open. Raises DecodeError, as all parsers here do."""
    fields = _Fields(frame)
    idle_milliseconds = fields.unsigned(4)
    max_frame_size = fields.unsigned(2)
    return Open(
        fields.text(0) or "",
        0xFFFFFFFF if max_frame_size is None else max_frame_size,
        idle_milliseconds / 1000 if idle_milliseconds else None,
    )


def parse_begin(frame: bytes) -> Begin:
    """Read a begin."""
    fields = _Fields(frame)
    return Begin(fields.required_unsigned(1), fields.required_unsigned(2))


def parse_attach(frame: bytes) -> Attach:
    """Read an attach: the link's name, direction, address, start position and epoch."""
    fields = _Fields(frame)
    is_receiver = fields.boolean(2)
    source, target = fields.composite(5), fields.composite(6)
    terminus = source if is_receiver else target
    address = terminus[0] if terminus else None
    properties = fields.value(13)
    capabilities = fields.value(12)
    return Attach(
        name=fields.text(0) or "",
        handle=fields.required_unsigned(1),
        is_receiver=is_receiver,
        source=fields.raw(5),
        target=fields.raw(6),
        address=address if isinstance(address, str) else "",
        selector=_selector(source) if is_receiver else None,
        desired_capabilities=tuple(
            str(item) for item in (capabilities if isinstance(capabilities, list) else [capabilities]) if item
        ),
        epoch=_epoch(properties) if isinstance(properties, dict) else None,
    )


def parse_flow(frame: bytes) -> Flow:
    """Read a flow."""
    fields = _Fields(frame)
    return Flow(
        fields.unsigned(0),
        fields.required_unsigned(1),
        fields.unsigned(4),
        fields.unsigned(5) or 0,
        fields.unsigned(6) or 0,
        fields.boolean(8),
        fields.boolean(9),
    )


def parse_transfer(frame: bytes) -> Transfer:
    """Read a transfer and its payload."""
    fields = _Fields(frame)
    return Transfer(
        fields.required_unsigned(0),
        fields.unsigned(1),
        fields.unsigned(3) or 0,
        fields.boolean(4),
        fields.boolean(5),
        fields.boolean(9),
        frame[fields.end :],
    )


def parse_detach(frame: bytes) -> Detach:
    """Read a detach."""
    return Detach(_Fields(frame).required_unsigned(0))


def parse_sasl_init(frame: bytes) -> str:
    """Read which SASL mechanism the client chose."""
    return _Fields(frame).text(0) or ""


class _Fields:
    """The fields of one performative, by index; absent ones are null."""

    __slots__ = ("_frame", "_start", "_values", "end")

    def __init__(self, frame: bytes) -> None:
        _, self._start = decode(frame, 1)
        values, self.end = decode(frame, self._start)
        if not isinstance(values, list):
            raise DecodeError(f"a performative must be a list, got {type(values).__name__}")
        self._frame, self._values = frame, values

    def value(self, index: int) -> Any:
        return self._values[index] if index < len(self._values) else None

    def unsigned(self, index: int) -> int | None:
        value = self.value(index)
        if value is None or (type(value) is int and 0 <= value <= 0xFFFFFFFF):
            return value
        raise DecodeError(f"field {index} must be an uint, got {value!r:.100}")

    def required_unsigned(self, index: int) -> int:
        value = self.unsigned(index)
        if value is None:
            raise DecodeError(f"field {index} must be an uint, it is missing")
        return value

    def boolean(self, index: int) -> bool:
        value = self.value(index)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise DecodeError(f"field {index} must be a boolean, got {value!r:.100}")

    def text(self, index: int) -> str | None:
        value = self.value(index)
        if value is None or isinstance(value, str):
            return value
        raise DecodeError(f"field {index} must be a string, got {value!r:.100}")

    def composite(self, index: int) -> list[Any]:
        value = self.value(index)
        if value is None:
            return []
        if isinstance(value, Described) and isinstance(value.value, list):
            return value.value
        raise DecodeError(f"field {index} must be a described list, got {value!r:.100}")

    def raw(self, index: int) -> bytes:
        """Return the encoded bytes of a field, to be echoed."""
        if index >= len(self._values):
            return NULL
        wide = self._frame[self._start] == 0xD0
        position = self._start + (9 if wide else 3)
        for _ in range(index):
            position = skip(self._frame, position)
        return self._frame[position : skip(self._frame, position)]


def _selector(source: list[Any]) -> str | None:
    filters = source[7] if len(source) > 7 else None
    value = filters.get("apache.org:selector-filter:string") if isinstance(filters, dict) else None
    if isinstance(value, Described):
        value = value.value
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if value is None or isinstance(value, str):
        return value
    raise DecodeError(f"a selector filter must be a string, got {value!r:.100}")


def _epoch(properties: dict[Any, Any]) -> int | None:
    epoch = properties.get("com.microsoft:epoch")
    if epoch is None or type(epoch) is int:
        return epoch
    raise DecodeError(f"com.microsoft:epoch must be a long, got {epoch!r:.100}")
