"""`make image`: builds the agent's image, lists what is in it, and says how large it is.

Everything the build takes from package indexes is downloaded before, by this machine's pip with this machine's
configuration; the build itself has no network. So mirrors, proxies and credentials work and never get into the image.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from agent import __version__
from tools.image.archive import Image, read_image
from tools.image.engines import Engine, NoEngine, find_engine

REPOSITORY = Path(__file__).resolve().parents[2]
OUTPUT = REPOSITORY / ".local/image"
WHEELS = OUTPUT / "wheels"
"""agent/Dockerfile and .dockerignore know this name."""
ARCHIVE = OUTPUT / "agent.tar"
SBOM = OUTPUT / "sbom.cdx.json"
SUMMARY = OUTPUT / "image.json"

DOCKERFILE = "agent/Dockerfile"
DEFAULT_IMAGE = f"devops-monitor/agent:{__version__}"
GLIBC_VERSIONS = (36, 34, 31, 28, 27, 24, 17, 12, 5)
OLD_TAGS = ("manylinux2014", "manylinux2010", "manylinux1")
"""The wheels that Debian 12 with its glibc 2.36 runs: manylinux_2_36 and older, by all their names."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
MIB = 1024 * 1024
SITE_PACKAGES = "usr/local/lib/python3.13/site-packages"


class BuildFailed(Exception):
    """The message says which step failed; the step has said why."""


def main(arguments: Sequence[str]) -> int:
    """Run all steps; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.image.build", description=__doc__)
    parser.add_argument("--image", default="", help=f"name:tag (default {DEFAULT_IMAGE})")
    parser.add_argument("--engine", default="", help="docker, podman or buildah; the first that works")
    parser.add_argument("--extra-requirements", default="", help="more packages, such as 'acme-collector==1.2'")
    parser.add_argument("--build-base", default="", help="instead of the Dockerfile's")
    parser.add_argument("--runtime-base", default="", help="instead of the Dockerfile's")
    options = parser.parse_args(arguments)
    name = options.image or DEFAULT_IMAGE
    try:
        engine = find_engine(options.engine)
        download_wheels(options.extra_requirements)
        given = {"BUILD_BASE": options.build_base, "RUNTIME_BASE": options.runtime_base}
        build(engine, name, {**given, "EXTRA_REQUIREMENTS": options.extra_requirements})
        save(engine, name)
        list_packages(name)
    except (NoEngine, BuildFailed) as error:
        print(f"make image: {error}", file=sys.stderr)
        return 1
    image = read_image(ARCHIVE)
    parts = parts_of(image)
    summary = {"image": name, "bytes": image.bytes, "compressed_bytes": image.compressed_bytes, "parts": parts}
    SUMMARY.write_text(json.dumps(summary, indent=2) + "\n")
    _print_summary(name, engine, image, parts)
    return 0


def download_wheels(extra_requirements: str, directory: Path = WHEELS) -> None:
    """Make the directory hold what the image needs, and nothing else; at once where it does already.

    Everything that pip can be told by configuration files and PIP_* variables is minded: indexes, proxies, credentials.
    """
    stamp_file = directory.with_suffix(".stamp")
    wanted = ["-r", "agent/requirements.txt", "-c", "constraints.txt", *shlex.split(extra_requirements)]
    machine = MACHINES.get(platform.machine(), platform.machine())
    sources = [(REPOSITORY / name).read_bytes() for name in ("agent/requirements.txt", "constraints.txt")]
    stamp = hashlib.sha256(b"\0".join([*sources, extra_requirements.encode(), machine.encode()])).hexdigest()
    if stamp_file.exists() and stamp_file.read_text() == stamp:
        return
    stamp_file.unlink(missing_ok=True)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    tags = (*(f"manylinux_2_{minor}" for minor in GLIBC_VERSIONS), *OLD_TAGS)
    platforms = [f"--platform={tag}_{machine}" for tag in tags]
    abis = ["--implementation=cp", "--abi=cp313", "--abi=abi3", "--abi=none"]
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
    _step(
        "downloading wheels",
        [*pip, "--only-binary=:all:", "--python-version=3.13", *abis, *platforms, f"--dest={directory}", *wanted],
        quiet=True,
    )
    stamp_file.write_text(stamp)


def build(engine: Engine, image: str, arguments: dict[str, str]) -> None:
    """Build the image from the wheels, without a network. Arguments that are empty keep the Dockerfile's default."""
    settled = {
        "PIP_INSTALL_OPTIONS": "--no-index --find-links wheels",
        "VERSION": __version__,
        "REVISION": _git("rev-parse", "HEAD") or "unknown",
    }
    given = {name: value for name, value in arguments.items() if value}
    timestamp = int(_git("log", "-1", "--format=%ct") or 0)
    try:
        _step("building", engine.build(DOCKERFILE, image, "agent", settled | given, timestamp), engine.environment())
    except BuildFailed as error:
        raise BuildFailed(
            f"{error}. If it was the base that could not be pulled: name one of your registry with BUILD_BASE=..., "
            "or on Debian 12 make one with tools/image/make_base.sh"
        ) from None


def save(engine: Engine, image: str) -> None:
    """Write the image to a file, from which it is measured and its packages are listed."""
    ARCHIVE.unlink(missing_ok=True)
    _step("saving", engine.save(image, ARCHIVE), engine.environment(), quiet=True)


def list_packages(image: str) -> None:
    """Write the software bill of materials, in CycloneDX's format."""
    name, _, version = image.rpartition(":")
    syft = Path(sys.executable).with_name("syft")
    source = [f"docker-archive:{ARCHIVE}", f"--source-name={name}", f"--source-version={version}"]
    # CPython is in a list of its own within the image (gather.py): it is nobody's package.
    options = ["--select-catalogers=+sbom-cataloger", f"--output=cyclonedx-json={SBOM}"]
    environment = {**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    _step("listing packages", [str(syft), "scan", *source, *options], environment, quiet=True)


def parts_of(image: Image) -> dict[str, int]:
    """Says what the image's bytes are, by part; packages below a MiB are one part together."""
    libpython = sum(file.size for name, file in image.files.items() if Path(name).name.startswith("libpython"))
    packages: dict[str, int] = {}
    for name, file in image.files.items():
        if file.isfile() and name.startswith(f"{SITE_PACKAGES}/"):
            top = name.removeprefix(f"{SITE_PACKAGES}/").split("/")[0]
            packages[top] = packages.get(top, 0) + file.size
    ours = packages.pop("agent", 0) + packages.pop("telemetry", 0)
    metadata = sum(packages.pop(top) for top in list(packages) if top.endswith(".dist-info"))
    metadata += image.bytes_below("usr/share/doc", "usr/local/share", "var/lib/dpkg")
    large = {f"package {top}": size for top, size in packages.items() if size >= MIB}
    library = image.bytes_below("usr/local/lib/python3.13") - image.bytes_below(SITE_PACKAGES)
    named = {
        "CPython": image.bytes_below("usr/local/bin") + libpython,
        "CPython's standard library": library,
        "shared libraries": image.bytes_below("usr/lib") - libpython,
        **large,
        "other packages": sum(packages.values()) - sum(large.values()),
        "package metadata and licences": metadata,
        "CA certificates": image.bytes_below("etc/ssl"),
        "agent and telemetry": ours,
    }
    rest = image.bytes - sum(named.values())
    return dict(sorted({**named, "everything else": rest}.items(), key=lambda part: -part[1]))


def _print_summary(name: str, engine: Engine, image: Image, parts: dict[str, int]) -> None:
    sizes = f"{image.bytes / MIB:.1f} MiB, {image.compressed_bytes / MIB:.1f} MiB to pull"
    print(f"\n{name} built with {engine.name}: {sizes}")
    for part, size in parts.items():
        print(f"{size / MIB:8.1f} MiB  {part}")
    components = json.loads(SBOM.read_text())["components"]
    listed = [each for each in components if each["type"] == "library"]
    print(f"{SBOM.relative_to(REPOSITORY)} lists {len(listed)} packages")


def _step(what: str, command: Sequence[str], environment: dict[str, str] | None = None, *, quiet: bool = False) -> None:
    """Run a command; a quiet one is heard only when it fails."""
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False, text=True, capture_output=quiet)
    if result.returncode != 0:
        if quiet:
            sys.stderr.write(result.stdout + result.stderr)
        raise BuildFailed(f"{what} failed: `{shlex.join(command[:3])} ...` ended with {result.returncode}")


def _git(*arguments: str) -> str:
    """Gives what git says; nothing outside of a repository."""
    try:
        answer = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
