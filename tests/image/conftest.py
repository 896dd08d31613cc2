"""The built image, and containers of it. Run by `make image-test`, which builds it before."""

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from tests.image.image_container import Container, find_runner
from tools.image.archive import Image, read_image
from tools.image.build import ARCHIVE, DEFAULT_IMAGE
from tools.image.engines import Engine


@pytest.fixture(scope="session")
def engine() -> Engine:
    assert os.geteuid() == 0, "these tests look into the container's namespaces, which takes root: sudo make image-test"
    return find_runner(os.environ.get("ENGINE", ""))


@pytest.fixture(scope="session")
def image_name() -> str:
    return os.environ.get("IMAGE") or DEFAULT_IMAGE


@pytest.fixture(scope="session")
def image() -> Image:
    """What `make image` has saved."""
    assert ARCHIVE.exists(), "no image was built; make image"
    return read_image(ARCHIVE)


@pytest.fixture
def start(engine: Engine, image_name: str) -> Iterator[Callable[..., Container]]:
    """Starts hardened containers, which are removed after the test."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, **options: object) -> Container:
            container = Container(engine, image_name, arguments, **options)
            stack.callback(container.remove)
            return container

        yield start


@pytest.fixture(scope="module")
def idle(engine: Engine, image_name: str) -> Iterator[Container]:
    """A container whose interpreter waits, to look around in."""
    sleeping = ["-c", "import time; time.sleep(600)"]
    container = Container(engine, image_name, sleeping, entrypoint="/usr/local/bin/python3.13")
    yield container
    container.remove()
