"""The queries that the function app asks, as files: functions/queries/NAME.kql. They are deployed with it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "queries"


@lru_cache
def kql(name: str) -> str:
    """The text of a query, by the file's name without .kql."""
    return (_FOLDER / f"{name}.kql").read_text(encoding="utf-8")
