"""The durable log of one partition: append-only segment files, bounded by age and bytes.

Only `hub` may import it. What `append` returned from survives the process being killed (with fsync: the machine
losing power). Sequence numbers and offsets never restart: the newest segment is kept even when it is empty, and
its name says where they go on.
"""

import contextlib
import logging
import os
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from local.event_hubs import segments
from local.event_hubs.messages import StoredEvent, event_message
from local.event_hubs.segments import Damage, SegmentIndex

_log = logging.getLogger(__name__)
_CACHED_INDEXES = 4
"""How many sealed segments per partition keep their index in memory; the others are read again when needed."""
_ROLLS_PER_LIFETIME = 8
"""A segment is sealed after this fraction of the retention age, so that events outlive it by an eighth at most."""


class Retention(NamedTuple):
    """How much is kept: events no older than an age, in no more than some bytes per partition."""

    max_age_ms: int
    max_bytes: int


class Position(NamedTuple):
    """Where an event is in the log, and when it came."""

    sequence_number: int
    offset: int
    enqueued_ms: int


class ReadResult(NamedTuple):
    """Sequence numbers and encoded messages, and the sequence number to read on from."""

    messages: list[tuple[int, bytes]]
    next_sequence: int


class _Segment:
    def __init__(self, path: Path, base_sequence: int, base_offset: int, size: int) -> None:
        self.path = path
        self.base_sequence = base_sequence
        self.base_offset = base_offset
        self.size = size
        self.first_enqueued_ms: int | None = None
        self.damage_reported = False


class PartitionLog:
    """One partition's events, in the order in which they were accepted."""

    def __init__(
        self,
        directory: Path,
        retention: Retention,
        clock: Callable[[], int],
        *,
        segment_bytes: int = 8 * 1024 * 1024,
        fsync: bool = False,
    ) -> None:
        """Open the log, creating it if it is not there; a write torn by a crash is cut off.

        `clock` returns Unix time in milliseconds.
        """
        self._directory, self._retention, self._clock = directory, retention, clock
        self._segment_bytes, self._fsync = segment_bytes, fsync
        self._sealed_indexes: OrderedDict[int, SegmentIndex] = OrderedDict()
        directory.mkdir(parents=True, exist_ok=True)
        self._segments = self._find_segments()
        if not self._segments:
            self._segments = [_Segment(self._create(0, 0), 0, 0, 0)]
        self._total_bytes = sum(segment.size for segment in self._segments)
        self._file = os.open(self._active.path, os.O_RDWR)
        self._active_index = SegmentIndex()
        self._next_sequence = self._active.base_sequence
        self._recover_active()
        self._date_sealed_segments()
        self.last_event = self._find_last_event()

    # -------------------------------------------------------------------------------------------- state

    @property
    def next_sequence(self) -> int:
        """The sequence number that the next event gets."""
        return self._next_sequence

    @property
    def next_offset(self) -> int:
        """An offset that no event has had yet."""
        return self._active.base_offset + self._active.size

    @property
    def begin_sequence(self) -> int:
        """The sequence number of the oldest retained event; `next_sequence` if there is none."""
        return self._segments[0].base_sequence

    @property
    def size_bytes(self) -> int:
        """What the segments take on disk."""
        return self._total_bytes

    @property
    def segment_count(self) -> int:
        """How many segment files there are."""
        return len(self._segments)

    # ------------------------------------------------------------------------------------------- writing

    def append(self, events: Sequence[StoredEvent]) -> None:
        """Store all events or none; they are durable on return. Raises OSError if they cannot be written."""
        enqueued_ms = max(self._clock(), self.last_event.enqueued_ms if self.last_event else 0)
        data = segments.encode_chunk(events, self._next_sequence, enqueued_ms)
        self._roll_if_due(len(data), enqueued_ms)
        self._expire(enqueued_ms, incoming_bytes=len(data))
        segment = self._active
        self._write(data, segment.size)
        chunk = segments.Chunk(0, len(data), self._next_sequence, enqueued_ms, len(events))
        self._active_index.add(data, chunk, segment.size)
        if segment.first_enqueued_ms is None:
            segment.first_enqueued_ms = enqueued_ms
        segment.size += len(data)
        self._total_bytes += len(data)
        self._next_sequence += len(events)
        last_position = self._active_index.position(len(self._active_index) - 1)
        self.last_event = Position(self._next_sequence - 1, segment.base_offset + last_position, enqueued_ms)

    def _write(self, data: bytes, position: int) -> None:
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:], position + written)
            if self._fsync:
                os.fdatasync(self._file)
        except OSError:
            with contextlib.suppress(OSError):  # whatever stays behind the end is overwritten, or cut off at start
                os.ftruncate(self._file, position)
            raise

    def _roll_if_due(self, incoming_bytes: int, now_ms: int) -> None:
        active = self._active
        if active.first_enqueued_ms is None:
            return
        full = active.size + incoming_bytes > self._segment_bytes
        old = now_ms - active.first_enqueued_ms > self._retention.max_age_ms // _ROLLS_PER_LIFETIME
        if full or old:
            self._roll(self._next_sequence)

    def _roll(self, next_sequence: int) -> None:
        """Seal the active segment and go on in a new one."""
        sealed = self._active
        base_offset = sealed.base_offset + sealed.size
        path = self._create(next_sequence, base_offset)
        file = os.open(path, os.O_RDWR)
        os.close(self._file)
        self._file = file
        self._remember(sealed, self._active_index)
        self._segments.append(_Segment(path, next_sequence, base_offset, 0))
        self._active_index, self._next_sequence = SegmentIndex(), next_sequence

    def _create(self, base_sequence: int, base_offset: int) -> Path:
        path = self._directory / segments.segment_name(base_sequence, base_offset)
        path.touch()
        if self._fsync:
            directory = os.open(self._directory, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)
        return path

    def close(self) -> None:
        """Release the file; all that was appended is already in it."""
        os.close(self._file)

    # ----------------------------------------------------------------------------------------- retention

    def enforce_retention(self) -> None:
        """Delete the segments whose events are all too old."""
        now_ms = self._clock()
        cutoff = now_ms - self._retention.max_age_ms
        if self._active.first_enqueued_ms is not None and self.last_event and self.last_event.enqueued_ms < cutoff:
            self._roll(self._next_sequence)
        self._expire(now_ms, incoming_bytes=0)

    def _expire(self, now_ms: int, incoming_bytes: int) -> None:
        cutoff = now_ms - self._retention.max_age_ms
        while len(self._segments) > 1:
            oldest = self._segments[0]
            too_much = self._total_bytes + incoming_bytes > self._retention.max_bytes
            if not too_much and self._newest_ms(0) >= cutoff:
                break
            oldest.path.unlink(missing_ok=True)
            self._sealed_indexes.pop(oldest.base_sequence, None)
            del self._segments[0]
            self._total_bytes -= oldest.size
            _log.info(
                "segment expired",
                extra={"segment": str(oldest.path), "bytes": oldest.size, "by": "bytes" if too_much else "age"},
            )
        if self.last_event and self.last_event.sequence_number < self._segments[0].base_sequence:
            self.last_event = None

    def _newest_ms(self, number: int) -> int:
        """Return a time no earlier than any event's of a sealed segment."""
        following = self._segments[number + 1].first_enqueued_ms
        return self._index(number).last_enqueued_ms if following is None else following

    # ------------------------------------------------------------------------------------------- reading

    def read(self, sequence: int, max_events: int, max_bytes: int) -> ReadResult:
        """Return the messages from `sequence` on, or from the oldest retained one if that is expired.

        All are of one segment; no messages means that there are none yet.
        """
        number = max(bisect_right(self._segments, sequence, key=lambda s: s.base_sequence) - 1, 0)
        while number < len(self._segments):
            index, segment = self._index(number), self._segments[number]
            first = index.first_at_sequence(sequence)
            if first < len(index):
                end = index.limit(first, max_events, max_bytes)
                start = index.position(first)
                stop = index.position(end) if end < len(index) else segment.size
                data = self._read_bytes(segment, start, stop - start)
                messages = [
                    (number, event_message(event, number, segment.base_offset + position, enqueued_ms))
                    for number, position, enqueued_ms, event in index.events(data, first, end)
                ]
                return ReadResult(messages, index.sequence(end - 1) + 1)
            number += 1
        return ReadResult([], max(sequence, self._next_sequence))

    def sequence_at_offset(self, offset: int, inclusive: bool) -> int:
        """Return the sequence number of the first event at an offset, or behind it."""
        number = bisect_right(self._segments, offset, key=lambda s: s.base_offset) - 1
        if number < 0:
            return self.begin_sequence
        index = self._index(number)
        event = index.first_at_position(offset - self._segments[number].base_offset, inclusive)
        return self._sequence_of(number, event)

    def sequence_at_time(self, milliseconds: int, inclusive: bool) -> int:
        """Return the sequence number of the first event enqueued at a time, or after it."""
        started = [s.first_enqueued_ms for s in self._segments if s.first_enqueued_ms is not None]
        number = (bisect_left if inclusive else bisect_right)(started, milliseconds) - 1
        if number < 0:
            return self.begin_sequence
        return self._sequence_of(number, self._index(number).first_at_time(milliseconds, inclusive))

    def _sequence_of(self, number: int, event: int) -> int:
        index = self._index(number)
        if event < len(index):
            return index.sequence(event)
        last = number + 1 == len(self._segments)
        return self._next_sequence if last else self._segments[number + 1].base_sequence

    @property
    def _active(self) -> _Segment:
        return self._segments[-1]

    def _read_bytes(self, segment: _Segment, position: int, size: int) -> bytes:
        if segment is self._active:
            return os.pread(self._file, size, position)
        with segment.path.open("rb") as file:
            file.seek(position)
            return file.read(size)

    def _index(self, number: int) -> SegmentIndex:
        segment = self._segments[number]
        if segment is self._active:
            return self._active_index
        index = self._sealed_indexes.get(segment.base_sequence)
        if index is None:
            index = self._load_index(number)
        self._remember(segment, index)
        return index

    def _remember(self, segment: _Segment, index: SegmentIndex) -> None:
        self._sealed_indexes[segment.base_sequence] = index
        self._sealed_indexes.move_to_end(segment.base_sequence)
        while len(self._sealed_indexes) > _CACHED_INDEXES:
            self._sealed_indexes.popitem(last=False)

    def _load_index(self, number: int) -> SegmentIndex:
        segment, following = self._segments[number], self._segments[number + 1]
        scanned = segments.scan(segment.path.read_bytes(), segment.base_sequence)
        damages = scanned.damages
        if scanned.next_sequence < following.base_sequence:
            lost = following.base_sequence - scanned.next_sequence
            damages.append(Damage(scanned.end, segment.size, scanned.next_sequence, lost))
        if not segment.damage_reported:
            self._report(segment, damages)
            segment.damage_reported = True
        return scanned.events

    def _report(self, segment: _Segment, damages: Sequence[Damage]) -> None:
        for damage in damages:
            _log.error(
                "segment damaged: events lost, the rest stays readable",
                extra={
                    "segment": str(segment.path),
                    "from_byte": damage.position,
                    "to_byte": damage.end,
                    "first_lost_sequence_number": damage.first_lost_sequence,
                    "lost_events": damage.lost_count,
                },
            )

    # ------------------------------------------------------------------------------------------ recovery

    def _find_segments(self) -> list[_Segment]:
        found = []
        for path in self._directory.iterdir():
            bases = segments.parse_segment_name(path)
            if bases:
                found.append(_Segment(path, *bases, path.stat().st_size))
        return sorted(found, key=lambda segment: segment.base_sequence)

    def _recover_active(self) -> None:
        """Index the newest segment; cut off a torn write, seal the segment if its tail is damaged."""
        segment = self._active
        data = segment.path.read_bytes()
        scanned = segments.scan(data, segment.base_sequence)
        self._active_index, self._next_sequence = scanned.events, scanned.next_sequence
        if len(scanned.events):
            segment.first_enqueued_ms = scanned.events.first_enqueued_ms
        damages, lost = scanned.damages, 0
        if scanned.end < len(data):
            lost = segments.lost_in_tail(data, scanned.end, scanned.next_sequence)
            if lost:
                damages.append(Damage(scanned.end, len(data), scanned.next_sequence, lost))
            else:
                self._truncate(scanned.end)
        self._report(segment, damages)
        segment.damage_reported = True
        if lost:
            self._roll(scanned.next_sequence + lost)

    def _truncate(self, size: int) -> None:
        segment = self._active
        _log.warning(
            "torn write cut off: it was never acknowledged",
            extra={"segment": str(segment.path), "from_byte": size, "bytes": segment.size - size},
        )
        os.ftruncate(self._file, size)
        self._total_bytes -= segment.size - size
        segment.size = size

    def _date_sealed_segments(self) -> None:
        """Find out when each sealed segment begins, reading its first chunk only where that is intact."""
        first_ms = 0
        for number, segment in enumerate(self._segments[:-1]):
            with segment.path.open("rb") as file:
                size = segments.chunk_size(file.read(segments.HEADER_SIZE))
                file.seek(0)
                chunk = segments.read_chunk(file.read(size), 0) if size else None
            if chunk is not None:
                first_ms = chunk.enqueued_ms
            elif len(self._index(number)):
                first_ms = self._index(number).first_enqueued_ms
            segment.first_enqueued_ms = first_ms

    def _find_last_event(self) -> Position | None:
        for number in reversed(range(len(self._segments))):
            index, segment = self._index(number), self._segments[number]
            if len(index):
                last = len(index) - 1
                return Position(
                    index.sequence(last), segment.base_offset + index.position(last), index.last_enqueued_ms
                )
        return None
