"""The programs that build and run images: docker, podman, buildah. One of them is enough, and they differ in little."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.image.containers_conf import containers_conf

BUILDERS = ("docker", "podman", "buildah")
RUNNERS = ("docker", "podman")
"""buildah only builds; podman runs what it has built, since they share their store."""
ANSWERS_WITHIN = 30.0


class NoEngine(Exception):
    """No program here can do what is asked; the message says what was tried and what to do."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One of `BUILDERS`, found to be working."""

    name: str

    def build(
        self, dockerfile: str, image: str, target: str, arguments: Mapping[str, str], timestamp: int
    ) -> list[str]:
        """Gives the command that builds an image without a network from the current directory.

        The same sources give the same image with podman and buildah: files and history get the `timestamp`.
        """
        verb = {"docker": ["build"], "podman": ["build", "--layers"], "buildah": ["bud", "--layers"]}[self.name]
        same = [] if self.name == "docker" else [f"--timestamp={timestamp}"]
        options = ["--network=none", f"--target={target}", f"--file={dockerfile}", f"--tag={image}"]
        given = [f"--build-arg={name}={value}" for name, value in sorted(arguments.items())]
        return [self.name, *verb, *options, *same, *given, "."]

    def save(self, image: str, archive: Path) -> list[str]:
        """Gives the command that writes an image to a docker-archive, which must not exist."""
        if self.name == "buildah":
            return ["buildah", "push", "--quiet", image, f"docker-archive:{archive}:{image}"]
        return [self.name, "save", "--output", str(archive), image]

    def environment(self) -> dict[str, str]:
        """Gives the environment to run the commands in."""
        configuration = None if self.name == "docker" else containers_conf()
        return {**os.environ, **({"CONTAINERS_CONF": str(configuration)} if configuration else {})}


def find_engine(wanted: str | None, candidates: Sequence[str] = BUILDERS) -> Engine:
    """Gives the wanted engine, or the first of the candidates that works. Raises NoEngine."""
    if wanted and wanted not in candidates:
        raise NoEngine(f"ENGINE must be one of {', '.join(candidates)}, got {wanted!r}")
    problems = []
    for name in (wanted,) if wanted else candidates:
        engine = Engine(name)
        if (problem := _problem(engine)) is None:
            return engine
        problems.append(f"{name}: {problem}")
    if wanted:
        raise NoEngine(f"{problems[0]}; mend that, or leave ENGINE out to take another of {', '.join(candidates)}")
    raise NoEngine(
        f"no container engine works here ({'; '.join(problems)}). "
        "Install one, such as `apt-get install podman`, or start the docker daemon"
    )


def _problem(engine: Engine) -> str | None:
    """Says why an engine cannot be used; None when it can. A docker client without its daemon is of no use."""
    if shutil.which(engine.name) is None:
        return "not installed"
    try:
        answer = subprocess.run(
            [engine.name, "info"],
            env=engine.environment(),
            capture_output=True,
            text=True,
            timeout=ANSWERS_WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"`{engine.name} info` did not answer within {ANSWERS_WITHIN:g} s"
    if answer.returncode == 0:
        return None
    said = (answer.stderr.strip() or answer.stdout.strip() or f"exit code {answer.returncode}").splitlines()
    return said[-1]
