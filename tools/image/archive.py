"""Reads an image that was saved as a docker-archive: its configuration and its files."""

from __future__ import annotations

import json
import posixpath
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_WHITEOUT = ".wh."
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Image:
    """An image as it will be seen in a container."""

    config: dict[str, Any]
    """The image configuration of the OCI specification: User, Env, Entrypoint, Labels, ..."""
    files: dict[str, tarfile.TarInfo]
    """Every file, directory and link, by its path without a leading slash."""
    compressed_bytes: int
    """What a node pulls: the layers after gzip, as registries keep them."""

    def bytes_below(self, *paths: str) -> int:
        """Gives the size of all files at or below some paths."""
        return sum(
            file.size
            for name, file in self.files.items()
            if file.isfile() and any(name == path or name.startswith(f"{path}/") for path in paths)
        )

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.size for file in self.files.values() if file.isfile())


def read_image(archive: Path) -> Image:
    """Reads the one image of an archive, laying its layers over one another."""
    files: dict[str, tarfile.TarInfo] = {}
    compressed = 0
    with tarfile.open(archive) as outer:
        (described,) = json.load(_member(outer, "manifest.json"))
        config = json.load(_member(outer, described["Config"]))["config"]
        for layer in described["Layers"]:
            compressed += _compressed_size(_member(outer, layer))
            with tarfile.open(fileobj=_member(outer, layer)) as tar:
                for file in tar:
                    _lay(files, file)
    return Image(config, files, compressed)


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.extractfile(name)
    if found is None:
        raise ValueError(f"{tar.name!s} has no file {name}; was it made by `podman save` or `docker save`?")
    return found


def _lay(files: dict[str, tarfile.TarInfo], file: tarfile.TarInfo) -> None:
    path = posixpath.normpath(file.name).lstrip("/")
    directory, name = posixpath.split(path)
    if name.startswith(_WHITEOUT):
        gone = posixpath.join(directory, name.removeprefix(_WHITEOUT))
        for each in [each for each in files if each == gone or each.startswith(f"{gone}/")]:
            del files[each]
    elif path != ".":
        files[path] = file


def _compressed_size(layer: IO[bytes]) -> int:
    deflate = zlib.compressobj(6)
    return sum(len(deflate.compress(chunk)) for chunk in _chunks(layer)) + len(deflate.flush())


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk
