"""Which devices, mounts or interfaces to look at: an include or an exclude pattern. For settings and collectors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Selection:
    """Takes the names that `include` matches anywhere; without it, all but those that `exclude` matches.

    As in node_exporter, giving both is refused where settings are read: which one wins is nobody's to remember.
    """

    exclude: str
    include: str | None = None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self.exclude if self.include is None else self.include)

    def takes(self, name: str) -> bool:
        """Says whether to look at it."""
        return (self._pattern.search(name) is None) == (self.include is None)
