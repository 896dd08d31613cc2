"""Which partition a partition key belongs to, by the hash that the Event Hubs service uses.

Only this package may import it. The hash is Bob Jenkins' lookup3 (hashlittle2, both seeds 0), its two halves
folded to 16 signed bits. The remainder truncates toward zero as in .NET: Python's own `%` would give another
partition for negative hashes, as the SDK's buffered producer for Python does.
"""

import struct

_MASK = 0xFFFFFFFF
_BLOCK = struct.Struct("<III")


def partition_for_key(key: str, partition_count: int) -> int:
    """Return the partition (0 to partition_count - 1) of every event with this key."""
    return abs(key_hash(key.encode())) % partition_count


def key_hash(data: bytes) -> int:
    """Return the signed 16-bit hash of a partition key."""
    first, second = _lookup3(data)
    folded = (first ^ second) & 0xFFFF
    return folded - 0x10000 if folded >= 0x8000 else folded


def _lookup3(data: bytes) -> tuple[int, int]:
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    position = 0
    while len(data) - position > 12:
        x, y, z = _BLOCK.unpack_from(data, position)
        a, b, c = _mix((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)
        position += 12
    if position < len(data):
        x, y, z = _BLOCK.unpack(data[position:].ljust(12, b"\0"))
        b, c = _final((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)
    return c, b


def _rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    # One round of lookup3's mix() works on (a, b, c), the next on (b, c, a): six rounds rotate twice.
    for bits in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _MASK) ^ _rotate(c, bits)
        c = (c + b) & _MASK
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> tuple[int, int]:
    c = ((c ^ b) - _rotate(b, 14)) & _MASK
    a = ((a ^ c) - _rotate(c, 11)) & _MASK
    b = ((b ^ a) - _rotate(a, 25)) & _MASK
    c = ((c ^ b) - _rotate(b, 16)) & _MASK
    a = ((a ^ c) - _rotate(c, 4)) & _MASK
    b = ((b ^ a) - _rotate(a, 14)) & _MASK
    c = ((c ^ b) - _rotate(b, 24)) & _MASK
    return b, c
