"""Figures as the project prints and keeps them: `name value unit`, and bench/results.json."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path("bench/results.json")


class Figures:
    """Collects figures, printing each as it comes."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[float, str]] = {}

    def add(self, name: str, value: float, unit: str) -> None:
        """Prints and keeps one figure."""
        self._values[name] = (value, unit)
        print(f"{name} {_shown(value)} {unit}", flush=True)

    def value(self, name: str) -> float | None:
        """A figure that was added; None where it was not."""
        value, _ = self._values.get(name, (None, ""))
        return value

    def lines(self) -> list[tuple[str, str, str]]:
        """Every figure as it was printed: name, value, unit."""
        return [(name, _shown(value), unit) for name, (value, unit) in self._values.items()]

    def write(self, path: Path = RESULTS) -> None:
        """Replaces the results file."""
        document = {
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()},
            "figures": {name: {"value": value, "unit": unit} for name, (value, unit) in self._values.items()},
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n")


def _shown(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
