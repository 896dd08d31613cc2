"""The directory a local stack lives in: where everything is, its keys, its ports. For the supervisor and its tests.

What is secret is readable by its owner only.
"""

import json
import os
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

DEFAULT_DATA = Path(".local")


class StackError(Exception):
    """The local stack cannot do what was asked; the message says why, and what to do."""


@dataclass(frozen=True)
class Keys:
    """What clients of the stack show to be let in; random, made once per data directory."""

    event_hubs: str
    functions: str
    functions_master: str
    log_analytics: str
    workspace_id: str

    @classmethod
    def new(cls) -> Self:
        """Keys nobody has seen before."""

        def key() -> str:
            return secrets.token_urlsafe(32)

        return cls(key(), key(), key(), key(), str(uuid.uuid4()))


@dataclass(frozen=True)
class DataDirectory:
    """Paths below one directory; `create` makes it."""

    root: Path

    def create(self) -> None:
        """Make the directory and those below it that nobody else makes."""
        for folder in (self.root, self.logs, self.ready, self.program("agent")):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def logs(self) -> Path:
        """Of the log files, one per program."""
        return self.root / "logs"

    @property
    def ready(self) -> Path:
        """Of the ready files, which programs write once they serve."""
        return self.root / "ready"

    @property
    def stack_file(self) -> Path:
        """What a running stack tells about itself."""
        return self.root / "stack.json"

    def program(self, name: str) -> Path:
        """The directory a program keeps its data in."""
        return self.root / name

    def log(self, name: str) -> Path:
        """The log file of a program."""
        return self.logs / f"{name}.log"

    def keys(self) -> Keys:
        """The keys of this directory, made when they are asked for the first time."""
        path = self.root / "keys.json"
        stored = _read(path)
        if stored is None:
            keys = Keys.new()
            write_whole(path, vars(keys))
            return keys
        try:
            return Keys(**stored)
        except TypeError as error:
            raise StackError(f"{path} holds no keys of this version ({error}); delete it to get new ones") from error

    def ports(self) -> dict[str, int]:
        """The ports used the last time: clients, and checkpoints filed under them, find things where they were."""
        return {name: port for name, port in (_read(self.root / "ports.json") or {}).items() if isinstance(port, int)}

    def keep_ports(self, ports: Mapping[str, int]) -> None:
        """Remember the ports for the next time."""
        write_whole(self.root / "ports.json", dict(ports))


def write_whole(path: Path, document: object) -> None:
    """Write JSON so that a reader sees all of it or what was there before, and nobody but the owner sees it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
    draft.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StackError(f"{path} is no JSON ({error}); delete it") from error
    if not isinstance(document, dict):
        raise StackError(f"{path} must hold a JSON object, got {type(document).__name__}; delete it")
    return document
