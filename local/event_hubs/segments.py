"""One segment file of a partition's log: its format, its index, and what is left of it after damage.

Only `partition_log` may import it. A segment is a run of chunks, one per accepted delivery: a header (magic,
CRC, body size, first sequence number, enqueued time, event count), then per event three lengths, its annotations
and its rest. The CRC covers all that follows it. The file's name holds the sequence number and the offset at
which the segment starts; an event's offset is the segment's plus its position in the file.
"""

import re
import struct
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from local.event_hubs.messages import StoredEvent

_MAGIC = b"EHc1"
_HEADER = struct.Struct(">4sIIQQI")
_AFTER_CRC = 8
_EVENT = struct.Struct(">III")
_NAME = re.compile(r"(\d{20})-(\d{20})\.log")


class Chunk(NamedTuple):
    """A chunk's place in the file and what its header says."""

    position: int
    end: int
    first_sequence: int
    enqueued_ms: int
    event_count: int


class Damage(NamedTuple):
    """A stretch of a segment that cannot be read, and the events that were in it."""

    position: int
    end: int
    first_lost_sequence: int
    lost_count: int


def encode_chunk(events: Sequence[StoredEvent], first_sequence: int, enqueued_ms: int) -> bytes:
    """Return the chunk that holds `events`."""
    parts: list[bytes] = []
    for items, annotations, rest in events:
        parts += (_EVENT.pack(items, len(annotations), len(rest)), annotations, rest)
    body = b"".join(parts)
    header = _HEADER.pack(_MAGIC, 0, len(body), first_sequence, enqueued_ms, len(events))
    checksum = zlib.crc32(body, zlib.crc32(header[_AFTER_CRC:]))
    return b"".join((header[:4], checksum.to_bytes(4), header[_AFTER_CRC:], body))


def read_chunk(data: bytes, position: int) -> Chunk | None:
    """Return the chunk at `position`, or None if there is no whole, undamaged one."""
    chunk = _read_header(data, position)
    if chunk is None or chunk.end > len(data):
        return None
    checksum = int.from_bytes(data[position + 4 : position + 8])
    intact = zlib.crc32(memoryview(data)[position + _AFTER_CRC : chunk.end]) == checksum
    return chunk if intact else None


def chunk_size(header: bytes) -> int | None:
    """Return how many bytes the chunk with this header claims to take, or None if it is no header."""
    chunk = _read_header(header, 0)
    return chunk.end if chunk else None


HEADER_SIZE = _HEADER.size


def _read_header(data: bytes, position: int) -> Chunk | None:
    if position + _HEADER.size > len(data):
        return None
    magic, _, size, first_sequence, enqueued_ms, count = _HEADER.unpack_from(data, position)
    if magic != _MAGIC:
        return None
    return Chunk(position, position + _HEADER.size + size, first_sequence, enqueued_ms, count)


class SegmentIndex:
    """Where each event of one segment is: four bytes an event and twenty a chunk."""

    def __init__(self) -> None:
        self._positions = array("I")
        self._chunk_first_events = array("I")
        self._chunk_sequences = array("Q")
        self._chunk_times = array("Q")

    def __len__(self) -> int:
        return len(self._positions)

    def add(self, data: bytes, chunk: Chunk, file_position: int = 0) -> None:
        """Index a chunk of `data`; `file_position` is where `data` lies in the file."""
        self._chunk_first_events.append(len(self._positions))
        self._chunk_sequences.append(chunk.first_sequence)
        self._chunk_times.append(chunk.enqueued_ms)
        position = chunk.position + _HEADER.size
        for _ in range(chunk.event_count):
            self._positions.append(file_position + position)
            _, annotations_size, rest_size = _EVENT.unpack_from(data, position)
            position += _EVENT.size + annotations_size + rest_size

    def first_at_sequence(self, sequence: int) -> int:
        """Return the number of the first event with this sequence number or a later one."""
        chunk = bisect_right(self._chunk_sequences, sequence) - 1
        if chunk < 0:
            return 0
        event = self._chunk_first_events[chunk] + sequence - self._chunk_sequences[chunk]
        following = chunk + 1
        end = self._chunk_first_events[following] if following < len(self._chunk_sequences) else len(self)
        return min(event, end)

    def first_at_position(self, position: int, inclusive: bool) -> int:
        """Return the number of the first event at a file position, or behind it."""
        return (bisect_left if inclusive else bisect_right)(self._positions, position)

    def first_at_time(self, milliseconds: int, inclusive: bool) -> int:
        """Return the number of the first event enqueued at a time, or after it."""
        chunk = (bisect_left if inclusive else bisect_right)(self._chunk_times, milliseconds)
        return self._chunk_first_events[chunk] if chunk < len(self._chunk_times) else len(self)

    def sequence(self, event: int) -> int:
        """Return an event's sequence number."""
        chunk = bisect_right(self._chunk_first_events, event) - 1
        return self._chunk_sequences[chunk] + event - self._chunk_first_events[chunk]

    def position(self, event: int) -> int:
        """Return an event's position in the file."""
        return self._positions[event]

    @property
    def first_enqueued_ms(self) -> int:
        """When the first event was enqueued; 0 if there is none."""
        return self._chunk_times[0] if self._chunk_times else 0

    @property
    def last_enqueued_ms(self) -> int:
        """When the last event was enqueued; 0 if there is none."""
        return self._chunk_times[-1] if self._chunk_times else 0

    def limit(self, event: int, max_events: int, max_bytes: int) -> int:
        """Return the end of the run from `event` that keeps both limits; at least one event long."""
        end = min(event + max_events, len(self))
        return max(bisect_left(self._positions, self._positions[event] + max_bytes, event, end), event + 1)

    def events(self, data: bytes, first: int, end: int) -> Iterator[tuple[int, int, int, StoredEvent]]:
        """Yield (sequence number, file position, enqueued time, event) of a run; `data` starts at the first."""
        start = self._positions[first]
        chunk = bisect_right(self._chunk_first_events, first) - 1
        chunks = len(self._chunk_first_events)
        for event in range(first, end):
            while chunk + 1 < chunks and self._chunk_first_events[chunk + 1] <= event:
                chunk += 1
            file_position = self._positions[event]
            at = file_position - start
            items, annotations_size, rest_size = _EVENT.unpack_from(data, at)
            annotations_at = at + _EVENT.size
            rest_at = annotations_at + annotations_size
            yield (
                self._chunk_sequences[chunk] + event - self._chunk_first_events[chunk],
                file_position,
                self._chunk_times[chunk],
                StoredEvent(items, data[annotations_at:rest_at], data[rest_at : rest_at + rest_size]),
            )


class Scan(NamedTuple):
    """What a segment's bytes hold: its index, damage before good chunks, and where the good ones end."""

    events: SegmentIndex
    damages: list[Damage]
    end: int
    next_sequence: int


def scan(data: bytes, base_sequence: int) -> Scan:
    """Index every intact chunk; whatever lies between two of them is damage."""
    index, damages = SegmentIndex(), list[Damage]()
    position, expected = 0, base_sequence
    while position < len(data):
        chunk = _next_chunk(data, position, expected)
        if chunk is None:
            break
        if chunk.position > position or chunk.first_sequence > expected:
            lost = chunk.first_sequence - expected
            damages.append(Damage(position, chunk.position, expected, lost))
        index.add(data, chunk)
        position, expected = chunk.end, chunk.first_sequence + chunk.event_count
    return Scan(index, damages, position, expected)


def _next_chunk(data: bytes, position: int, expected: int) -> Chunk | None:
    while position >= 0:
        chunk = read_chunk(data, position)
        if chunk is not None and chunk.first_sequence >= expected:
            return chunk
        position = data.find(_MAGIC, position + 1)
    return None


def lost_in_tail(data: bytes, position: int, expected: int) -> int:
    """Return how many accepted events the unreadable tail at `position` may have held; 0 if a write was torn.

    A torn write leaves the beginning of a chunk: an incomplete header, or a good one that claims more than
    there is. It was never acknowledged. Anything else was damaged after it was whole.
    """
    header = _read_header(data, position)
    if len(data) - position < _HEADER.size:
        return 0
    if header is not None and header.first_sequence == expected:
        if header.end == len(data) or _holds_all_events(data, header):
            return header.event_count
        if header.end > len(data):
            return 0
    return (len(data) - position) // _EVENT.size


def _holds_all_events(data: bytes, chunk: Chunk) -> bool:
    """Return whether the events' own lengths end the chunk where the data ends: then its size field is wrong."""
    position = chunk.position + _HEADER.size
    for _ in range(chunk.event_count):
        if position + _EVENT.size > len(data):
            return False
        _, annotations_size, rest_size = _EVENT.unpack_from(data, position)
        position += _EVENT.size + annotations_size + rest_size
    return position == len(data)


def segment_name(base_sequence: int, base_offset: int) -> str:
    """Return the file name of the segment that starts here."""
    return f"{base_sequence:020d}-{base_offset:020d}.log"


def parse_segment_name(path: Path) -> tuple[int, int] | None:
    """Return (base sequence number, base offset), or None if the file is no segment."""
    match = _NAME.fullmatch(path.name)
    return (int(match[1]), int(match[2])) if match else None
