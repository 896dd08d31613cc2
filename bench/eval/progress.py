"""Says on standard error how far a long run is: a bar in a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


class Progress:
    """Tells of steps, and of how much of a part is done. A context: bars end with it."""

    def __init__(self, every_seconds: float = 10.0, console: Console | None = None) -> None:
        self._began = time.monotonic()
        self._every = every_seconds
        self._told = 0.0
        self._console = console or Console(stderr=True)
        self._bars: Bars | None = None
        self._of_part: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
            # Figures go to standard output and are not for the bars to redirect.
            self._bars = Bars(*columns, TimeElapsedColumn(), console=self._console, redirect_stdout=sys.stdout.isatty())
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    @property
    def seconds(self) -> float:
        """Since this began."""
        return time.monotonic() - self._began

    def step(self, text: str) -> None:
        """Something new begins, or ought to be known."""
        self._say(text)

    def part(self, name: str, done: float, total: float) -> None:
        """So much of a part is done. Without a terminal it is not told when something was told a moment ago."""
        share = min(done / total, 1.0) if total else 1.0
        if self._bars is not None:
            if name not in self._of_part:
                self._of_part[name] = self._bars.add_task(name, total=1.0)
            self._bars.update(self._of_part[name], completed=share)
        elif time.monotonic() - self._told >= self._every:
            self._say(f"{name}: {100 * share:.0f} %")

    def _say(self, text: str) -> None:
        self._told = time.monotonic()
        line = f"[{self.seconds:6.1f} s] {text}"
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)
