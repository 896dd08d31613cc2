"""Counts what a spool gives up, and says so once per episode. For the spools."""

from __future__ import annotations

import logging

from agent.spool.spool import DropReason

log = logging.getLogger(__name__)

_LOST = (DropReason.DAMAGED, DropReason.MISSING)


class Drops:
    """Counts by reason; logs when an episode of a reason begins and when it has ended, not every drop.

    An episode lasts until an envelope has been appended without any drop of that reason since the one before.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(DropReason, 0)
        self._episodes: dict[DropReason, int] = {}
        """Reason of an episode -> drops before it."""
        self._at_append = dict(self.counts)

    def add(self, reason: DropReason, **fields: object) -> None:
        """Counts an envelope; the first of an episode is logged with `fields`."""
        if reason not in self._episodes:
            self._episodes[reason] = self.counts[reason]
            event = "spool_envelope_lost" if reason in _LOST else "spool_drops_oldest"
            log.warning(event, extra={"reason": str(reason), **fields})
        self.counts[reason] += 1

    def appended(self) -> None:
        """Says that an envelope has been appended and the bounds hold: episodes without a drop since end."""
        for reason, before in list(self._episodes.items()):
            if self.counts[reason] == self._at_append[reason]:
                log.info("spool_drops_no_more", extra={"reason": str(reason), "dropped": self.counts[reason] - before})
                del self._episodes[reason]
        self._at_append = dict(self.counts)
