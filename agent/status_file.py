"""A small JSON file that tells a supervisor on the same machine how the agent is doing. For the service."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TypedDict

log = logging.getLogger(__name__)


class Status(TypedDict):
    """What the file holds."""

    instance: str
    seq: int
    """Number of the last envelope built."""
    published: int
    """Envelopes acknowledged since the start, those of earlier processes included."""
    spooled: int
    """Envelopes that wait."""
    dropped: int
    """Envelopes lost for good since the start."""
    last_publish_ms: int | None


class StatusFile:
    """Replaces the file as a whole at every write; a failure to write is logged once and stops nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fails = False

    def write(self, status: Status) -> None:
        """Writes the status, so that a reader sees this one or the one before."""
        temporary = self._path.with_name(f"{self._path.name}.tmp")
        try:
            temporary.write_text(json.dumps(status) + "\n")
            temporary.replace(self._path)
        except OSError as error:
            if not self._fails:
                log.warning("status_file_fails", extra={"path": str(self._path), "problem": str(error)})
            self._fails = True
        else:
            self._fails = False
