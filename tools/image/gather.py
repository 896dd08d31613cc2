"""Gathers the root file system of the agent's image, in three parts that change at different rates. Runs in the
Dockerfile's build stage, with nothing but the base image's Python.

    runtime/    the interpreter, what is needed of its library, shared libraries, CA certificates: changes with the base
    packages/   the third-party packages: changes with the requirements
    agent/      the agent and what it imports of telemetry: changes with every commit

What is not gathered is not in the image: no shell, no pip, no package manager.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import py_compile
import shutil
import ssl
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from tools.image.imports import modules_below, needed_of_standard_library, reachable

ROOT = Path("/")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
LIBRARY = Path(sysconfig.get_path("stdlib"))
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
EXTENSIONS = LIBRARY / "lib-dynload"
INTERPRETER = Path(sys.executable).resolve()

LOADED_BY_NAME = ("libgcc_s.so.1",)
"""Shared libraries that are loaded while running: nobody is linked to them. glibc ends threads with this one; its
resolver (files, dns) is built in since 2.34."""
DIRECTORIES = ("host/proc", "host/sys", "host/root", "proc", "sys", "dev", "etc")
"""Where the container's runtime and the chart mount something: a read-only root has to bring them."""
USER = 10001
ACCOUNTS = {
    "etc/passwd": f"root:x:0:0:root:/:/sbin/nologin\nagent:x:{USER}:{USER}:agent:/:/sbin/nologin\n",
    "etc/group": f"root:x:0:\nagent:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}

_TEST_DIRECTORIES = {"test", "tests"}
_USELESS_SUFFIXES = {".pyi", ".pyx", ".pxd", ".pxi", ".c", ".cc", ".cpp", ".h", ".hpp", ".typed", ".pyc"}
_USELESS_OF_DIST_INFO = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def main() -> None:
    """Write the three parts below the output directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="directory with agent/ and telemetry/")
    parser.add_argument("--packages", type=Path, required=True, help="directory with the installed packages")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()

    gather_agent(options.source, options.output / "agent")
    gather_packages(options.packages, options.output / "packages")
    gather_runtime(options.packages, options.output)


def gather_agent(source: Path, output: Path) -> None:
    """Copy the agent and the modules of telemetry that it can reach, as sources and compiled."""
    modules = modules_below(source / "agent", "agent") | modules_below(source / "telemetry", "telemetry")
    for name in sorted(reachable([name for name in modules if name.split(".")[0] == "agent"], modules)):
        target = _below(output, SITE_PACKAGES / modules[name].relative_to(source))
        _copy(modules[name], target)
        _compile(target, target.parent / "__pycache__" / f"{target.stem}.{sys.implementation.cache_tag}.pyc", output)


def gather_packages(packages: Path, output: Path) -> None:
    """Copy third-party packages: modules compiled, without their sources, tests, stubs and scripts."""
    for path in sorted(path for path in packages.rglob("*") if path.is_file()):
        relative = path.relative_to(packages)
        if not _is_useless(relative):
            _copy_compiled(path, _below(output, SITE_PACKAGES / relative), output)


def gather_runtime(packages: Path, output: Path) -> None:
    """Copy interpreter, library, shared libraries, accounts and certificates, and say which Debian packages these are.

    The library's modules are those that the agent and `packages` can import; the shared libraries those that the
    interpreter and all extension modules in `output` are linked to.
    """
    runtime = output / "runtime"
    _copy(INTERPRETER, _below(runtime, INTERPRETER))
    _gather_library(needed_of_standard_library((output / "agent", packages), LIBRARY), runtime)
    extensions = [path for path in output.rglob("*.so*") if path.is_file()]
    libraries = _shared_libraries([INTERPRETER, *extensions], output)
    for target, library in sorted(libraries.items()):
        _copy(library, _below(runtime, target))
    for directory in DIRECTORIES:
        (runtime / directory).mkdir(parents=True, exist_ok=True)
    for name, content in ACCOUNTS.items():
        (runtime / name).write_text(content)
    _copy(CERTIFICATES, _below(runtime, CERTIFICATES))
    _link(_below(runtime, Path(ssl.get_default_verify_paths().openssl_cafile)), CERTIFICATES)
    for name in ("lib", "lib32", "lib64"):  # /lib is usr/lib on a merged system, and paths in programs begin with both
        if (ROOT / name).is_symlink() and (runtime / (ROOT / name).readlink()).is_dir():
            (runtime / name).symlink_to((ROOT / name).readlink())
    _describe_debian_packages(libraries.values(), runtime)
    _describe_python(runtime)


def _gather_library(needed: set[str], runtime: Path) -> None:
    for name in sorted(needed):
        for path in (LIBRARY / f"{name}.py", *sorted((LIBRARY / name).rglob("*.py"))):
            if path.is_file() and not _is_useless(path.relative_to(LIBRARY)):
                _copy_compiled(path, _below(runtime, path), runtime)
        for path in EXTENSIONS.glob(f"{name}.*.so"):
            _copy(path, _below(runtime, path))
    for path in LIBRARY.glob("_sysconfigdata_*.py"):  # sysconfig asks for it under a name with the platform in it
        _copy_compiled(path, _below(runtime, path), runtime)
    _below(runtime, EXTENSIONS).mkdir(parents=True, exist_ok=True)  # by this the interpreter knows where it is
    _copy(LIBRARY / "LICENSE.txt", _below(runtime, LIBRARY / "LICENSE.txt"))


def _shared_libraries(programs: Iterable[Path], output: Path) -> dict[Path, Path]:
    """Gives the files that programs are linked to, by the path where the dynamic linker looks for each in the image.

    What a package brings itself, and so lies in `output`, is none of them.
    """
    found = {path.name: path for program in programs for path in _linked(program) if not path.is_relative_to(output)}
    libc_directory = found["libc.so.6"].parent.resolve()
    found |= {name: libc_directory / name for name in LOADED_BY_NAME}
    # The image has no ld.so.cache: what lies outside the linker's own directories moves beside the C library.
    return {
        (path.parent.resolve() if name.startswith("ld-linux") else libc_directory) / name: path.resolve()
        for name, path in found.items()
    }


def _linked(program: Path) -> Iterator[Path]:
    answer = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise SystemExit(f"ldd {program} failed: {answer.stderr.strip() or answer.stdout.strip()}")
    for line in answer.stdout.splitlines():
        name, _, rest = line.strip().partition(" => ")
        if rest == "not found":
            raise SystemExit(f"{program} needs {name}, which the build base does not have; install its package there")
        path = Path((rest or name).split(" (")[0])
        if path.is_absolute():
            yield path


def _describe_debian_packages(files: Iterable[Path], runtime: Path) -> None:
    """Tell scanners what they would otherwise not see: the packages that the files came from, as distroless images do.

    Their licences come along.
    """
    owners = _owners()
    packages = {"ca-certificates"} | {owners[path] for path in files if path in owners}
    if "libc6" not in packages:
        raise SystemExit("the build base is not Debian (no package owns the C library); set BUILD_BASE to one that is")
    for paragraph in Path("/var/lib/dpkg/status").read_text().split("\n\n"):
        package = next((line.partition(": ")[2] for line in paragraph.splitlines() if line.startswith("Package: ")), "")
        if package in packages:
            target = runtime / "var/lib/dpkg/status.d" / package
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(paragraph.strip() + "\n")
            licence = Path("/usr/share/doc") / package / "copyright"
            if licence.exists():
                _copy(licence.resolve(), _below(runtime, licence))
    _copy(Path("/etc/os-release").resolve(), runtime / "etc/os-release")


def _describe_python(runtime: Path) -> None:
    """Tell scanners which CPython this is: it is built from source and no package."""
    version = platform.python_version()
    component = {
        "type": "application",
        "name": "python",
        "version": version,
        "bom-ref": f"pkg:generic/python@{version}",
        "purl": f"pkg:generic/python@{version}",
        "cpe": f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*",
        "licenses": [{"license": {"id": "PSF-2.0"}}],
    }
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": [component]}
    target = runtime / "usr/local/share/sbom/python.cdx.json"
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps(bom, indent=2) + "\n")


def _owners() -> dict[Path, str]:
    """Gives the package of every file that dpkg has installed; CPython, which is built from source, is none."""
    owners: dict[Path, str] = {}
    directories: dict[str, Path] = {}
    for names in Path("/var/lib/dpkg/info").glob("*.list"):
        for line in names.read_text().splitlines():
            directory, _, name = line.rpartition("/")
            if directory not in directories:
                directories[directory] = Path(directory or "/").resolve()
            owners[directories[directory] / name] = names.stem.partition(":")[0]
    return owners


def _is_useless(relative: Path) -> bool:
    parts = relative.parts
    return (
        not _TEST_DIRECTORIES.isdisjoint(parts[1:-1])
        or parts[0] == "bin"
        or "__pycache__" in parts
        or relative.suffix in _USELESS_SUFFIXES
        or relative.name.startswith("_test")
        or (parts[0].endswith(".dist-info") and relative.name in _USELESS_OF_DIST_INFO)
    )


def _copy_compiled(path: Path, target: Path, part: Path) -> None:
    """Copy a file; a module as bytecode in the place of its source, so that it is neither twice there nor compiled."""
    if path.suffix != ".py":
        _copy(path, target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _compile(path, target.with_suffix(".pyc"), part, as_if=target)
    except py_compile.PyCompileError as error:  # a template, or for another version of Python
        print(f"left as it is: {error}", file=sys.stderr)
        _copy(path, target)


def _compile(path: Path, compiled: Path, part: Path, as_if: Path | None = None) -> None:
    py_compile.compile(
        str(path),
        cfile=str(compiled),
        dfile=str(ROOT / (as_if or path).relative_to(part)),
        doraise=True,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,  # the same bytes on every build
    )
    compiled.chmod(0o644)


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    target.chmod(0o755 if os.access(path, os.X_OK) else 0o644)


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)


def _below(directory: Path, path: Path) -> Path:
    return directory / path.relative_to(ROOT)


if __name__ == "__main__":
    main()
