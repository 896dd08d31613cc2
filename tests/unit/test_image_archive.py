"""Reading saved images, and saying what their bytes are."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from tools.image.archive import read_image
from tools.image.build import SITE_PACKAGES, parts_of

MIB = 1024 * 1024


def layer(**files: int | None) -> bytes:
    """A layer with files of some sizes by path, '__' for '/'; None is a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, size in files.items():
            entry = tarfile.TarInfo(path.replace("__", "/"))
            if size is None:
                entry.type = tarfile.DIRTYPE
                tar.addfile(entry)
            else:
                entry.size = size
                tar.addfile(entry, io.BytesIO(b"\0" * size))
    return buffer.getvalue()


def saved(path: Path, *layers: bytes) -> Path:
    names = [f"layer{number}.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": ["x:1"], "Layers": names}]
    members = {
        "manifest.json": json.dumps(manifest).encode(),
        "config.json": json.dumps({"config": {"User": "10001:10001"}}).encode(),
        **dict(zip(names, layers, strict=True)),
    }
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def test_later_layers_replace_files_of_earlier_ones(tmp_path):
    image = read_image(saved(tmp_path / "image.tar", layer(etc__a=10, etc__b=1), layer(etc__a=4)))

    assert {name: file.size for name, file in image.files.items()} == {"etc/a": 4, "etc/b": 1}
    assert image.bytes == 5
    assert image.config == {"User": "10001:10001"}


def test_later_layers_remove_files_and_directories(tmp_path):
    first = layer(etc=None, etc__a=10, etc__deep__b=1, keep=2)
    image = read_image(saved(tmp_path / "image.tar", first, layer(**{"etc__.wh.deep": 0, "etc__.wh.a": 0})))

    assert set(image.files) == {"etc", "keep"}


def test_sizes_below_a_path_are_of_that_path_only(tmp_path):
    image = read_image(saved(tmp_path / "image.tar", layer(usr__lib__a=5, usr__library__b=7, usr__lib__deep__c=1)))

    assert image.bytes_below("usr/lib") == 6
    assert image.bytes_below("usr/lib", "usr/library/b") == 13


def test_what_is_pulled_is_smaller_than_what_is_unpacked(tmp_path):
    image = read_image(saved(tmp_path / "image.tar", layer(zeros=MIB)))

    assert 0 < image.compressed_bytes < MIB / 100


def test_an_archive_of_something_else_is_refused(tmp_path):
    with tarfile.open(tmp_path / "other.tar", "w"):
        pass

    with pytest.raises(KeyError, match=r"manifest\.json"):
        read_image(tmp_path / "other.tar")


def test_the_parts_add_up_to_the_image_and_small_packages_are_one_part(tmp_path):
    site = SITE_PACKAGES.replace("/", "__")
    library = "usr__local__lib__python3.13"
    image = read_image(
        saved(
            tmp_path / "image.tar",
            layer(
                **{
                    "usr__local__bin__python3.13": 1000,
                    "usr__lib__x86_64-linux-gnu__libpython3.13.so.1.0": 2000,
                    "usr__lib__x86_64-linux-gnu__libc.so.6": 3000,
                    f"{library}__os.pyc": 400,
                    f"{site}__cryptography__rust.so": 3 * MIB,
                    f"{site}__small__a.pyc": 50,
                    f"{site}__single.pyc": 5,
                    f"{site}__small-1.0.dist-info__METADATA": 7,
                    f"{site}__agent__a.py": 11,
                    f"{site}__telemetry__b.py": 13,
                    "etc__ssl__certs__ca-certificates.crt": 17,
                    "etc__passwd": 19,
                }
            ),
        )
    )

    parts = parts_of(image)

    assert parts == {
        "package cryptography": 3 * MIB,
        "CPython": 3000,
        "shared libraries": 3000,
        "CPython's standard library": 400,
        "other packages": 55,
        "agent and telemetry": 24,
        "everything else": 19,
        "CA certificates": 17,
        "package metadata and licences": 7,
    }
    assert sum(parts.values()) == image.bytes
