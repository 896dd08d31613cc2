"""`python -m local logs NAME`: the end of a program's log, and what is added to it. For the command line only."""

import sys
import time
from pathlib import Path
from typing import TextIO

from local.supervisor.data_directory import DataDirectory, StackError

_POLL_SECONDS = 0.2


def show_log(data: DataDirectory, name: str, *, lines: int, follow: bool, output: TextIO | None = None) -> int:
    """Print the last lines of a log, and go on with `follow` until Ctrl-C; 0."""
    output = output or sys.stdout
    path = data.log(name)
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in data.logs.glob("*.log"))) or "none"
        raise StackError(f"there is no log of {name!r} in {data.logs}; logs there: {known}") from None
    if lines:
        output.write("".join(text.splitlines(keepends=True)[-lines:]))
    output.flush()
    if follow:
        _follow(path, len(text.encode(errors="replace")), output)
    return 0


def _follow(path: Path, position: int, output: TextIO) -> None:
    while True:
        size = path.stat().st_size if path.exists() else 0
        if size < position:
            position = 0  # begun anew
        if size > position:
            with path.open("rb") as file:
                file.seek(position)
                added = file.read(size - position)
            position += len(added)
            output.write(added.decode(errors="replace"))
            output.flush()
        time.sleep(_POLL_SECONDS)
