"""The AMQP 1.0 type system (part 1 of the OASIS standard): values to bytes and back.

Only this package may import it. Every encoder names its AMQP type; `decode` accepts every encoding of
every type and raises nothing but `DecodeError`, whatever the bytes are.
"""

import struct
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

MAX_DEPTH = 32
"""Nesting deeper than this is refused: no Event Hubs client nests deeper than six."""

NULL = b"\x40"
_U8, _U16, _U32, _U64 = (struct.Struct(code) for code in (">B", ">H", ">I", ">Q"))
_I8, _I16, _I32, _I64 = (struct.Struct(code) for code in (">b", ">h", ">i", ">q"))
_F32, _F64 = struct.Struct(">f"), struct.Struct(">d")


class DecodeError(ValueError):
    """The bytes are no AMQP value."""


class Symbol(str):
    """An ASCII name from a constrained domain; equal to the same text as a string."""

    __slots__ = ()


class Described(NamedTuple):
    """A value with its descriptor."""

    descriptor: Any
    value: Any


# ---------------------------------------------------------------------------------------------- encoding


def encode_boolean(value: bool) -> bytes:
    """Return `value` as a boolean."""
    return b"\x41" if value else b"\x42"


def encode_ubyte(value: int) -> bytes:
    """Return `value` (0-255) as a ubyte."""
    return b"\x50" + _U8.pack(value)


def encode_ushort(value: int) -> bytes:
    """Return `value` (16 bits) as a ushort."""
    return b"\x60" + _U16.pack(value)


def encode_uint(value: int) -> bytes:
    """Return `value` (32 bits) as a uint."""
    return b"\x70" + _U32.pack(value)


def encode_ulong(value: int) -> bytes:
    """Return `value` (64 bits) as a ulong."""
    return b"\x80" + _U64.pack(value)


def encode_int(value: int) -> bytes:
    """Return `value` (32 bits, signed) as an int."""
    return b"\x71" + _I32.pack(value)


def encode_long(value: int) -> bytes:
    """Return `value` (64 bits, signed) as a long."""
    return b"\x81" + _I64.pack(value)


def encode_timestamp(milliseconds: int) -> bytes:
    """Return Unix time in milliseconds as a timestamp."""
    return b"\x83" + _I64.pack(milliseconds)


def encode_uuid(value: uuid.UUID) -> bytes:
    """Return `value` as a uuid."""
    return b"\x98" + value.bytes


def encode_binary(value: bytes) -> bytes:
    """Return `value` as a binary."""
    return _variable(0xA0, value)


def encode_string(value: str) -> bytes:
    """Return `value` as a string."""
    return _variable(0xA1, value.encode())


def encode_symbol(value: str) -> bytes:
    """Return `value` (ASCII) as a symbol."""
    return _variable(0xA3, value.encode("ascii"))


def encode_list(items: Iterable[bytes]) -> bytes:
    """Return a list of encoded items, always as list32: the SDK cannot read the empty list0."""
    encoded = list(items)
    body = b"".join(encoded)
    return b"\xd0" + _U32.pack(len(body) + 4) + _U32.pack(len(encoded)) + body


def encode_map(entries: Mapping[bytes, bytes]) -> bytes:
    """Return a map of encoded keys to encoded values, as map32."""
    body = b"".join(part for entry in entries.items() for part in entry)
    return map_header(2 * len(entries), len(body)) + body


def map_header(item_count: int, body_size: int) -> bytes:
    """Return what precedes the `item_count` keys and values (`body_size` bytes) of a map32."""
    return b"\xd1" + _U32.pack(body_size + 4) + _U32.pack(item_count)


def encode_string_array(values: Iterable[str]) -> bytes:
    """Return an array of strings."""
    return _text_array(0xB1, values)


def encode_symbol_array(values: Iterable[str]) -> bytes:
    """Return an array of symbols."""
    return _text_array(0xB3, values)


def _variable(code: int, raw: bytes) -> bytes:
    if len(raw) < 256:
        return bytes((code, len(raw))) + raw
    return bytes((code + 0x10,)) + _U32.pack(len(raw)) + raw


def _text_array(code: int, values: Iterable[str]) -> bytes:
    encoded = [value.encode() for value in values]
    body = b"".join(_U32.pack(len(raw)) + raw for raw in encoded)
    return b"\xf0" + _U32.pack(len(body) + 5) + _U32.pack(len(encoded)) + bytes((code,)) + body


# ---------------------------------------------------------------------------------------------- decoding

type _Decoder = Callable[[bytes, int, int], tuple[Any, int]]
"""(buffer, position behind the constructor, depth) -> (value, position behind the value)"""


def decode(buffer: bytes, position: int = 0) -> tuple[Any, int]:
    """Return the value that starts at `position` and the position behind it.

    Integers of every width become int, char becomes str, decimals stay raw bytes, maps become dict (the last
    of two equal keys wins), lists and arrays become list. Raises DecodeError.
    """
    try:
        return _decode(buffer, position, 0)
    except (IndexError, struct.error) as error:
        raise DecodeError(f"AMQP value at byte {position} is cut off after {len(buffer)} bytes") from error
    except UnicodeDecodeError as error:
        raise DecodeError(f"AMQP string at byte {position} is not UTF-8: {error.reason}") from error


def skip(buffer: bytes, position: int) -> int:
    """Return the position behind the value at `position`, without decoding it. Raises DecodeError."""
    try:
        end = _skip(buffer, position, 0)
    except (IndexError, struct.error) as error:
        raise DecodeError(f"AMQP value at byte {position} is cut off after {len(buffer)} bytes") from error
    if end > len(buffer):
        raise DecodeError(f"AMQP value at byte {position} claims to end at {end} of {len(buffer)} bytes")
    return end


def _decode(buffer: bytes, position: int, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise DecodeError(f"AMQP value at byte {position} is nested deeper than {MAX_DEPTH} levels")
    decoder = _DECODERS[buffer[position]]
    if decoder is None:
        raise DecodeError(f"0x{buffer[position]:02x} at byte {position} is no AMQP constructor")
    return decoder(buffer, position + 1, depth)


_FIXED_WIDTHS = (0, 1, 2, 4, 8, 16)


def _skip(buffer: bytes, position: int, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise DecodeError(f"AMQP value at byte {position} is nested deeper than {MAX_DEPTH} levels")
    code = buffer[position]
    position += 1
    if code == 0x00:
        return _skip(buffer, _skip(buffer, position, depth + 1), depth + 1)
    width_class = code >> 4
    if 4 <= width_class <= 9:
        return position + _FIXED_WIDTHS[width_class - 4]
    if width_class in (0xA, 0xC, 0xE):
        return position + 1 + buffer[position]
    if width_class in (0xB, 0xD, 0xF):
        size: int = _U32.unpack_from(buffer, position)[0]
        return position + 4 + size
    raise DecodeError(f"0x{code:02x} at byte {position - 1} is no AMQP constructor")


def _constant(value: Any) -> _Decoder:
    return lambda _buffer, position, _depth: (value, position)


def _fixed(layout: struct.Struct) -> _Decoder:
    unpack, size = layout.unpack_from, layout.size
    return lambda buffer, position, _depth: (unpack(buffer, position)[0], position + size)


def _raw(buffer: bytes, position: int, size: int) -> bytes:
    end = position + size
    if end > len(buffer):
        raise DecodeError(f"AMQP value at byte {position} claims to end at {end} of {len(buffer)} bytes")
    return bytes(buffer[position:end])


def _byte(buffer: bytes, position: int, _depth: int) -> tuple[int, int]:
    return buffer[position], position + 1


def _boolean(buffer: bytes, position: int, _depth: int) -> tuple[bool, int]:
    return buffer[position] == 1, position + 1


def _char(buffer: bytes, position: int, _depth: int) -> tuple[str, int]:
    return _raw(buffer, position, 4).decode("utf-32-be"), position + 4


def _decimal(size: int) -> _Decoder:
    return lambda buffer, position, _depth: (_raw(buffer, position, size), position + size)


def _uuid(buffer: bytes, position: int, _depth: int) -> tuple[uuid.UUID, int]:
    return uuid.UUID(bytes=_raw(buffer, position, 16)), position + 16


def _variable_width(wide: bool, convert: Callable[[bytes], Any]) -> _Decoder:
    def short_value(buffer: bytes, position: int, _depth: int) -> tuple[Any, int]:
        size = buffer[position]
        return convert(_raw(buffer, position + 1, size)), position + 1 + size

    def long_value(buffer: bytes, position: int, _depth: int) -> tuple[Any, int]:
        size = _U32.unpack_from(buffer, position)[0]
        return convert(_raw(buffer, position + 4, size)), position + 4 + size

    return long_value if wide else short_value


def _compound_bounds(buffer: bytes, position: int, wide: bool) -> tuple[int, int, int]:
    """Return (count, position of the first item, end), sure that neither lies about the buffer."""
    if wide:
        size, count = _U32.unpack_from(buffer, position)[0], _U32.unpack_from(buffer, position + 4)[0]
        end, first = position + 4 + size, position + 8
    else:
        size, count = buffer[position], buffer[position + 1]
        end, first = position + 1 + size, position + 2
    if end > len(buffer) or first > end or count > end - first + 1:
        raise DecodeError(f"AMQP compound at byte {position} claims {size} bytes and {count} items")
    return count, first, end


def _items(buffer: bytes, position: int, depth: int, wide: bool) -> tuple[list[Any], int]:
    count, position, end = _compound_bounds(buffer, position, wide)
    items = []
    for _ in range(count):
        item, position = _decode(buffer, position, depth + 1)
        items.append(item)
    if position != end:
        raise DecodeError(f"AMQP compound ends at byte {position}, its size says {end}")
    return items, end


def _list(wide: bool) -> _Decoder:
    return lambda buffer, position, depth: _items(buffer, position, depth, wide)


def _map(wide: bool) -> _Decoder:
    def decode_map(buffer: bytes, position: int, depth: int) -> tuple[dict[Any, Any], int]:
        items, end = _items(buffer, position, depth, wide)
        if len(items) % 2:
            raise DecodeError(f"AMQP map at byte {position} has a key without a value")
        try:
            return dict(zip(items[::2], items[1::2], strict=True)), end
        except TypeError as error:
            raise DecodeError(f"AMQP map at byte {position} has a compound key") from error

    return decode_map


def _array(wide: bool) -> _Decoder:
    def decode_array(buffer: bytes, position: int, depth: int) -> tuple[list[Any], int]:
        count, position, end = _compound_bounds(buffer, position, wide)
        if not count:
            return [], end
        if depth >= MAX_DEPTH:
            raise DecodeError(f"AMQP value at byte {position} is nested deeper than {MAX_DEPTH} levels")
        decoder = _DECODERS[buffer[position]]
        if decoder is None or decoder is _described:
            raise DecodeError(f"0x{buffer[position]:02x} at byte {position} is no array item constructor")
        position += 1
        items = []
        for _ in range(count):
            item, position = decoder(buffer, position, depth + 1)
            items.append(item)
        if position != end:
            raise DecodeError(f"AMQP array ends at byte {position}, its size says {end}")
        return items, end

    return decode_array


def _described(buffer: bytes, position: int, depth: int) -> tuple[Described, int]:
    descriptor, position = _decode(buffer, position, depth + 1)
    value, position = _decode(buffer, position, depth + 1)
    return Described(descriptor, value), position


def _list0(_buffer: bytes, position: int, _depth: int) -> tuple[list[Any], int]:
    return [], position


def _text(raw: bytes) -> str:
    return raw.decode()


def _symbol(raw: bytes) -> Symbol:
    return Symbol(raw.decode())


_DECODERS: list[_Decoder | None] = [None] * 256
for _code, _decoder in {
    0x00: _described,
    0x40: _constant(None),
    0x41: _constant(True),
    0x42: _constant(False),
    0x43: _constant(0),
    0x44: _constant(0),
    0x45: _list0,
    0x50: _byte,
    0x51: _fixed(_I8),
    0x52: _byte,
    0x53: _byte,
    0x54: _fixed(_I8),
    0x55: _fixed(_I8),
    0x56: _boolean,
    0x60: _fixed(_U16),
    0x61: _fixed(_I16),
    0x70: _fixed(_U32),
    0x71: _fixed(_I32),
    0x72: _fixed(_F32),
    0x73: _char,
    0x74: _decimal(4),
    0x80: _fixed(_U64),
    0x81: _fixed(_I64),
    0x82: _fixed(_F64),
    0x83: _fixed(_I64),
    0x84: _decimal(8),
    0x94: _decimal(16),
    0x98: _uuid,
    0xA0: _variable_width(False, bytes),
    0xA1: _variable_width(False, _text),
    0xA3: _variable_width(False, _symbol),
    0xB0: _variable_width(True, bytes),
    0xB1: _variable_width(True, _text),
    0xB3: _variable_width(True, _symbol),
    0xC0: _list(False),
    0xC1: _map(False),
    0xD0: _list(True),
    0xD1: _map(True),
    0xE0: _array(False),
    0xF0: _array(True),
}.items():
    _DECODERS[_code] = _decoder
